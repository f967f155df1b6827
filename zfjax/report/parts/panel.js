// ---- the opened map

state.open = null;

function openMap(layerIndex, mapIndex, focus) {
  closeMap();
  const cell = document.querySelector(`.layer[data-layer="${layerIndex}"] .cell[data-map="${mapIndex}"]`);
  const panel = byId("panel").content.firstElementChild.cloneNode(true);
  const layer = data.layers[layerIndex], map = layer.maps[mapIndex];
  state.open = { layer, map, cell, panel };
  cell.setAttribute("aria-expanded", "true");
  endOfRow(cell).after(panel);
  panel.querySelector("h3").textContent = `${layer.name}, map ${map.map}`;
  panel.setAttribute("role", "region");
  panel.setAttribute("aria-label", `${layer.name}, map ${map.map}`);
  panel.querySelector(".close").addEventListener("click", leavePanel);
  buildStrip(panel.querySelector(".strip"), map);
  fillKnown(panel, layer, map);
  show();
  if (!focus) return;
  panel.querySelector(".close").focus({ preventScroll: true });
  if (panel.getBoundingClientRect().bottom > innerHeight) bring(cell);
}

// The last cell of the row that `cell` is in, so that an opened map never tears a row apart.
function endOfRow(cell) {
  let end = cell;
  for (let next = cell.nextElementSibling; next; next = next.nextElementSibling) {
    if (next.hidden || next.classList.contains("panel")) continue;
    if (next.offsetTop !== cell.offsetTop) break;
    end = next;
  }
  return end;
}

// Behind the row that its cell is in now; closed where that is not listed.
function placePanel() {
  if (!state.open) return;
  if (state.open.cell.hidden) closeMap();
  else endOfRow(state.open.cell).after(state.open.panel);
}

function closeMap(focus) {
  if (!state.open) return;
  const { cell, panel } = state.open;
  panel.remove();
  cell.setAttribute("aria-expanded", "false");
  state.open = null;
  if (focus) cell.focus();
}

function slot(map, frame, kind, className) {
  const box = make("span", "slot " + (className || ""));
  if (frame && frame[kind] !== null) {
    box.append(tileOf(map, frame, kind));
  } else {
    box.classList.add("empty");
    if (kind === "projection") box.textContent = map.best.length && className ? "no response" : "dead";
  }
  return box;
}

function buildStrip(strip, map) {
  const labels = make("div", "labels");
  const rows = data.photos
    ? [["searched anew: projection"], ["its patch"], ["held fixed: projection", "gap"], ["its patch"]]
    : [["searched anew"], ["held fixed", "gap"]];
  labels.append(make("b", "", "epoch"));
  rows.forEach(([text, className], index) => {
    labels.append(make("span", className, text));
    if (index === rows.length / 2 - 1 || index === rows.length - 1) labels.append(make("i"));
  });
  strip.append(labels);
  data.names.forEach((name, at) => {
    const button = frameButton(at);
    for (const selection of ["top", "fixed"]) {
      const frame = map[selection][at];
      button.append(slot(map, frame, "projection", selection === "fixed" ? "gap" : ""));
      if (data.photos) button.append(slot(map, frame, "patch"));
      const bar = make("span", "bar");
      bar.append(make("span"));
      bar.firstChild.style.width = frame ? 100 * share(map, frame) + "%" : "0";
      button.append(bar);
    }
    button.classList.toggle("jumped", changed(map, at));
    strip.append(button);
  });
}

