// ---- the opened map: its life, what is known of it, what it listens to

const atEpoch = (epoch) => `epoch ${epoch < 100 ? Number(epoch.toPrecision(3)) : Math.round(epoch)}`;

// In words: alive from when to when, from the film itself, over all images searched.
function lifeWords(map) {
  const alive = map.top.map(Boolean), words = [];
  if (!alive.some(Boolean)) return "dead at every epoch: no image excites it";
  if (alive.every(Boolean)) words.push("alive at every epoch");
  else {
    words.push(alive[0] ? `alive at epoch ${data.names[0]}` : `dead at epoch ${data.names[0]}`);
    let lived = alive[0];
    for (let at = 1; at <= last; at += 1) {
      if (alive[at] === alive[at - 1]) continue;
      words.push(`${alive[at] ? (lived ? "revived" : "born") : "died"} at epoch ${data.names[at]}`);
      lived = true;
    }
  }
  const moved = map.top.map((_, at) => at).filter((at) => changed(map, at));
  words.push(moved.length
    ? `its strongest image changed ${moved.length === 1 ? "once" : `${moved.length} times`}, last at epoch ${data.names[moved.at(-1)]}`
    : "its strongest image never changed");
  if (map.settled !== undefined)
    words.push(map.settled === null ? "answers never steady" : `answers steady from ${atEpoch(map.settled)}`);
  if (map.emerged !== undefined)
    words.push(map.emerged === null ? "never emerged" : `told from its layer's other maps for good from ${atEpoch(map.emerged)}` +
      (map.settled > map.emerged ? ", which comes before it stops changing" : ""));
  return words.join("; ");
}

// A square for each epoch: filled where it lives, with a mark where its strongest image has just changed.
function fillAges(box, map) {
  map.top.forEach((frame, at) => {
    const age = make("button", frame ? "age alive" : "age");
    age.type = "button";
    age.title = `epoch ${data.names[at]}: ${frame ? (changed(map, at) ? "another strongest image" : "alive") : "dead"}`;
    age.setAttribute("aria-label", age.title);
    age.classList.toggle("moved", changed(map, at));
    age.dataset.at = at;
    age.addEventListener("click", () => go(at));
    box.append(age);
  });
}

function mapLink(layer, number) {
  const map = layer && layer.maps.find((other) => other.map === number);
  const link = make(map ? "a" : "span", "", `map ${number}`);
  if (map) {
    link.href = linkTo(layer, map);
    // The epoch of now, not of when the map was opened.
    link.addEventListener("click", () => { link.href = linkTo(layer, map); });
  }
  return link;
}

function fact(list, name, ...values) {
  const value = make("dd");
  value.append(...values);
  list.append(make("dt", "", name), value);
}

// A class that most of the strongest images share; below that they lean to it. That they share it is all that is known.
function aboutWords({ class: named, sure, purity, p, count, strongest }, firing) {
  if (named === null) return "dead: about nothing";
  const rate = p < 0.001 ? "below 0.001" : number(p);
  const share = `${count || percent(purity)} of its strongest images, rate of false discoveries ${rate}`;
  const shares = purity > 0.5 ? "its strongest images share a class" : "leans weakly, below a majority, to a class";
  const but = strongest ? `; its strongest image is of another class: ${strongest}` : "";
  const besides = typeof firing === "number" ? `; excited by ${percent(firing)} of the images in all` : "";
  return (sure ? `${shares}: ${named}, ${share}` : `nothing that so few images can show (${named}, ${share})`) + but + besides;
}

function fillFacts(list, layer, map) {
  const [label, pure] = commonest(map);
  if (strength(map) !== null) fact(list, "activation at the end", number(strength(map)));
  if (label !== null) fact(list, "commonest label", `${data.labels[label]}, ${percent(pure)} of ${map.labels[last].length}`);
  if (map.about) {
    fact(list, "about", aboutWords(map.about, map.firing));
    if (map.about.selective !== null)
      fact(list, "most selective for", `${map.about.selective}, selectivity ` +
        `${number(map.about.selectivity)} (its mean answer to that class against all others: 0 the same, 1 none to others)`);
  }
  if (typeof map.image_share === "number")
    fact(list, map.partners > 1 ? "likeness to other units' pictures at the same place" : "likeness to another unit's picture at the same place",
      `${number(map.image_share)} (cosine; `, ...(map.partners > 1 ? [`mean over ${map.partners} units drawn by seed`] :
        typeof map.swapped_map === "number" ? [mapLink(layer, map.swapped_map), ", drawn by seed"] : ["a unit drawn by seed"]),
      `${layer.alike || ""}); what is alike is not this unit's alone`);
  if (!map.about && map.firing !== undefined && map.firing !== null) fact(list, "excited by", `${percent(map.firing)} of the images`);
  if (map.relative) {
    const [other, likeness] = map.relative;
    fact(list, "nearest relative", mapLink(layer, other), `, correlation ${number(likeness)}`);
  }
  if (map.flags && map.flags.length) fact(list, "it is", map.flags.join(", "));
  if (map.events && map.events.length)
    fact(list, "on the probe", map.events.map(([name, epoch]) => `${name} at ${atEpoch(epoch)}`).join("; "));
  const missing = ["settling", "census", "controls", "labels"].filter((name) => !data.measured.includes(name));
  if (missing.length) fact(list, "not measured", make("span", "code", `zfjax measure --workdir RUN ${missing.join(" ")}`));
}

// The maps of the layer below that weigh most in it, each with its strongest image at the end.
function fillFeeds(box, layer, map) {
  if (!map.inputs || !map.inputs.length) { box.remove(); return; }
  const below = data.layers.find((other) => other.name === layer.below);
  box.querySelector("h4").textContent = `Listens most to, in ${layer.below} at epoch ${data.names[last]}`;
  for (const [number_, weight, balance] of map.inputs) {
    const feeder = make("div", "feeder"), source = below && below.maps.find((other) => other.map === number_);
    const frame = source && source.top[last];
    if (frame) {
      const holder = make("span", `L${data.layers.indexOf(below)}`);
      holder.append(tileOf(source, frame, "projection"));
      feeder.append(holder);
    }
    feeder.append(mapLink(below, number_));
    feeder.append(make("small", "", `${percent(weight)} of its weights, ${balance >= 0 ? "+" : "−"}`));
    feeder.title = balance >= 0 ? "rather excites it" : "rather holds it down";
    box.querySelector(".feeders").append(feeder);
  }
  const words = "Share of its squared weights; + rather excites it, − rather holds it down. Weights say what it may " +
    "listen to, not how strongly that fires. Maps without a picture are not drawn on this page.";
  box.append(make("p", "note", words));
}

function fillKnown(panel, layer, map) {
  fillAges(panel.querySelector(".ages"), map);
  panel.querySelector(".life p").textContent = lifeWords(map) + ".";
  fillFacts(panel.querySelector(".known dl"), layer, map);
  fillFeeds(panel.querySelector(".feeds"), layer, map);
}

// A link names the rule that its picture is by: where this page has none by that, the opened map says so.
let ruleElsewhere = "";
fields.push({
  name: "rule",
  tell: () => "",
  take: (text) => {
    ruleElsewhere = data.rules.includes(text) ? "" : text;
    if (ruleElsewhere && !state.open) astray.push(`This page has no pictures by the rule ${text}; these are by ${state.rule}.`);
  },
});
draws.push(() => document.querySelectorAll(".age").forEach((age) =>
  age.setAttribute("aria-current", Number(age.dataset.at) === state.at)));
