// ---- finding maps: sorted within their layers, filtered by layer, label, and whether they live

const finding = byId("finding");
const FIRST = { sort: "name", layer: "", label: "", maps: "" };
Object.assign(state, FIRST);

// What an address asks for in vain.
const ABSENT = {
  sort: (text) => `This page cannot sort its maps by ${text}; they are in the order of their names.`,
  layer: (text) => `This page has no layer ${text}; all are listed.`,
  label: (text) => `No map's commonest label is ${text}; maps of any label are listed.`,
  maps: (text) => `There is no choice of maps called ${text}; live and dead ones are listed.`,
};

const strength = (map) => (map.top[last] ? map.top[last].activation : null);
const jumps = (map) => map.top.filter((_, at) => changed(map, at)).length;

// [label, share] of the commonest label among the strongest images at the last epoch; of equally common ones the
// stronger image's.
function commonest(map) {
  const known = map.labels[last].filter((label) => label !== null);
  let best = [null, 0];
  for (const label of known) {
    const count = known.filter((other) => other === label).length;
    if (count > best[1]) best = [label, count];
  }
  return known.length ? [best[0], best[1] / known.length] : [null, null];
}

// Small first: what comes early; large first: what is much. What is not known comes last.
const ORDERS = {
  name: (map) => map.map,
  settled: (map) => map.settled,
  emerged: (map) => map.emerged,
  strength: (map) => (strength(map) === null ? null : -strength(map)),
  jumps: (map) => (map.top.some(Boolean) ? -jumps(map) : null),
  purity: (map) => (commonest(map)[1] === null ? null : -commonest(map)[1]),
};

function listed(layer, map) {
  if (state.layer && layer.name !== state.layer) return false;
  if (state.label && (commonest(map)[0] === null || data.labels[commonest(map)[0]] !== state.label)) return false;
  return !state.maps || (state.maps === "live") === Boolean(map.top[last]);
}

let shownAs = "";
function showListed() {
  const wanted = JSON.stringify([state.sort, state.layer, state.label, state.maps]);
  if (wanted === shownAs) return;
  shownAs = wanted;
  let count = 0;
  for (const section of document.querySelectorAll(".layer[data-layer]")) {
    const layer = data.layers[section.dataset.layer], grid = section.querySelector(".grid");
    const keys = new Map([...grid.querySelectorAll(".cell")].map((cell) => {
      const { map } = owners.get(cell), key = ORDERS[state.sort](map);
      cell.hidden = !listed(layer, map);
      count += !cell.hidden;
      return [cell, [key ?? Infinity, map.map]];
    }));
    const compare = ([a, x], [b, y]) => (a === b ? x - y : a < b ? -1 : 1);
    const before = [...keys.keys()], after = [...before].sort((one, other) => compare(keys.get(one), keys.get(other)));
    // To put a thousand cells where they are already would lay out the whole page anew.
    if (after.some((cell, index) => cell !== before[index])) grid.append(...after);
    section.hidden = ![...keys.keys()].some((cell) => !cell.hidden);
  }
  for (const [name, value] of Object.entries(FIRST)) finding.elements[name].value = state[name] ?? value;
  finding.querySelector(".listed").textContent =
    count === cells.length ? `${count} maps` : `${count} of ${cells.length} maps`;
  placePanel();
}

function addOptions(name, texts) {
  for (const text of texts) {
    const option = make("option", "", text);
    option.value = text;
    finding.elements[name].append(option);
  }
}

addOptions("layer", data.layers.map((layer) => layer.name));
const common = data.layers.flatMap((layer) => layer.maps.map((map) => commonest(map)[0]));
addOptions("label", [...new Set(common)].filter((label) => label !== null).map((label) => data.labels[label]).sort());
for (const option of finding.elements.sort.options) {
  if (!["settled", "emerged"].includes(option.value) || data.measured.includes("settling")) continue;
  option.disabled = true;
  option.textContent += " (zfjax measure settling)";
}
for (const [name, first] of Object.entries(FIRST)) {
  const known = () => [...finding.elements[name].options].filter((option) => !option.disabled);
  fields.push({
    name,
    tell: () => (state[name] === first ? "" : encodeURIComponent(state[name])),
    take: (text) => {
      const there = known().some((option) => option.value === text);
      state[name] = there ? text : first;
      if (text && !there) astray.push(ABSENT[name](text));
    },
  });
}
finding.addEventListener("change", (event) => { state[event.target.name] = event.target.value; show(); });
finding.addEventListener("submit", (event) => event.preventDefault());
draws.push(showListed);
