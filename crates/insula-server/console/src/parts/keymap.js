// The map of the keys.

import { html, useSignal } from "../html.js";
import { KEYS, PLACES, mapShown } from "../keyboard.js";
import { may } from "../session.js";
import { Dialog } from "./dialog.js";

export function KeyMap() {
  if (!useSignal(mapShown)) return null;
  const places = Object.entries(PLACES).filter(([, place]) => !place.role || may(place.role));
  return html`<${Dialog} title="Keys" onClose=${() => (mapShown.value = false)} test="keymap">
    <div class="keymap">
      <dl>${KEYS.map(([keys, what]) =>
        html`<div><dt>${keys.split("  ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
      <dl>${places.map(([key, { name }]) => html`<div><dt><kbd>g</kbd><kbd>${key}</kbd></dt><dd>${name}</dd></div>`)}</dl>
    </div>
  </${Dialog}>`;
}
