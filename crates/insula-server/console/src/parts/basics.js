// The small parts that every view uses.

import { tick } from "../clock.js";
import { ago, bytes, dateTime, duration, millis, payloadOf, shortId, words } from "../format.js";
import { classes, html, useEffect, useRef, useSignal, useState } from "../html.js";
import { Icon } from "./icon.js";

/** How a run, a key, a webhook or a component is, as a word with a dot. @param {{is: string, test?: string}} props */
export const Status = ({ is, test }) =>
  html`<span class="status" data-status=${is} data-test=${test}><i class="dot" aria-hidden="true"></i>${words(is)}</span>`;

/** A time as how long ago it was. @param {{time: string|null|undefined}} props */
export function Ago({ time }) {
  const at = useSignal(tick);
  if (!time) return html`<span class="faint">–</span>`;
  return html`<time dateTime=${time} title=${dateTime(time)}>${ago(time, at)}</time>`;
}

/** How long a run took, or has taken so far. @param {{from?: string|number|null, to?: string|null}} props */
export function Took({ from, to }) {
  const at = useSignal(tick);
  if (!from) return html`<span class="faint">–</span>`;
  return html`<span class="number">${duration((to ? millis(to) : at) - millis(from))}</span>`;
}

/** @param {{text: string, label?: string, children?: any}} props */
export function Copy({ text, label = "Copy", children }) {
  const [copied, set] = useState(false);
  const copy = async (/** @type {Event} */ event) => {
    event.preventDefault();
    event.stopPropagation();
    await put(text);
    set(true);
    setTimeout(() => set(false), 1_500);
  };
  return html`<button type="button" class=${classes("quiet", "small", !children && "square")} onClick=${copy} title=${label}
    aria-label=${copied ? "Copied" : label}>
    <${Icon} name=${copied ? "check" : "copy"} />${children && html`<span>${copied ? "Copied" : children}</span>`}
  </button>`;
}

/** The clipboard is there on secure pages only. @param {string} text */
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Words in which `code` stands between backticks. @param {{text: string}} props */
export const Words = ({ text }) => text.split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));

/** An id, short, with the whole of it for those who ask. @param {{id: string, href?: string}} props */
export const Id = ({ id, href }) => (href
  ? html`<a class="id" href=${href} title=${id}>${shortId(id)}</a>`
  : html`<span class="id" title=${id}>${shortId(id)}</span>`);

/** What a place says while it is empty. @param {{icon: string, title: string, children?: any}} props */
export const Empty = ({ icon, title, children }) => html`<div class="empty" data-test="empty">
  <span class="empty-icon"><${Icon} name=${icon} /></span>
  <h2>${title}</h2>
  <div class="empty-text">${children}</div>
</div>`;

/**
 * A violation as the server tells it: a JSON pointer, where it is not about the whole, and what is wrong there.
 * @param {string} violation `/amount: 10001 is greater than the maximum of 10000`
 * @returns {{path: string, message: string}}
 */
export function violationOf(violation) {
  const [, path, message] = /^(\/[^:\s]*): ([\s\S]*)$/.exec(violation) ?? [];
  return path ? { path, message } : { path: "", message: String(violation) };
}

/** @param {string} violation */
function violationText(violation) {
  const { path, message } = violationOf(violation);
  return path ? `${path.slice(1).replaceAll("/", ".")}: ${message}` : message;
}

/** An error in the server's words. @param {{problem: any, onRetry?: () => void}} props */
export function ProblemNote({ problem, onRetry }) {
  const ref = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => ref.current?.scrollIntoView({ block: "nearest" }), [problem]);
  if (!problem) return null;
  const violations = (problem.violations ?? []).filter((/** @type {string} */ v) => !problem.detail?.includes(v));
  return html`<div ref=${ref} class="note bad" role="alert" data-test="problem">
    <strong>${problem.title ?? "Something went wrong"}</strong>
    ${problem.detail && problem.detail !== problem.title && html`<p>${problem.detail}</p>`}
    ${!problem.title && html`<p>${problem.message}</p>`}
    ${violations.length > 0 && html`<ul>${violations.map((/** @type {string} */ v) => html`<li>${violationText(v)}</li>`)}</ul>`}
    <footer>
      ${problem.body?.retry_after && html`<span>Try again in ${problem.body.retry_after} s.</span>`}
      ${problem.requestId && html`<span class="faint">request ${problem.requestId}</span>`}
      ${onRetry && html`<button type="button" class="small" onClick=${onRetry}>Try again</button>`}
    </footer>
  </div>`;
}

/** Lines where something will be. @param {{lines?: number}} props */
export const Loading = ({ lines = 4 }) =>
  html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, () => html`<div class="bone"></div>`)}</div>`;

/** A page's head: what it is, what can be done. @param {{title: any, hint?: any, children?: any}} props */
export const Head = ({ title, hint, children }) => html`<header class="head">
  <div class="head-text"><h1>${title}</h1>${hint && html`<p class="hint">${hint}</p>`}</div>
  ${children && html`<div class="actions">${children}</div>`}
</header>`;

/** Size and hash of a value that is kept elsewhere. @param {any} value */
export function payloadText(value) {
  const payload = payloadOf(value);
  return payload && `${bytes(payload.bytes)}, payload ${payload.hash.slice(0, 8)}`;
}

/** Facts as names and values. @param {{of: [string, any][]}} props */
export const Facts = ({ of }) =>
  html`<dl class="facts">${of.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) =>
    html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
