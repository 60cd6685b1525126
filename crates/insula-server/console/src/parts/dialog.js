// Dialogs: the browser's own element, which keeps the focus inside and closes with Escape.

import { html, signal, useEffect, useRef, useSignal, useState } from "../html.js";
import { Icon } from "./icon.js";

/** @param {{title: string, onClose: () => void, children?: any, test?: string}} props */
export function Dialog({ title, onClose, children, test }) {
  const ref = useRef(/** @type {HTMLDialogElement|null} */ (null));
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    ref.current?.showModal();
    return () => before?.focus?.();
  }, []);
  const backdrop = (/** @type {MouseEvent} */ event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} class="dialog" aria-label=${title} data-test=${test} onClose=${onClose} onMouseDown=${backdrop}>
    <div class="dialog-body">
      <header class="dialog-head"><h2>${title}</h2>
        <button type="button" class="quiet square" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
      ${children}
    </div>
  </dialog>`;
}

/**
 * @typedef {{title: string, text: any, action: string, danger?: boolean, reason?: string, type?: string,
 *   answer: (given: string|null) => void}} Asked
 */
/** @type {{value: Asked|null, peek(): Asked|null}} */
const asked = signal(null);

/**
 * Asks before something is done that cannot be taken back. Answers what was written into the reason's field, or `null`.
 * @param {Omit<Asked, "answer">} question `reason`: the label of a field for words; `type`: what has to be written first
 * @returns {Promise<string|null>}
 */
export const confirm = (question) => new Promise((answer) => {
  asked.value = { ...question, answer };
});

export function Confirm() {
  const question = useSignal(asked);
  const [given, set] = useState("");
  if (!question) return null;
  const answer = (/** @type {string|null} */ value) => {
    asked.value = null;
    set("");
    question.answer(value);
  };
  const isReady = !question.type || given === question.type;
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isReady) answer(given);
  };
  return html`<${Dialog} title=${question.title} onClose=${() => answer(null)} test="confirm">
    <form onSubmit=${submit}>
      <div class="dialog-text">${question.text}</div>
      ${(question.reason || question.type) &&
        html`<label class="field">
          <span class="label">${question.type ? html`Write <b>${question.type}</b> to go on` : question.reason}</span>
        <input type="text" value=${given} autocomplete="off" data-test="confirm-text" onInput=${(/** @type {any} */ e) =>
          set(e.target.value)} /></label>`}
      <footer class="dialog-foot">
        <button type="button" onClick=${() => answer(null)}>Go back</button>
        <button type="submit" class=${question.danger ? "danger" : "primary"} disabled=${!isReady} data-test="confirm-yes">
          ${question.action}</button>
      </footer>
    </form>
  </${Dialog}>`;
}
