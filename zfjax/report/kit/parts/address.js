// ---- the address after # holds the state, so that what is seen can be shared

// Each field: its name, tell() -> its text or "" where it is as at the start, take(text) when the page
// opens or the address changes ("" where it says nothing).
const fields = [];

function remember() {
  const told = fields.map(({ name, tell }) => [name, tell()]).filter(([, text]) => text);
  const epoch = `epoch=${data.names ? data.names[state.at] : 0}`;
  const address = !told.length && state.at === last ? location.pathname
    : "#" + [epoch, ...told.map(([name, text]) => `${name}=${text}`)].join("&");
  try { history.replaceState(null, "", address); } catch { /* not allowed here */ }
}

function recall() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const at = data.names ? data.names.indexOf(wanted.get("epoch")) : -1;
  if (at >= 0) state.at = at;
  for (const { name, take } of fields) take(wanted.get(name) || "");
  show();
}

window.addEventListener("hashchange", recall);
