// ---- the opened map: what it does with other images than its strongest

function otherWords(map, frame) {
  const top = map.top[state.at], part = top ? frame.activation / top.activation : null;
  const share = part === null ? "" : `, ${part < 0.0005 ? "under 0.1\u2009%" : percent(part)} of its strongest`;
  return `activation ${number(frame.activation)}${share}; ${labelOf(frame)}, ` +
    `${fileOf(frame).replaceAll("/", "/\u200b")} (image ${frame.image}), unit y ${frame.place[0]}, x ${frame.place[1]}, ` +
    scaleWords(map, frame);
}

// One selection at the epoch shown: its pictures with their words, or why there are none.
function otherImages({ words, silent }, frames, map) {
  const group = make("div", "other");
  group.append(make("h5", "", words));
  if (!frames.length)
    // A weakest image may be no more than rounding away from silence: in the table, but not drawn.
    group.append(make("p", "silence", map.top[state.at] && silent.startsWith("dead") ? "too weak to be drawn" : silent));
  for (const frame of frames) {
    const row = make("div", "image"), pair = make("span", "two");
    pair.append(tileOf(map, frame, "projection"));
    if (data.photos) pair.append(tileOf(map, frame, "patch"));
    row.append(pair, make("p", "", otherWords(map, frame)));
    group.append(row);
  }
  return group;
}

// Folded away until they are asked for, and then of every map that is opened: the address remembers it.
state.weaker = false;
fields.push({
  name: "weaker",
  tell: () => (state.weaker ? "shown" : ""),
  take: (text) => { if (["shown", "folded"].includes(text)) state.weaker = text === "shown"; },
});

// Weak tiles look as vivid as strong ones, each on its own scale: said over them, for the eye does not read captions.
function otherGroups(map) {
  const words = state.scale === "shared" && sharedBy(map) > 0
    ? `All on the map's one scale, ±${number(sharedBy(map))}: a grey tile is weak beside the strongest.`
    : "Each tile is on its own scale: brightness cannot be compared between tiles, activations can. " +
      "“Colour scale: shared over epochs” draws all on one.";
  const groups = data.selections.map((selection, index) => otherImages(selection, map.others[index][state.at], map));
  return [make("div", "scale-note", words), ...groups];
}

function fillOthers(box, map) {
  if (!box) return;
  if (!data.selections.length) { box.remove(); return; }
  const counts = data.selections.map(({ short }, index) => `${short} ${map.others[index][state.at].length || "none"}`);
  const summary = box.querySelector("summary"), said = make("span", "", ` (${counts.join(", ")})`);
  summary.replaceChildren(`Other images than the strongest at epoch ${data.names[state.at]}`, said);
  box.open = state.weaker;
  box.querySelector(".groups").replaceChildren(...(state.weaker ? otherGroups(map) : []));
  summary.onclick = (event) => { event.preventDefault(); state.weaker = !state.weaker; show(); };
}
