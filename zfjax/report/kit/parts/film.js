// ---- films: every stop of the slider side by side; the one shown is framed and kept in sight

function frameButton(at) {
  const button = make("button", "frame");
  button.type = "button";
  button.dataset.at = at;
  button.title = `${data.word} ${data.names[at]}`;
  const head = make("b", "", data.names[at]);
  head.append(make("span", "dot"));
  button.append(head);
  button.addEventListener("click", () => go(at));
  return button;
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

// The picture of the stop shown; where a film has none there, the one before stays.
function showNow(element) {
  const { sheet, frames, captions } = data.films[element.dataset.film];
  if (frames[state.at] !== null) aim(element.querySelector(".tile"), sheet, frames[state.at]);
  const caption = captions[state.at] ? `, ${captions[state.at]}` : "";
  element.querySelector(".caption").textContent = `${data.word} ${data.names[state.at]}${caption}`;
}

document.querySelectorAll(".strip[data-film]").forEach((strip) => {
  const { sheet, frames } = data.films[strip.dataset.film];
  frames.forEach((index, at) => {
    if (index === null) return;
    const button = frameButton(at);
    button.append(sheetTile(sheet, index));
    strip.append(button);
  });
});
draws.push(() => document.querySelectorAll(".now[data-film]").forEach(showNow));
