// What happened, line by line.

import { brief } from "../format.js";
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { onKey } from "../keyboard.js";
import { unfold } from "../story.js";
import { Icon } from "./icon.js";
import { TimelineRow } from "./row.js";
import { Earlier, Later, useWindow } from "./window.js";

/** @typedef {import("../story.js").Row} Row */

/** @type {[string, string, (row: Row) => boolean][]} */
const SIEVES = [
  ["all", "Everything", () => true],
  ["tools", "Tools", (row) => /^(run|tool|step|model|undoing|end)$/.test(row.kind)],
  ["words", "Words", (row) => /^(run|thinking|text|custom|end)$/.test(row.kind)],
  ["waits", "Waits", (row) => /^(run|waiting|resumed|queued|end)$/.test(row.kind)],
];

/** Everything that a row says, to search in. @param {Row} row */
function said(row) {
  return [row.type, row.child?.agent, row.status, row.text, brief(row.data, 4_000), row.ended &&
    brief(row.ended, 4_000)].join(" ").toLowerCase();
}

/**
 * @param {{story: import("../story.js").Story & {revision: number}, now: number, canFork: boolean, onFork: (seq: number) => void, beyond?: any,
 *   focus: {seq: number}|null}} props `beyond`: what stands before the first row; `focus`: a row that somebody wants to see
 */
export function Timeline({ story, now, canFork, onFork, beyond, focus }) {
  const [sieve, setSieve] = useState("all");
  const [search, setSearch] = useState("");
  const [folded, setFolded] = useState(() => new Set());
  const [opened, setOpened] = useState(() => new Set());
  const flat = useMemo(() => unfold(story.rows, { folded, keep: keeper(sieve, search) }),
    [story, story.seq, story.rows.length, story.revision, sieve, search, folded]);
  const view = useWindow(flat.length);
  const foot = useFollow(flat.length + story.seq);
  useFocus(focus, flat, view, setOpened);
  const turn = (/** @type {any} */ key, /** @type {any} */ set) => set((/** @type {Set<any>} */ before) => {
    const next = new Set(before);
    if (!next.delete(key)) next.add(key);
    return next;
  });
  const draw = useRows((row, depth, { open, isFolded }) =>
    html`<${TimelineRow} key=${`${row.kind}${row.seq}`} row=${row} depth=${depth} canFork=${canFork} onFork=${onFork}
      onToggle=${(/** @type {Row} */ r) => turn(r.seq, setOpened)}
    frame=${{ start: story.start, now, open, folded: isFolded, onFold: () => turn(row.child?.id, setFolded) }} />`, story.start, now);
  return html`<section class="timeline" aria-label="Timeline" data-test="timeline">
    <div class="section-head"><h2>Timeline</h2>
      <div class="sieves" role="group" aria-label="Show">
        ${SIEVES.map(([name, label]) =>
          html`<button type="button" class="tab small" aria-pressed=${sieve === name} onClick=${() => setSieve(name)}>
            ${label}</button>`)}</div>
      <label class="search small"><${Icon} name="search" />
        <input type="search" placeholder="Search" aria-label="Search in the timeline" value=${search} data-search
          onInput=${(/** @type {any} */ e) => setSearch(e.target.value)} /></label>
      <button type="button" class="tab small" aria-pressed=${foot.on} title="Keep the end in sight (f)" onClick=${foot.turn}>Follow</button>
    </div>
    <${Earlier} view=${view} length=${flat.length} beyond=${beyond} />
    <ol class="rows">${draw(flat.slice(view.from, view.to), (row) =>
      ({ open: opened.has(row.seq), isFolded: row.child ? folded.has(row.child.id) : false }))}</ol>
    ${flat.length === 0 && html`<p class="nothing">
      ${search || sieve !== "all" ? "No row fits this filter." : "Nothing has happened yet."}</p>`}
    <${Later} view=${view} length=${flat.length} />
    <div ref=${foot.ref}></div>
  </section>`;
}

/** @typedef {{open: boolean, isFolded: boolean}} Shape */

/**
 * Draws rows, and gives a row that is as it was the element that it had: nothing of it is looked at again then.
 * @param {(row: Row, depth: number, shape: Shape) => any} make
 * @param {number} start
 * @param {number} now
 */
function useRows(make, start, now) {
  const drawn = useRef(/** @type {Map<Row, {sign: string, element: any}>} */ (new Map()));
  return (/** @type {{row: Row, depth: number}[]} */ rows, /** @type {(row: Row) => Shape} */ shapeOf) => {
    const before = drawn.current;
    drawn.current = new Map();
    return rows.map(({ row, depth }) => {
      const shape = shapeOf(row), { child } = row;
      const isOpen = (child ?? row).until === undefined;
      const sign = [start, depth, row.last, row.status, child?.status, child?.rows.length, shape.open, shape.isFolded, isOpen &&
        now].join(" ");
      const known = before.get(row);
      const kept = known?.sign === sign ? known : { sign, element: make(row, depth, shape) };
      drawn.current.set(row, kept);
      return kept.element;
    });
  };
}

/** @param {string} sieve @param {string} search */
function keeper(sieve, search) {
  const kind = /** @type {typeof SIEVES[number]} */ (SIEVES.find(([name]) => name === sieve))[2];
  const text = search.trim().toLowerCase();
  return (/** @type {Row} */ row) => kind(row) && (!text || said(row).includes(text));
}

/** Keeps the end in sight while that is wished. @param {number} changes */
function useFollow(changes) {
  const ref = useRef(/** @type {HTMLElement|null} */ (null));
  const [on, set] = useState(false);
  const turn = () => set((before) => !before);
  useEffect(() => onKey("f", turn), []);
  useEffect(() => {
    if (on) ref.current?.scrollIntoView({ block: "end" });
  }, [on, changes]);
  return { ref, on, turn };
}

/**
 * Brings a row into sight that was asked for elsewhere.
 * @param {{seq: number}|null} focus
 * @param {{row: Row}[]} flat
 * @param {ReturnType<typeof useWindow>} view
 * @param {any} setOpened
 */
function useFocus(focus, flat, view, setOpened) {
  useEffect(() => {
    if (!focus) return;
    view.around(flat.findIndex(({ row }) => row.seq === focus.seq));
    setOpened((/** @type {Set<number>} */ before) => new Set(before).add(focus.seq));
    setTimeout(() => {
      const row = document.getElementById(`e${focus.seq}`);
      row?.scrollIntoView({ block: "center" });
      row?.focus({ preventScroll: true });
    }, 30);
  }, [focus]);
}
