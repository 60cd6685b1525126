// A part of a long list: a few hundred rows are drawn, whatever its length.

import { count } from "../format.js";
import { html, useState } from "../html.js";

/** How many rows a step shows more, and how many are drawn at most. */
const STEP = 80, MOST = 240;

/** From how many rows on only those in sight are laid out and painted. */
export const LONG = 60;

/**
 * The end of the list, unless somebody has gone somewhere else.
 * @param {number} length
 */
export function useWindow(length) {
  const [state, set] = useState(/** @type {{from: number|null, to: number|null}} */ ({ from: null, to: null }));
  const to = Math.min(state.to ?? length, length);
  const from = Math.min(state.from ?? Math.max(0, length - STEP), Math.max(0, to - 1), length);
  const at = length <= MOST && state.from === null ? 0 : Math.max(from, to - MOST, 0);
  const show = (/** @type {number} */ a, /** @type {number} */ b) => set({ from: Math.max(0, a), to: b >= length ? null : b });
  return {
    from: at,
    to,
    earlier: () => show(at - STEP, Math.min(to, at - STEP + MOST)),
    later: () => show(Math.max(at, to + STEP - MOST), to + STEP),
    first: () => show(0, MOST),
    last: () => set({ from: null, to: null }),
    around: (/** @type {number} */ place) => (place < at || place >= to ? show(place - STEP, place + STEP) : undefined),
  };
}

/** @param {{view: ReturnType<typeof useWindow>, length: number, beyond?: any}} props */
export function Earlier({ view, beyond }) {
  if (view.from === 0) return beyond ?? null;
  return html`<div class="further"><span class="faint">${count(view.from)} earlier</span>
    <button type="button" class="small" data-test="show-earlier" onClick=${view.earlier}>Show earlier</button>
    <button type="button" class="quiet small" onClick=${view.first}>To the beginning</button></div>`;
}

/** @param {{view: ReturnType<typeof useWindow>, length: number}} props */
export function Later({ view, length }) {
  if (view.to >= length) return null;
  return html`<div class="further"><span class="faint">${count(length - view.to)} later</span>
    <button type="button" class="small" data-test="show-later" onClick=${view.later}>Show later</button>
    <button type="button" class="quiet small" onClick=${view.last}>To the end</button></div>`;
}
