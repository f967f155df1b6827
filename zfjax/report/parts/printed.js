// ---- print: film strips take the slider's place

function printStrips() {
  const root = byId("printed");
  if (root.childElementCount > 1) return;
  data.layers.forEach((layer, index) => {
    const section = make("section", `L${index}`);
    section.append(make("h2", "", layer.name));
    for (const map of layer.maps) {
      const film = make("div", "film");
      film.append(make("b", "", map.map));
      let before = null;
      for (const at of data.printed) {
        const frame = map.top[at], cell = make("span", "frame"), head = make("b", "", data.names[at]);
        head.append(make("span", "dot"));
        cell.classList.toggle("jumped", Boolean(frame && before && frame.image !== before.image));
        cell.append(head);
        if (frame) {
          cell.append(tileOf(map, frame.projection, "projection"));
          if (data.photos) cell.append(tileOf(map, frame.patch, "patch"));
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
