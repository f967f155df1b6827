// ---- choices: radio buttons beside the slider, each fieldset one field of the state

const options = byId("options");
// What each is to begin with.
const firstChoices = {};

function showChoices() {
  for (const input of options.elements)
    if (input.type === "radio") input.checked = state[input.name] === input.value;
  byId("choices").classList.toggle("other", Object.entries(firstChoices).some(([name, first]) => state[name] !== first));
}

if (options) {
  for (const input of options.elements) {
    if (input.type !== "radio" || input.name in state) continue;
    const { name, value: first } = input;
    // Of a rule that is not here the opened map says so.
    const known = [...options.elements].filter((other) => other.name === name).map((other) => other.value);
    state[name] = firstChoices[name] = first;
    fields.push({
      name,
      tell: () => (state[name] === first ? "" : encodeURIComponent(state[name])),
      take: (text) => {
        if (known.includes(text)) state[name] = text;
        else if (text && name !== "rule") astray.push(`This page has no ${name} ${text}; ${state[name]} is shown.`);
      },
    });
  }
  // On a telephone they are folded away, so that the maps have the screen.
  byId("choices").addEventListener("click", () => {
    const open = byId("dock").classList.toggle("chosen");
    byId("choices").setAttribute("aria-expanded", open);
  });
  options.addEventListener("change", (event) => { state[event.target.name] = event.target.value; show(); });
  draws.push(showChoices);
}
