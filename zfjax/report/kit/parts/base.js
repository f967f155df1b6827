"use strict";
// One state and one list of what draws it. A part adds a function to `draws`; show() calls them in order, after every
// change. The names of all parts are shared: they become one script.
document.documentElement.classList.add("js");
// Of a page whose data lies beside it, the script there has named it.
const data = typeof pageData === "undefined" ? JSON.parse(document.getElementById("data").textContent) : pageData;
const byId = (id) => document.getElementById(id);
// Stops of the slider are counted from 0; a page without one has a single stop.
const last = data.names ? data.names.length - 1 : 0;
const state = { at: last };
const draws = [];

function show() {
  for (const draw of draws) draw();
}

function go(at) {
  state.at = Math.min(last, Math.max(0, at));
  show();
}

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
