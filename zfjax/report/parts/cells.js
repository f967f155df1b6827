// ---- cells: a feature map each, and what stands at the left of its layer

const labelOf = (frame) => (frame.label === null ? "no label" : data.labels[frame.label]);
const fileOf = (frame) => (frame.file === null ? "–" : data.files[frame.file]);

// A scale shared over epochs is the tile's own scale turned down: CSS contrast() works around mid-grey.
function tone(tile, map, frame, scale) {
  tile.style.filter = scale === "shared" && map.shared > 0 ? `contrast(${frame.scale / map.shared})` : "";
}

const tileOf = (map, index, kind) => sheetTile(map.sheet, index, kind);

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
  const settled = layer.settled[state.at], dead = layer.dead[state.at], point = layer.spark[state.at];
  section.querySelector(".share").textContent = settled === null ? "no live map" : percent(settled) + " settled";
  section.querySelector(".rest").textContent =
    settled === null ? "" : "live maps that already show the image they end with";
  const silent = dead === 0 ? "No map is dead." : `${percent(dead)} of its maps are dead.`;
  section.querySelector(".dead").textContent = dead === null ? "" : silent;
  const dot = section.querySelector("circle");
  if (point) { dot.setAttribute("cx", point[0]); dot.setAttribute("cy", point[1]); }
  section.querySelectorAll(".cell").forEach((cell) => showCell(cell, layer, layer.maps[cell.dataset.map]));
}

function showLayers() {
  const root = document.documentElement.classList;
  for (const kind of ["both", "projection", "patch"]) root.toggle(`show-${kind}`, (state.show || "both") === kind);
  for (const section of document.querySelectorAll(".layer[data-layer]"))
    showLayer(section, data.layers[section.dataset.layer]);
}

document.documentElement.classList.toggle("no-photos", !data.photos);
draws.push(showLayers);
