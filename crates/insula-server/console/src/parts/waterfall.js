// How long everything took, as bars under a time axis.

import { brief, clock, count, duration, offset, words } from "../format.js";
import { classes, html, useMemo, useRef, useState } from "../html.js";
import { scaleOf } from "../scale.js";
import { unfold } from "../story.js";
import { iconOf } from "./row.js";
import { Icon } from "./icon.js";
import { Earlier, Later, useWindow } from "./window.js";

/** @typedef {import("../story.js").Row} Row */
/** @typedef {import("../story.js").Story} Story */

/** @param {Row} row */
const hasLength = (row) => /^(run|tool|model)$/.test(row.kind) || (row.kind === "waiting" && row.data.waiting_for !== "child") ||
  (row.kind === "step" && (row.until === undefined || row.until > row.at));
const startOf = (/** @type {Row} */ row) => row.child?.at ?? row.at;
const endOf = (/** @type {Row} */ row, /** @type {number} */ now) => row.child ? row.child.until ?? now : row.until ?? now;

/** @param {Row} row */
function nameOf(row) {
  if (row.child) return row.child.agent;
  if (row.kind === "waiting") return row.data.question ? "question" : row.data.attempt ? `before attempt ${row.data.attempt}`
    : row.data.waiting_for;
  return row.data.tool ?? row.data.model ?? row.data.name ?? row.kind;
}

/** @param {{story: Story & {revision: number}, now: number, onPick: (row: Row) => void}} props */
export function Waterfall({ story, now, onPick }) {
  const [squeeze, setSqueeze] = useState(true);
  const [picked, pick] = useState(/** @type {Row|null} */ (null));
  const flat = useMemo(() => unfold(story.rows, { keep: hasLength }), [story, story.seq, story.revision]);
  const view = useWindow(flat.length);
  const isQuiet = story.quiet.length > 0 || (story.openWaits > 0 && story.openTools === 0 && now - story.at > 1_000);
  const scale = useMemo(() => scaleOf({ start: story.start, end: now, quiet: squeeze ? quietOf(story, now) : [] }),
    [story, story.seq, now, squeeze]);
  if (flat.length === 0) return null;
  return html`<section class="waterfall" aria-label="Waterfall" data-test="waterfall">
    <div class="section-head"><h2>Waterfall</h2><span class="faint number">${duration(now - story.start)}</span>
      ${isQuiet && html`<button type="button" class="tab small push" aria-pressed=${squeeze}
        title="Stretches in which everybody only waits take little room" onClick=${() => setSqueeze(!squeeze)}>Squeeze waits</button>`}
    </div>
    <div class="fall-frame">
      <${Axis} scale=${scale} />
      <div class="fall-body">
        <${Lines} scale=${scale} />
        <${Earlier} view=${view} length=${flat.length} />
        <${Bars} flat=${flat.slice(view.from, view.to)} scale=${scale} story=${story} now=${now} picked=${picked} pick=${pick}
          onPick=${onPick} />
        <${Later} view=${view} length=${flat.length} />
      </div>
    </div>
    <${Detail} row=${picked} story=${story} now=${now} total=${flat.length} />
  </section>`;
}

/** @param {Story} story @param {number} now @returns {[number, number][]} */
function quietOf(story, now) {
  return story.openWaits > 0 && story.openTools === 0 && now - story.at > 1_000 ? [...story.quiet, [story.at, now]] : story.quiet;
}

/** @param {{scale: ReturnType<typeof scaleOf>}} props */
function Axis({ scale }) {
  return html`<div class="fall-axis" aria-hidden="true"><div class="fall-track">
    ${scale.ticks(6).map(({ x, at }) => html`<span class="fall-tick" style=${{ left: `${x}%` }}>${at === 0 ? "0" : duration(at)}</span>`)}
  </div></div>`;
}

/**
 * What is behind the bars: the lines of the ticks, and where time was squeezed.
 * @param {{scale: ReturnType<typeof scaleOf>}} props
 */
