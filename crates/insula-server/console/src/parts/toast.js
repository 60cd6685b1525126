// Short messages in a corner: what was done, and what could not be.

import { html, signal, useSignal } from "../html.js";
import { Icon } from "./icon.js";

/** @typedef {{key: number, text: string, detail?: string, bad: boolean}} Toast */
/** @type {{value: Toast[], peek(): Toast[]}} */
const toasts = signal([]);
let made = 0;

const MOST = 4, SHORT = 4_000, LONG = 12_000;

/** @param {Omit<Toast, "key">} toast */
function show(toast) {
  const key = ++made;
  toasts.value = [...toasts.peek(), { ...toast, key }].slice(-MOST);
  setTimeout(() => dismiss(key), toast.bad ? LONG : SHORT);
}

const dismiss = (/** @type {number} */ key) => (toasts.value = toasts.peek().filter((toast) => toast.key !== key));

/** @param {string} text */
export const say = (text) => show({ text, bad: false });

/** @param {any} problem */
export const complain = (problem) => show({
  text: problem.title ?? "Something went wrong",
  detail: [problem.detail ?? problem.message, problem.requestId && `request ${problem.requestId}`].filter(Boolean).join(" · "),
  bad: true,
});

/**
 * Does something and says when it went wrong.
 * @template T
 * @param {() => Promise<T>} work
 * @param {string} [done] what to say when it went well
 * @returns {Promise<T|undefined>}
 */
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) say(done);
    return result;
  } catch (problem) {
    complain(problem);
    return undefined;
  }
}

export function Toasts() {
  const all = useSignal(toasts);
  return html`<div class="toasts" role="status" aria-live="polite" data-test="toasts">
    ${all.map((toast) => html`<div key=${toast.key} class=${`toast ${toast.bad ? "bad" : ""}`}>
    <div class="toast-text"><strong>${toast.text}</strong>${toast.detail && html`<span>${toast.detail}</span>`}</div>
    <button type="button" class="quiet small square" aria-label="Dismiss" onClick=${() => dismiss(toast.key)}>
      <${Icon} name="close" /></button>
  </div>`)}</div>`;
}
