// ---- choices: radio buttons beside the slider, each fieldset one field of the state

const options = byId("options");

function showChoices() {
  for (const input of options.elements)
    if (input.type === "radio") input.checked = state[input.name] === input.value;
}

if (options) {
  for (const input of options.elements) {
    if (input.type !== "radio" || input.name in state) continue;
    const { name, value: first } = input;
    const known = [...options.elements].filter((other) => other.name === name).map((other) => other.value);
    state[name] = first;
    fields.push({
      name,
      tell: () => (state[name] === first ? "" : encodeURIComponent(state[name])),
      take: (text) => { if (known.includes(text)) state[name] = text; },
    });
  }
  options.addEventListener("change", (event) => { state[event.target.name] = event.target.value; show(); });
  draws.push(showChoices);
}