const Lines = ({ scale }) => html`<div class="fall-lines" aria-hidden="true">
  ${scale.segments.filter((s) => s.quiet && s.width > 0.5).map((s) =>
    html`<span class="fall-quiet" style=${{ left: `${s.x}%`, width: `${s.width}%` }}></span>`)}
  ${scale.ticks(6).map(({ x }) => html`<span class="fall-line" style=${{ left: `${x}%` }}></span>`)}
</div>`;

/**
 * @param {{flat: {row: Row, depth: number}[], scale: ReturnType<typeof scaleOf>, story: Story, now: number, picked: Row|null,
 *   pick: any, onPick: any}} props
 */
function Bars({ flat, scale, story, now, picked, pick, onPick }) {
  const ref = useRef(/** @type {HTMLElement|null} */ (null));
  const reachable = picked && flat.some(({ row }) => row === picked) ? picked : flat[0]?.row;
  const move = (/** @type {KeyboardEvent} */ event) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    const all = /** @type {HTMLElement[]} */ ([...(ref.current?.querySelectorAll("button") ?? [])]);
    all[all.indexOf(/** @type {any} */ (document.activeElement)) + by]?.focus();
  };
  return html`<ol class="fall" ref=${ref} onKeyDown=${move} onMouseLeave=${() => pick(null)}>
    ${flat.map(({ row, depth }) =>
      html`<${Bar} key=${`${row.kind}${row.seq}`} row=${row} depth=${depth} scale=${scale} story=${story} now=${now}
    isReachable=${row === reachable} onShow=${() => pick(row)} onPick=${() => onPick(row)} />`)}</ol>`;
}

/**
 * @param {{row: Row, depth: number, scale: ReturnType<typeof scaleOf>, story: Story, now: number, isReachable: boolean,
 *   onShow: () => void, onPick: () => void}} props
 */
function Bar({ row, depth, scale, story, now, isReachable, onShow, onPick }) {
  const from = scale.x(startOf(row)), to = scale.x(endOf(row, now));
  const length = endOf(row, now) - startOf(row);
  const isLive = (row.child ?? row).until === undefined;
  const status = row.child?.status ?? row.status;
  const label = `${nameOf(row)}, ${row.kind}, ${status ?? ""}, from ${offset(startOf(row) - story.start)} for ${duration(length)}`;
  return html`<li><button type="button" class="fall-row" tabIndex=${isReachable ? 0 : -1} aria-label=${label} data-test="bar"
    data-kind=${row.kind} data-seq=${row.seq} data-status=${status}
      onMouseEnter=${onShow} onFocus=${onShow} onClick=${onPick}>
    <span class="fall-name" style=${{ "--depth": String(Math.min(depth, 6)) }}><${Icon} name=${iconOf(row)} />
      <span>${nameOf(row)}</span></span>
    <span class="fall-track">
      <span class=${classes("fall-bar", isLive && "live")} style=${{ left: `${from}%`, width: `max(3px, ${to - from}%)` }}></span>
      <span class="fall-length number" style=${{ left: `${to}%` }}>
        ${duration(row.child ? length : row.ended?.duration_ms ?? length)}</span></span>
  </button></li>`;
}

/** @param {{row: Row|null, story: Story, now: number, total: number}} props */
function Detail({ row, story, now, total }) {
  if (!row) return html`<p class="fall-detail faint" data-test="bar-detail">
    ${count(total)} ${total === 1 ? "bar" : "bars"}. Point at one, or walk them with the arrow keys; Enter shows it in the timeline.</p>`;
  const start = startOf(row), end = endOf(row, now);
  const about = row.ended?.error ?? row.data.question?.text ?? row.data.arguments ?? row.data.input ?? row.ended?.result;
  return html`<p class="fall-detail" data-test="bar-detail">
    <b>${nameOf(row)}</b> <span class="faint">${row.kind}</span> ${words(row.child?.status ?? row.status ?? "")}
    <span class="number">${duration(row.child ? end - start : row.ended?.duration_ms ?? end - start)}</span> <span class="faint number">
      ${clock(start)}, ${offset(start - story.start)} → ${offset(end - story.start)}</span>
    ${about !== undefined && about !== null && html`<span class="fall-about">${brief(about, 160)}</span>`}</p>`;
}
