// What every list has around it: waiting, faults, emptiness, and what comes next.

import { count } from "../format.js";
import { html } from "../html.js";
import { MOST_ITEMS } from "../poll.js";
import { Loading, ProblemNote } from "./basics.js";
import { Icon } from "./icon.js";

/** @param {{list: any, empty: any, children?: any}} props `list` is what `usePages` or `usePolled` (with `items`) gives */
export function Listing({ list, empty, children }) {
  if (!list.items) return list.problem ? html`<${ProblemNote} problem=${list.problem} onRetry=${list.refresh} />` : html`<${Loading} />`;
  return html`${list.problem && html`<${ProblemNote} problem=${list.problem} onRetry=${list.refresh} />`}
    ${list.items.length === 0 ? empty : children}
    ${list.next && html`<div class="further">${list.items.length >= MOST_ITEMS
      ? html`<span class="faint">${count(list.items.length)} are shown. Narrow the filter to see others.</span>`
      : html`<button type="button" disabled=${list.loadingMore} data-test="more" onClick=${list.more}>
        ${list.loadingMore ? "Loading…" : "More"}</button>`}</div>`}`;
}

/** A field that narrows a list. @param {{value: string, set: (text: string) => void, label: string}} props */
export const Search = ({ value, set, label }) =>
  html`<label class="search"><${Icon} name="search" />
    <input type="search" placeholder=${label} aria-label=${label} value=${value} data-search data-test="search"
      onInput=${(/** @type {any} */ e) => set(e.target.value)} /><kbd aria-hidden="true">/</kbd></label>`;

/**
 * Choices beside one another, of which one is on.
 * @param {{label: string, at: string, choices: [string, string][], set: (choice: string) => void, test?: string}} props
 */
export const Tabs = ({ label, at, choices, set, test }) =>
  html`<div class="tabs" role="group" aria-label=${label} data-test=${test}>
    ${choices.map(([name, words]) =>
      html`<button type="button" class="tab" aria-pressed=${at === name} data-choice=${name} onClick=${() => set(name)}>
        ${words}</button>`)}</div>`;
