"use strict";
// State is four choices and one epoch; show() draws it. The address after # holds the same and can be shared.
document.documentElement.classList.add("js");
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const last = data.steps.length - 1;
const state = { at: last, image: "top", show: "both", scale: "tile", open: null };
let timer = null;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function percent(share) {
  return share === null ? "–" : (100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0) + "\u2009%";
}

const labelOf = (frame) => (frame.label === null ? "no label" : data.labels[frame.label]);
const fileOf = (frame) => (frame.file === null ? "–" : data.files[frame.file]);

// Moves a sheet so that its picture number `index` shows through the tile, whatever the tile's size.
function aim(tile, sheet, index) {
  const along = (place, count, ratio) => (count * ratio === 1 ? 0 : (100 * place * ratio) / (count * ratio - 1));
  const row = Math.floor(index / sheet.columns), column = index % sheet.columns;
  tile.style.backgroundPosition =
    along(column, sheet.columns, sheet.ratio[1]) + "% " + along(row, sheet.rows, sheet.ratio[0]) + "%";
}

// A scale shared over epochs is the tile's own scale turned down: CSS contrast() works around mid-grey.
function tone(tile, map, frame, scale) {
  tile.style.filter = scale === "shared" && map.shared > 0 ? `contrast(${frame.scale / map.shared})` : "";
}

function tileOf(map, index, kind) {
  const tile = make("span", `tile ${kind} s${map.sheet.number}`);
  aim(tile, map.sheet, index);
  return tile;
}

// How strong a unit is beside the strongest of its map at any epoch.
function share(map, frame) {
  return frame.activation / Math.max(...[...map.top, ...map.fixed].map((other) => (other ? other.activation : 0)));
}

// Whether the strongest image is not the one shown before it.
function changed(map, at) {
  const now = map.top[at], before = at > 0 ? map.top[at - 1] : null;
  return Boolean(now && before && now.image !== before.image);
}

function showCell(cell, layer, map) {
  const frame = map[state.image][state.at], name = `${layer.name} map ${map.map}, epoch ${data.names[state.at]}`;
  const jumped = state.image === "top" && changed(map, state.at);
  cell.classList.toggle("silent", !frame);
  cell.classList.toggle("jumped", jumped);
  if (!frame) {
    const word = state.image === "fixed" && map.best.length ? "no response" : "dead";
    cell.querySelector(".word").textContent = word;
    cell.setAttribute("aria-label", `${name}: ${word}`);
    return;
  }
  const projection = cell.querySelector(".projection"), patch = cell.querySelector(".patch");
  aim(projection, map.sheet, frame.projection);
  tone(projection, map, frame, state.scale);
  if (patch) aim(patch, map.sheet, frame.patch);
  cell.querySelector(".bar span").style.width = 100 * share(map, frame) + "%";
  const said = `${name}: activation ${number(frame.activation)}, ${labelOf(frame)}`;
  cell.setAttribute("aria-label", said + (jumped ? ", strongest image has just changed" : ""));
}

function showLayer(section, layer) {
  const settled = layer.settled[state.at], dead = layer.dead[state.at], place = layer.spark[state.at];
  section.querySelector(".share").textContent = settled === null ? "no live map" : percent(settled) + " settled";
  section.querySelector(".rest").textContent =
    settled === null ? "" : "live maps that already show the image they end with";
  const silent = dead === 0 ? "No map is dead." : `${percent(dead)} of its maps are dead.`;
  section.querySelector(".dead").textContent = dead === null ? "" : silent;
  const dot = section.querySelector("circle");
  if (place) { dot.setAttribute("cx", place[0]); dot.setAttribute("cy", place[1]); }
  section.querySelectorAll(".cell").forEach((cell) => showCell(cell, layer, layer.maps[cell.dataset.map]));
}

function showTrack() {
  const [left, top] = data.stops[state.at], accuracy = data.accuracy[state.at];
  byId("handle").style.left = byId("guide").style.left = 100 * left + "%";
  byId("handle").style.top = byId("guide").style.top = 100 * top + "%";
  byId("past-area").setAttribute("width", 1000 * left);
  const epoch = `epoch ${data.names[state.at]}`, right = accuracy === null ? "" : percent(accuracy) + " right";
  byId("epoch").textContent = epoch;
  byId("accuracy").textContent = right;
  const track = byId("track");
  track.setAttribute("aria-valuenow", state.at);
  track.setAttribute("aria-valuetext", right ? `${epoch}, ${right}` : epoch);
}

function showFilters() {
  const { sheet, frames, scales } = data.filters;
  if (frames[state.at] !== null) aim(byId("filters-now"), sheet, frames[state.at]);
  byId("filters-scale").textContent = `epoch ${data.names[state.at]}, scale ±${number(scales[state.at])}`;
}

function markFrames(strip) {
  strip.querySelectorAll(".frame").forEach((frame) => {
    const now = Number(frame.dataset.at) === state.at;
    frame.setAttribute("aria-current", now);
    if (!now) return;
    const left = frame.offsetLeft - strip.offsetLeft - strip.scrollLeft;
    if (left < 100 || left + frame.offsetWidth > strip.clientWidth)
      strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
  });
}

