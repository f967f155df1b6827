// ---- cells: a feature map each, and what stands at the left of its layer

const labelOf = (frame) => (frame.label === null ? "no label" : data.labels[frame.label]);
const fileOf = (frame) => (frame.file === null ? "no file name" : data.files[frame.file]);

// A page of one rule has no choice of it.
state.rule ??= data.rule;

// [picture, its scale] of a projection by the rule that is chosen, and the scale that its map shares over epochs.
const drawnBy = (frame) => (state.rule === data.rule ? [frame.projection, frame.scale]
  : frame.rules[data.rules.indexOf(state.rule) - 1]);
const sharedBy = (map) => (state.rule === data.rule ? map.shared : map.shared_by[data.rules.indexOf(state.rule) - 1]);

// A scale shared over epochs is the tile's own scale turned down: CSS contrast() works around mid-grey.
function tone(tile, map, frame, scale) {
  const shared = sharedBy(map);
  tile.style.filter = scale === "shared" && shared > 0 ? `contrast(${drawnBy(frame)[1] / shared})` : "";
}

// The scale that a projection is drawn at, as it is chosen now.
function scaleWords(map, frame) {
  const own = drawnBy(frame)[1], shared = sharedBy(map);
  return state.scale === "shared" && shared > 0
    ? `drawn at scale ±${number(shared)} (its own ±${number(own)})` : `scale ±${number(own)}`;
}

// A frame's projection, which another rule changes, or its patch.
function tileOf(map, frame, kind) {
  const tile = sheetTile(map.sheet, kind === "projection" ? drawnBy(frame)[0] : frame[kind], kind);
  if (kind === "projection") tile.redraw = () => aim(tile, map.sheet, drawnBy(frame)[0]);
  if (kind === "projection") tile.retone = () => tone(tile, map, frame, state.scale);
  return tile;
}

// How strong a unit is beside the strongest of its map at any epoch.
function share(map, frame) {
  map.most ??= Math.max(...[...map.top, ...map.fixed].map((other) => (other ? other.activation : 0)));
  return frame.activation / map.most;
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
  const [projection, patch] = cell.querySelectorAll(".tile");
  // Only now, so that of a thousand maps those are loaded that somebody looks at.
  for (const tile of [projection, patch]) if (tile) tile.classList.add(`s${map.sheet.number}`);
  aim(projection, map.sheet, drawnBy(frame)[0]);
  tone(projection, map, frame, state.scale);
  if (patch) aim(patch, map.sheet, frame.patch);
  cell.querySelector(".bar span").style.width = 100 * share(map, frame) + "%";
  const said = `${name}: activation ${number(frame.activation)}, ${labelOf(frame)}`;
  cell.setAttribute("aria-label", said + (jumped ? ", strongest image has just changed" : ""));
}

function showLayer(section, layer) {
  const settled = layer.settled[state.at], dead = layer.dead[state.at], point = layer.spark[state.at];
  section.querySelector(".share").textContent = settled === null ? "no live map" : state.at === last ? "" : percent(settled);
  section.querySelector(".rest").textContent =
    settled === null || state.at === last ? "" :
      "of live maps already show their final image, the one they end with";
  const silent = dead === 0 ? "No map is dead." : `${percent(dead)} of its maps are dead.`;
  section.querySelector(".dead").textContent = dead === null ? "" : silent;
  const dot = section.querySelector("circle");
  dot.style.display = point ? "" : "none";
  if (point) { dot.setAttribute("cx", point[0]); dot.setAttribute("cy", point[1]); }
}

// Cells near the window follow the slider; the others when they come near.
const cells = [...document.querySelectorAll(".cell")];
const owners = new Map(cells.map((cell) => {
  const layer = data.layers[cell.closest(".layer").dataset.layer];
  return [cell, { layer, map: layer.maps[cell.dataset.map] }];
}));
const near = new Set();
const drawCell = (cell) => showCell(cell, owners.get(cell).layer, owners.get(cell).map);
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !near.has(target)) drawCell(target);
    near[isIntersecting ? "add" : "delete"](target);
  }
}, { rootMargin: "240px" });
cells.forEach((cell) => watcher.observe(cell));

function showLayers() {
  const root = document.documentElement.classList;
  for (const kind of ["both", "projection", "patch"]) root.toggle(`show-${kind}`, (state.show || "both") === kind);
  for (const section of document.querySelectorAll(".layer[data-layer]"))
    showLayer(section, data.layers[section.dataset.layer]);
  near.forEach(drawCell);
}

document.documentElement.classList.toggle("no-photos", !data.photos);
draws.push(showLayers);