// The strongest images of the epoch shown where all were drawn, else of the last one.
function fillBest(best, map) {
  const at = map.ranks ? state.at : last, strongest = map.ranks ? map.ranks[at] : map.best;
  const drawn = `${at} ${state.rule} ${state.scale}`;
  if (best.dataset.shown === drawn) return;
  best.dataset.shown = drawn;
  const many = strongest.length === 1 ? "1 image" : `${strongest.length} images`;
  best.querySelector("h4").textContent =
    strongest.length ? `Strongest at epoch ${data.names[at]}: ${many}` : `Dead at epoch ${data.names[at]}`;
  const which = best.querySelector(".which"), nine = best.querySelector(".nine");
  which.textContent = "";
  nine.replaceChildren();
  const tell = (rank) => {
    const frame = strongest[rank];
    which.textContent =
      `No. ${rank + 1}: activation ${number(frame.activation)}, ${labelOf(frame)}, ` +
      `${fileOf(frame)} (image ${frame.image}), unit y ${frame.place[0]}, x ${frame.place[1]}, ` +
      scaleWords(map, frame);
    for (const button of nine.querySelectorAll("button"))
      button.setAttribute("aria-pressed", Number(button.dataset.rank) === rank);
  };
  for (const kind of data.photos ? ["projection", "patch"] : ["projection"]) {
    const square = make("div");
    square.style.gridTemplateColumns = `repeat(${Math.ceil(Math.sqrt(strongest.length))}, max-content)`;
    strongest.forEach((frame, rank) => {
      const button = tileOf(map, frame, kind);
      const holder = make("button");
      holder.type = "button";
      holder.dataset.rank = rank;
      holder.setAttribute("aria-label", `${kind} of strongest image number ${rank + 1}`);
      holder.append(button);
      for (const event of ["mouseenter", "focus", "click"]) holder.addEventListener(event, () => tell(rank));
      square.append(holder);
    });
    nine.append(square);
  }
  if (strongest.length) tell(0);
}

// Of rows (axis 0) or columns; a unit without a window may see them all.
const extent = (box, axis) => (box[axis] === null ? "all" : `${box[axis]} to ${box[axis + 2] - 1}`);

function fillPanel() {
  const { layer, map, panel } = state.open;
  const top = map.top[state.at], fixed = map.fixed[state.at], name = data.names[state.at];
  panel.querySelector(".bar-top p").textContent = top
    ? `epoch ${name}: activation ${number(top.activation)} on ${labelOf(top)}, ${fileOf(top)}` +
      (changed(map, state.at) ? "; the strongest image has just changed" : "") : `epoch ${name}: dead, no image excites it`;
  if (ruleElsewhere)
    panel.querySelector(".bar-top p").textContent +=
      `; this page has no pictures by the rule ${ruleElsewhere}, these are by ${state.rule}`;
  fillBest(panel.querySelector(".best"), map);
  fillOthers(panel.querySelector(".others"), map);
  panel.querySelectorAll(".projection").forEach((tile) => tile.redraw());
  panel.querySelectorAll(":is(.strip, .nine, .others) .projection").forEach((tile) => tile.retone());
  fillClasses(panel.querySelector(".classes"), map.labels[state.at], name, !map.ranks && state.at !== last);
  panel.querySelector(".numbers h4").textContent = `Numbers at epoch ${name}`;
  const rows = [
    ["activation", (frame) => number(frame.activation)],
    ["lead over the next", (frame) => (frame.margin === null ? "–" : percent(frame.margin))],
    ["image", (frame) => `${frame.image}, ${labelOf(frame)}`],
    ["file", (frame) => fileOf(frame).replaceAll("/", "/\u200b")],
    ["unit (y, x)", (frame) => frame.place.join(", ")],
    ["sees rows", (frame) => extent(frame.box, 0)],
    ["sees columns", (frame) => extent(frame.box, 1)],
    ["colour scale", (frame) => scaleWords(map, frame).replace("scale ", "")],
  ];
  const body = panel.querySelector("tbody");
  body.replaceChildren(...rows.map(([text, value]) => {
    const row = make("tr");
    row.append(make("th", "", text));
    for (const frame of [top, fixed]) row.append(make("td", "", frame ? value(frame) : "–"));
    return row;
  }));
  panel.querySelector(".link").href = linkTo(layer, map);
  panel.querySelector("pre").textContent = command(layer, map, map[state.image][state.at] || top || fixed);
}

