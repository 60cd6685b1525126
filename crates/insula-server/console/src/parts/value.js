// A value from an agent, a tool or somebody: text as text, everything else as JSON. Long ones are folded, large ones fetched when asked.

import { get, path } from "../api.js";
import { classes, html, useMemo, useState } from "../html.js";
import { payloadOf } from "../format.js";
import { Copy, payloadText } from "./basics.js";

const FOLD_AT = 14, MOST = 200_000;

/** @param {{value: unknown, label?: string, open?: boolean}} props */
export function Value({ value, label, open = false }) {
  const [fetched, setFetched] = useState(/** @type {{value: unknown}|null} */ (null));
  const payload = fetched ? null : payloadOf(value);
  return html`<figure class="value">
    ${label && html`<figcaption>${label}</figcaption>`}
    ${payload
      ? html`<${Fetch} hash=${payload.hash} text=${payloadText(value)} onValue=${(/** @type {unknown} */ v) => setFetched({ value: v })} />`
      : html`<${Shown} value=${fetched ? fetched.value : value} open=${open} />`}
  </figure>`;
}

/** @param {{hash: string, text: string, onValue: (value: unknown) => void}} props */
function Fetch({ hash, text, onValue }) {
  const [state, set] = useState("");
  const load = async () => {
    set("Loading…");
    try {
      onValue(await get(path`/v1/payloads/${hash}`));
    } catch (problem) {
      set(/** @type {Error} */ (problem).message);
    }
  };
  return html`<div class="payload"><span class="faint">${text}</span><button type="button" class="small" onClick=${load}>Show</button>
    <span role="status">${state}</span></div>`;
}

/** @param {{value: unknown, open: boolean}} props */
function Shown({ value, open }) {
  const [whole, setWhole] = useState(open);
  const isText = typeof value === "string";
  const text = useMemo(() => (isText ? /** @type {string} */ (value) : JSON.stringify(value, null, 2) ?? "nothing").slice(0, MOST),
    [value]);
  const lines = useMemo(() => text.split("\n"), [text]);
  const isLong = lines.length > FOLD_AT || text.length > 2_400;
  const shown = isLong && !whole ? lines.slice(0, FOLD_AT).join("\n").slice(0, 2_400) : text;
  return html`<div class="value-body">
    <pre class=${classes("code", isText && "prose", isLong && !whole && "faded")} tabIndex="0">${isText ? shown : coloured(shown)}</pre>
    <div class="value-tools"><${Copy} text=${text} label="Copy the value" /></div>
    ${isLong && html`<button type="button" class="link small" aria-expanded=${whole} onClick=${() => setWhole(!whole)}>
      ${whole ? "Show less" : `Show all ${lines.length > FOLD_AT ? `${lines.length} lines` : "of it"}`}</button>`}
  </div>`;
}

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b/g;

/** JSON text with its parts marked. Beyond a size it is left plain. @param {string} text */
export function coloured(text) {
  if (text.length > 60_000) return text;
  /** @type {any[]} */
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    parts.push(text.slice(at, match.index));
    const [token, string, colon] = match;
    const kind = string ? (colon ? "key" : "string") : "scalar";
    parts.push(html`<span class=${`j-${kind}`}>${string ?? token}</span>`, colon);
    at = /** @type {number} */ (match.index) + token.length;
  }
  parts.push(text.slice(at));
  return parts;
}