function show() {
  const root = document.documentElement.classList;
  for (const kind of ["both", "projection", "patch"]) root.toggle(`show-${kind}`, state.show === kind);
  for (const section of document.querySelectorAll(".layer[data-layer]"))
    showLayer(section, data.layers[section.dataset.layer]);
  showTrack();
  showFilters();
  if (state.open) fillPanel();
  document.querySelectorAll(".strip").forEach(markFrames);
  for (const input of byId("options").elements)
    if (input.type === "radio") input.checked = state[input.name] === input.value;
  remember();
}

function go(at) {
  state.at = Math.min(last, Math.max(0, at));
  show();
}

// ---- the opened map

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
  panel.querySelector(".close").addEventListener("click", () => { closeMap(true); show(); });
  buildStrip(panel.querySelector(".strip"), map);
  show();
  if (!focus) return;
  panel.querySelector(".close").focus({ preventScroll: true });
  if (panel.getBoundingClientRect().bottom > innerHeight) cell.scrollIntoView();
}

// The last cell of the row that `cell` is in, so that an opened map never tears a row apart.
function endOfRow(cell) {
  let end = cell;
  while (end.nextElementSibling && end.nextElementSibling.offsetTop === cell.offsetTop) end = end.nextElementSibling;
  return end;
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
    const tile = tileOf(map, frame[kind], kind);
    if (kind === "projection") { tile.dataset.ratio = map.shared > 0 ? frame.scale / map.shared : 1; }
    box.append(tile);
  } else {
    box.classList.add("empty");
    if (kind === "projection") box.textContent = map.best.length && className ? "no response" : "dead";
  }
  return box;
}

