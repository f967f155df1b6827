// ---- couples: maps of several runs side by side, at the stop of the slider

function showCouple(row) {
  const couple = data.couples[row.dataset.couple];
  row.hidden = Boolean(state.layer) && state.layer !== "all" && state.layer !== couple.layer;
  if (row.hidden) return;
  row.querySelectorAll("figure").forEach((figure, index) => {
    const cell = couple.cells[index];
    if (!cell) return;
    const frame = cell.frames[state.at];
    figure.querySelector(".both").classList.toggle("dead", !frame);
    figure.querySelectorAll(".tile").forEach((tile, which) => { if (frame) aim(tile, cell.sheet, frame[which]); });
    figure.querySelector(".what").textContent = cell.words[state.at];
  });
  row.querySelector(".alike").textContent = couple.words[state.at];
  row.classList.toggle("apart", !couple.partners[state.at]);
}

draws.push(() => {
  document.querySelectorAll(".couple").forEach(showCouple);
  document.querySelectorAll(".alone").forEach((list) => {
    list.hidden = Boolean(state.layer) && state.layer !== "all" && state.layer !== list.dataset.layer;
  });
});
