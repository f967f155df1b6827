// ---- print: film strips of the maps listed take the slider's place, in the order in which they are listed

const MOST_PRINTED = 48;

// An opened map's panel, all of it unfolded; its film is the strip among the others.
function printedPanel() {
  const { layer, map, panel } = state.open, section = make("section", `opened L${data.layers.indexOf(layer)}`);
  const more = panel.querySelector(".more").cloneNode(true), others = more.querySelector(".others");
  if (others) {
    others.open = true;
    others.querySelector(".groups").replaceChildren(...otherGroups(map));
    others.querySelectorAll(".projection").forEach((tile) => tile.retone());
  }
  section.append(make("h2", "", `${layer.name}, map ${map.map}`), make("p", "note", panel.querySelector(".bar-top p").textContent), more);
  return section;
}

function printStrips() {
  const root = byId("printed");
  for (const section of root.querySelectorAll("section")) section.remove();
  if (state.open) root.append(printedPanel());
  data.layers.forEach((layer, index) => {
    const section = make("section", `L${index}`);
    const grid = document.querySelector(`.layer[data-layer="${index}"] .grid`);
    const maps = [...grid.querySelectorAll(".cell:not([hidden])")].map((cell) => owners.get(cell).map);
    if (!maps.length) return;
    section.append(make("h2", "", layer.name));
    if (maps.length > MOST_PRINTED)
      section.append(make("p", "note", `The first ${MOST_PRINTED} of ${maps.length} maps listed.`));
    for (const map of maps.slice(0, MOST_PRINTED)) {
      const film = make("div", "film");
      film.append(make("b", "", map.map));
      let before = null;
      for (const at of data.printed) {
        const frame = map.top[at], cell = make("span", "frame"), head = make("b", "", data.names[at]);
        head.append(make("span", "dot"));
        cell.classList.toggle("jumped", Boolean(frame && before && frame.image !== before.image));
        cell.append(head);
        if (frame) {
          cell.append(tileOf(map, frame, "projection"));
          if (data.photos) cell.append(tileOf(map, frame, "patch"));
        } else cell.append(make("span", "slot empty" + (data.photos ? " tall" : ""), "dead"));
        before = frame;
        film.append(cell);
      }
      section.append(film);
    }
    root.append(section);
  });
}

window.addEventListener("beforeprint", printStrips);
