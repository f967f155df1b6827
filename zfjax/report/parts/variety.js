// ---- the opened map: what it does with other images than its strongest

function otherWords(map, frame) {
  const top = map.top[state.at], part = top ? frame.activation / top.activation : null;
  const share = part === null ? "" : `, ${part < 0.0005 ? "under 0.1\u2009%" : percent(part)} of its strongest`;
  return `activation ${number(frame.activation)}${share}; ${labelOf(frame)}, ` +
    `${fileOf(frame).replaceAll("/", "/\u200b")} (image ${frame.image}), unit y ${frame.place[0]}, x ${frame.place[1]}, ` +
    `scale ±${number(drawnBy(frame)[1])}`;
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

function fillOthers(box, map) {
  if (!box) return;
  if (!data.selections.length) { box.remove(); return; }
  box.querySelector("h4").textContent = `Other images at epoch ${data.names[state.at]}`;
  box.querySelector(".groups").replaceChildren(
    ...data.selections.map((selection, index) => otherImages(selection, map.others[index][state.at], map)));
}
