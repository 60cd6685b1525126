// The server's time, as far as this browser knows it, and a tick for what shows how long ago something was.

import { signal } from "./html.js";

let ahead = 0;

/**
 * Learns from a response's `Date`. It has whole seconds, so small differences mean nothing.
 * @param {string|null} date
 */
export function heardDate(date) {
  const there = date ? Date.parse(date) : NaN;
  if (Number.isNaN(there)) return;
  const difference = there - Date.now();
  ahead = Math.abs(difference) > 2_000 ? difference : 0;
}

/** Milliseconds since 1970 by the server's clock. */
export const now = () => Date.now() + ahead;

/** Changes every second while somebody looks. */
export const tick = signal(now());

setInterval(() => {
  if (!document.hidden) tick.value = now();
}, 1_000);
