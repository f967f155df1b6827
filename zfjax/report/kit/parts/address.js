// ---- the address after # holds the state, so that what is seen can be shared

// What an address asks for that this page does not have, in sentences; said until something is changed.
const astray = [];

// Each field: its name, tell() -> its text or "" where it is as at the start, take(text) when the page
// opens or the address changes ("" where it says nothing).
const fields = [];

function remember() {
  const told = fields.map(({ name, tell }) => [name, tell()]).filter(([, text]) => text);
  const epoch = `epoch=${encodeURIComponent(data.names ? data.names[state.at] : 0)}`;
  const address = !told.length && state.at === last ? location.pathname
    : "#" + [epoch, ...told.map(([name, text]) => `${name}=${text}`)].join("&");
  try { history.replaceState(null, "", address); } catch { /* not allowed here */ }
}

function recall() {
  // No form has filled it in: a + is a +.
  const wanted = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B")), epoch = wanted.get("epoch");
  const at = data.names ? data.names.indexOf(epoch) : -1;
  astray.length = 0;
  if (at >= 0) state.at = at;
  else if (epoch && data.names) astray.push(`This page has no epoch ${epoch}; epoch ${data.names[state.at]} is shown.`);
  for (const { name, take } of fields) take(wanted.get(name) || "");
  show();
  byId("astray").textContent = astray.join(" ");
}

draws.push(() => { byId("astray").textContent = ""; });

window.addEventListener("hashchange", recall);
