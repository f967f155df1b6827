// ---- the slider: the curve is its track, the handle sits on it

let timer = null;

function showTrack() {
  const [left, top] = data.stops[state.at], reading = data.readings[state.at], name = `${data.word} ${data.names[state.at]}`;
  byId("handle").style.left = byId("guide").style.left = 100 * left + "%";
  byId("handle").style.top = byId("guide").style.top = 100 * top + "%";
  byId("past-area").setAttribute("width", 1000 * left);
  byId("epoch").textContent = name;
  byId("reading").textContent = reading;
  const track = byId("track");
  track.setAttribute("aria-valuenow", state.at);
  track.setAttribute("aria-valuetext", reading ? `${name}, ${reading}` : name);
}

function nearest(event) {
  const box = byId("track").getBoundingClientRect();
  const pointed = (event.clientX - box.left) / box.width;
  const distances = data.stops.map(([left]) => Math.abs(left - pointed));
  return distances.indexOf(Math.min(...distances));
}

function play(on) {
  clearInterval(timer);
  timer = null;
  document.documentElement.classList.toggle("playing", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : `Play the ${data.word}s`);
  if (!on) return;
  if (state.at === last) go(0);
  timer = setInterval(() => (state.at < last ? go(state.at + 1) : play(false)), Math.max(120, 9000 / (last + 1)));
}

// Scrolls to an element, which stops below the dock however many rows its choices take.
function bring(element) {
  if (byId("dock")) document.documentElement.style.scrollPaddingTop = byId("dock").offsetHeight + 12 + "px";
  element.scrollIntoView();
}

if (byId("track")) {
  data.ticks.forEach(([left, name]) => {
    const tick = make("span", "", name);
    tick.style.left = 100 * left + "%";
    byId("ticks").append(tick);
  });
  const track = byId("track");
  track.addEventListener("pointerdown", (event) => {
    track.setPointerCapture(event.pointerId);
    play(false);
    go(nearest(event));
  });
  track.addEventListener("pointermove", (event) => { if (event.buttons) go(nearest(event)); });
  byId("play").addEventListener("click", () => play(timer === null));
  draws.push(showTrack);
}