// `elsewhere`: whether the strongest images shown beside are those of another epoch.
function fillClasses(box, labels, name, elsewhere) {
  const counts = new Map(), known = labels.filter((label) => label !== null), unknown = labels.length - known.length;
  known.forEach((label) => counts.set(label, (counts.get(label) || 0) + 1));
  const without = unknown ? `; ${unknown} without a label` : "";
  box.querySelector("h4").textContent = known.length ? `Classes at epoch ${name}, of ${known.length}${without}` +
    (elsewhere ? `: its strongest then, not the images shown` : "")
    : labels.length ? "Classes: the labels are not known" : "";
  const list = box.querySelector("dl");
  list.replaceChildren();
  [...counts].sort((one, other) => other[1] - one[1]).forEach(([label, count]) => {
    const meter = make("dd", "meter"), text = make("dt", "", data.labels[label]);
    meter.style.width = (100 * count) / known.length + "%";
    text.title = data.labels[label];
    list.append(text, meter, make("dd", "", count));
  });
}

const quoted = (text) => (/^[\w./:+-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
function command(layer, map, frame) {
  const image = (frame ? `--image-id ${frame.image}` : "--image FILE") +
    (frame && data.split ? ` --split ${quoted(data.split)}` : "");
  if (data.subject) {
    const rule = state.rule === "deconvnet" ? "" : `, rule=${JSON.stringify(state.rule)}`;
    return `zfjax.project(subject, ${frame ? frame.image : "FILE"}, ${JSON.stringify(layer.name)}, ${map.map}, ` +
      `at=${JSON.stringify(data.at[state.at])}${rule})`;
  }
  const unit = `--layer ${quoted(layer.name)} --map ${map.map} --at ${data.at[state.at]}`;
  return `zfjax project --workdir RUN ${image} ${unit}${state.rule === "deconvnet" ? "" : ` --rule ${state.rule}`}`;
}

// The address of a map's film, whatever is shown now.
function linkTo(layer, map, at = state.at) {
  const rule = `rule=${encodeURIComponent(state.rule)}`;
  return `#epoch=${data.names[at]}&map=${encodeURIComponent(layer.name)}:${map.map}&${rule}`;
}

function takeMap(text) {
  closeMap();
  const colon = text.lastIndexOf(":"), name = text.slice(0, colon), map = text.slice(colon + 1);
  const layer = data.layers.findIndex((candidate) => candidate.name === name);
  const index = layer < 0 ? -1 : data.layers[layer].maps.findIndex((candidate) => String(candidate.map) === map);
  if (colon < 0 && text) astray.push(`A map is named as LAYER:NUMBER, not as ${text}.`);
  else if (layer < 0 && text) astray.push(`This page has no layer ${name}.`);
  else if (index < 0 && text) astray.push(`Map ${map} of ${name} is not drawn on this page.`);
  if (index < 0) return;
  // Who comes by a link wants to see that map, listed or not.
  if (!listed(data.layers[layer], data.layers[layer].maps[index])) Object.assign(state, { ...FIRST, sort: state.sort });
  showListed();
  openMap(layer, index);
  bring(state.open.cell);
}

function leavePanel() {
  if (!state.open) return;
  closeMap(true);
  show();
}

document.querySelectorAll(".cell").forEach((cell) =>
  cell.addEventListener("click", () => {
    if (cell.getAttribute("aria-expanded") === "true") leavePanel();
    else openMap(Number(cell.closest(".layer").dataset.layer), Number(cell.dataset.map), true);
  }));
// A row of cells breaks elsewhere in another width: the panel moves behind the row that its cell is in then.
window.addEventListener("resize", placePanel);
escapes.push(leavePanel);
fields.push({
  name: "map",
  tell: () => (state.open ? `${encodeURIComponent(state.open.layer.name)}:${state.open.map.map}` : ""),
  take: takeMap,
});
draws.push(() => { if (state.open) fillPanel(); });