function frameButton(at) {
  const button = make("button", "frame");
  button.type = "button";
  button.dataset.at = at;
  button.title = `epoch ${data.names[at]}`;
  const head = make("b", "", data.names[at]);
  head.append(make("span", "dot"));
  button.append(head);
  button.addEventListener("click", () => go(at));
  return button;
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
  data.steps.forEach((step, at) => {
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
  const at = map.ranks ? state.at : last, found = map.ranks ? map.ranks[at] : map.best;
  if (best.dataset.at === String(at)) return;
  best.dataset.at = at;
  const many = found.length === 1 ? "1 image" : `${found.length} images`;
  best.querySelector("h4").textContent =
    found.length ? `Strongest at epoch ${data.names[at]}: ${many}` : `Dead at epoch ${data.names[at]}`;
  const which = best.querySelector(".which"), nine = best.querySelector(".nine");
  which.textContent = "";
  nine.replaceChildren();
  const tell = (rank) => {
    const frame = found[rank];
    which.textContent =
      `No. ${rank + 1}: activation ${number(frame.activation)}, ${labelOf(frame)}, ` +
      `${fileOf(frame)} (image ${frame.image}), unit y ${frame.place[0]}, x ${frame.place[1]}, ` +
      `scale ±${number(frame.scale)}`;
    for (const button of nine.querySelectorAll("button"))
      button.setAttribute("aria-pressed", Number(button.dataset.rank) === rank);
  };
  for (const kind of data.photos ? ["projection", "patch"] : ["projection"]) {
    const square = make("div");
    square.style.gridTemplateColumns = `repeat(${Math.ceil(Math.sqrt(found.length))}, max-content)`;
    found.forEach((frame, rank) => {
      const button = tileOf(map, frame[kind], kind);
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
  if (found.length) tell(0);
}

function fillPanel() {
  const { layer, map, panel } = state.open;
  const top = map.top[state.at], fixed = map.fixed[state.at], name = data.names[state.at];
  panel.querySelector(".bar-top p").textContent = top
    ? `epoch ${name}: activation ${number(top.activation)} on ${labelOf(top)}, ${fileOf(top)}` +
      (changed(map, state.at) ? "; the strongest image has just changed" : "") : `epoch ${name}: dead, no image excites it`;
  panel.querySelectorAll(".strip .projection").forEach((tile) => {
    tile.style.filter = state.scale === "shared" ? `contrast(${tile.dataset.ratio})` : "";
  });
  fillBest(panel.querySelector(".best"), map);
  fillClasses(panel.querySelector(".classes"), map.labels[state.at], name);
  panel.querySelector(".numbers h4").textContent = `Numbers at epoch ${name}`;
  const rows = [
    ["activation", (frame) => number(frame.activation)],
    ["lead over the next", (frame) => (frame.margin === null ? "–" : percent(frame.margin))],
    ["image", (frame) => `${frame.image}, ${labelOf(frame)}`],
    ["file", (frame) => fileOf(frame).replaceAll("/", "/\u200b")],
    ["unit (y, x)", (frame) => frame.place.join(", ")],
    ["sees rows", (frame) => `${frame.box[0]} to ${frame.box[2] - 1}`],
    ["sees columns", (frame) => `${frame.box[1]} to ${frame.box[3] - 1}`],
    ["colour scale", (frame) => "±" + number(state.scale === "shared" ? map.shared : frame.scale)],
  ];
  const body = panel.querySelector("tbody");
  body.replaceChildren(...rows.map(([text, value]) => {
    const row = make("tr");
    row.append(make("th", "", text));
    for (const frame of [top, fixed]) row.append(make("td", "", frame ? value(frame) : "–"));
    return row;
  }));
  panel.querySelector("pre").textContent = command(layer, map, map[state.image][state.at] || top || fixed);
}

function fillClasses(box, labels, name) {
  const counts = new Map(), known = labels.filter((label) => label !== null), unknown = labels.length - known.length;
  known.forEach((label) => counts.set(label, (counts.get(label) || 0) + 1));
  const without = unknown ? `; ${unknown} without a label` : "";
  box.querySelector("h4").textContent = known.length ? `Classes at epoch ${name}, of ${known.length}${without}`
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
  const unit = `--layer ${layer.name} --map ${map.map} --at ${data.at[state.at]}`;
  return `zfjax project --workdir RUN ${image} ${unit}${data.rule === "deconvnet" ? "" : ` --rule ${data.rule}`}`;
}

// ---- the address after #

function remember() {
  const parts = [`epoch=${data.names[state.at]}`];
  if (state.open) parts.push(`map=${state.open.layer.name}:${state.open.map.map}`);
  if (state.image !== "top") parts.push("image=fixed");
  if (state.show !== "both") parts.push(`show=${state.show}`);
  if (state.scale !== "tile") parts.push("scale=shared");
  const address = parts.length === 1 && state.at === last ? location.pathname : "#" + parts.join("&");
  try { history.replaceState(null, "", address); } catch { /* not allowed here */ }
}

function recall() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const at = data.names.indexOf(wanted.get("epoch"));
  if (at >= 0) state.at = at;
  if (wanted.get("image") === "fixed") state.image = "fixed";
  if (data.photos && ["projection", "patch"].includes(wanted.get("show"))) state.show = wanted.get("show");
  if (wanted.get("scale") === "shared") state.scale = "shared";
  const [name, map] = (wanted.get("map") || "").split(":");
  const layer = data.layers.findIndex((candidate) => candidate.name === name);
  const place = layer < 0 ? -1 : data.layers[layer].maps.findIndex((candidate) => String(candidate.map) === map);
  if (place < 0) return show();
  openMap(layer, place);
  state.open.cell.scrollIntoView();
}

// ---- hands: pointer, keys, play

function nearest(event) {
  const box = byId("track").getBoundingClientRect();
  const place = (event.clientX - box.left) / box.width;
  const distances = data.stops.map(([left]) => Math.abs(left - place));
  return distances.indexOf(Math.min(...distances));
}

function play(on) {
  clearInterval(timer);
  timer = null;
  document.documentElement.classList.toggle("playing", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play the epochs");
  if (!on) return;
  if (state.at === last) go(0);
  timer = setInterval(() => (state.at < last ? go(state.at + 1) : play(false)), Math.max(120, 9000 / (last + 1)));
}

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.type === "radio") return;
  const onButton = event.target.closest("button, a, summary");
  const moves = { ArrowRight: state.at + 1, ArrowLeft: state.at - 1 };
  if (event.target.id === "track")
    Object.assign(moves, {
      ArrowUp: state.at + 1, ArrowDown: state.at - 1, PageUp: state.at + 5, PageDown: state.at - 5, Home: 0, End: last,
    });
  if (event.key in moves) { event.preventDefault(); play(false); go(moves[event.key]); }
  else if (event.key === " " && !onButton) { event.preventDefault(); play(timer === null); }
  else if (event.key === "Escape" && state.open) { closeMap(true); show(); }
}

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

function start() {
  document.documentElement.classList.toggle("no-photos", !data.photos);
  data.ticks.forEach(([place, name]) => {
    const tick = make("span", "", name);
    tick.style.left = 100 * place + "%";
    byId("ticks").append(tick);
  });
  data.steps.forEach((step, at) => {
    if (data.filters.frames[at] === null) return;
    const button = frameButton(at);
    const tile = make("span", `tile s${data.filters.sheet.number}`);
    aim(tile, data.filters.sheet, data.filters.frames[at]);
    button.append(tile);
    byId("filters-strip").append(button);
  });
  document.querySelectorAll(".cell").forEach((cell) =>
    cell.addEventListener("click", () => {
      if (cell.getAttribute("aria-expanded") === "true") { closeMap(true); show(); return; }
      openMap(Number(cell.closest(".layer").dataset.layer), Number(cell.dataset.map), true);
    }));
  byId("options").addEventListener("change", (event) => { state[event.target.name] = event.target.value; show(); });
  const track = byId("track");
  track.addEventListener("pointerdown", (event) => {
    track.setPointerCapture(event.pointerId);
    play(false);
    go(nearest(event));
  });
  track.addEventListener("pointermove", (event) => { if (event.buttons) go(nearest(event)); });
  byId("play").addEventListener("click", () => play(timer === null));
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => { closeMap(); recall(); });
  window.addEventListener("beforeprint", printStrips);
  window.addEventListener("resize", () => { if (state.open) endOfRow(state.open.cell).after(state.open.panel); });
  recall();
}

start();
