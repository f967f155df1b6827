// ---- keys: arrows step, space plays, Escape leaves what is open

// Functions for Escape.
const escapes = [];

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.type === "radio") return;
  if (event.target.closest("select, input, textarea")) return;
  if (event.key === "Escape") { for (const leave of escapes) leave(); return; }
  if (!byId("track")) return;
  const moves = { ArrowRight: state.at + 1, ArrowLeft: state.at - 1 };
  if (event.target.id === "track")
    Object.assign(moves, {
      ArrowUp: state.at + 1, ArrowDown: state.at - 1, PageUp: state.at + 5, PageDown: state.at - 5, Home: 0, End: last,
    });
  const onButton = event.target.closest("button, a, summary");
  if (event.key in moves) { event.preventDefault(); play(false); go(moves[event.key]); }
  else if (event.key === " " && !onButton) { event.preventDefault(); play(timer === null); }
});
