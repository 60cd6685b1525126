// One thing that happened, as a line of the timeline.

import { brief, count, duration, moment, money, offset, plural, words } from "../format.js";
import { html } from "../html.js";
import { to } from "../route.js";
import { Facts, Status } from "./basics.js";
import { Icon } from "./icon.js";
import { Value } from "./value.js";

/** @typedef {import("../story.js").Row} Row */
/** @typedef {{start: number, now: number, open: boolean, folded: boolean, onFold: () => void}} Frame */

/** @param {number|undefined} ms */
const took = (ms) => (ms === undefined ? null : html`<span class="row-took number">${duration(ms)}</span>`);
const lasted = (/** @type {Row} */ row, /** @type {Frame} */ frame) => row.ended?.duration_ms ?? (row.until ?? frame.now) - row.at;
const chip = (/** @type {any} */ text, tone = "") => html`<span class="chip" data-tone=${tone}>${text}</span>`;
const isEmpty = (/** @type {any} */ value) => value === null || value === undefined ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** Why a run goes on, by the event's word. @type {Record<string, string>} */
const GOES_ON = {
  "worker lost": "The process that worked on it was lost. Another goes on with it",
  answered: "Goes on with the answer", expired: "Goes on: nobody answered in time", timer: "Goes on: the time has come",
    child: "Goes on: the child has ended",
  reconciled: "Goes on: it is known what became of the call", given_up: "Goes on without it",
};

/**
 * What a kind of row says in its line, and what unfolds.
 * @type {Record<string, {line: (row: Row, frame: Frame) => any, more?: (row: Row, frame: Frame) => any}>}
 */
const KINDS = {
  run: {
    line(row, frame) {
      const run = /** @type {import("../story.js").Run} */ (row.child);
      return html`<b class="row-name">${run.agent}</b>
        ${run.started?.version && html`<span class="faint">version ${run.started.version}</span>`}
        <${Status} is=${run.status} />${run.parent && html`<a class="faint small" href=${to(["runs", run.id])}>own page</a>`}
        ${run.rows.length > 0 && html`<button type="button" class="quiet small" aria-expanded=${!frame.folded} data-test="fold-run"
          onClick=${frame.onFold}>${frame.folded ? `Show ${plural(run.rows.length, "row")}` : "Fold"}</button>`}
        ${took((run.until ?? frame.now) - run.at)}`;
    },
    more: (row) => (isEmpty(row.data.input) && row.data.input === undefined ? null
      : html`<${Value} label="Input" value=${row.data.input} />`),
  },
  thinking: { line: (row) => html`<span class="row-words">${row.data.text}</span>` },
  tool: { line: toolLine, more: toolMore },
  step: {
    line: (row, frame) => html`<span class="row-name">${row.data.name}</span><span class="faint">${words(row.data.kind ?? "step")}</span>
      ${badly(row.status)}
      <span class="row-brief">${row.ended && brief(row.ended.result)}</span>${row.until !== row.at && took(lasted(row, frame))}`,
    more: (row) => row.ended && "result" in row.ended && html`<${Value} label="Result" value=${row.ended.result} />`,
  },
  text: { line: (row) => html`<span class="row-prose">${row.text}</span>` },
  model: {
    line: (row) => html`<span class="row-name">${row.data.model ?? row.data.name ?? "model"}</span>
      <span class="faint">${tokens(row.data)}</span>${took(row.data.duration_ms)}`,
    more: (row) => html`<${Value} value=${row.data} />`,
  },
  waiting: { line: waitingLine, more: (row) => row.data.question?.schema &&
    html`<${Value} label="Schema of the answer" value=${row.data.question.schema} />` },
  resumed: { line: (row) => html`<span class="faint">${GOES_ON[row.data.why] ?? `Goes on: ${words(row.data.why ?? "")}`}</span>` },
  queued: { line: (row) => html`<span class="faint">In the queue, number ${row.data.position}</span>` },
  custom: { line: (row) => html`<span class="row-name">${row.data.name}</span><span class="row-brief">${brief(row.data.data)}</span>`,
    more: (row) => html`<${Value} value=${row.data.data} />` },
  warning: { line: (row) =>
    html`<span>${count(row.data.spent)} of ${count(row.data.limit)} ${words(row.data.unit
      ?? "")} of the ${row.data.holder} are spent</span>` },
  undoing: { line: (row) => html`<span>Undoing ${plural(row.data.calls ?? 0, "call")}</span>` },
  end: { line: endLine, more: endMore },
  gap: { line: gapLine },
  other: { line: (row) => html`<span class="row-name">${words(row.type)}</span><span class="row-brief">${brief(row.data)}</span>`,
    more: (row) => html`<${Value} value=${row.data} />` },
};

/** @param {string|undefined} status */
const badly = (status) => (status && status !== "ok" && status !== "running" ? chip(words(status), "bad") : null);

/** @param {any} data */
function tokens(data) {
  const usage = data.usage ?? data;
  const inward = usage.input_tokens ?? usage.prompt_tokens, outward = usage.output_tokens ?? usage.completion_tokens;
  if (inward === undefined && outward === undefined) return usage.tokens === undefined ? "" : `${count(usage.tokens)} tokens`;
  return `${count(inward ?? 0)} tokens in, ${count(outward ?? 0)} out`;
}

/** @param {Row} row @param {Frame} frame */
function toolLine(row, frame) {
  const { tool, arguments: args, effect, undo } = row.data;
  const said = row.ended?.error ?? row.ended?.result;
  return html`<span class="row-name mono">${tool}</span>
    ${undo && chip("undo", "warn")}${effect && effect !== "pure" && chip(effect)}${row.ended?.attempts > 1 &&
      chip(`${row.ended.attempts} attempts`, "warn")}
    ${row.status === "running" ? html`<i class="spin" aria-label="running"></i>` : badly(row.status)}
    <span class="row-brief">${isEmpty(args) ? "" : brief(args, 90)}${said !== undefined &&
      html`<span class="arrow"> → </span>${brief(said, 90)}`}</span>
    ${took(lasted(row, frame))}`;
}

/** @param {Row} row */
function toolMore(row) {
  const { ended } = row;
  return html`<${Value} label="Arguments" value=${row.data.arguments ?? null} />
    ${ended?.error && html`<${Value} label="Error" value=${ended.error} />`}
    ${ended && "result" in ended && html`<${Value} label="Result" value=${ended.result} />`}
    <${Facts} of=${[["Call", row.data.call_id], ["Effect", row.data.effect], ["Spent", ended?.spent && brief(ended.spent)]]} />`;
}

/** @param {Row} row @param {Frame} frame */
function waitingLine(row, frame) {
  const { waiting_for: what, question, until, agent, attempt, error } = row.data;
  const isOpen = row.status === "waiting";
  const end = until && isOpen ? html`<span class="faint">until ${moment(until)}</span>` : null;
  const words = attempt ? html`<span>Attempt ${attempt} after a failure: <span class="row-brief">${error}</span></span>`
    : question ? html`<span class="row-question">${question.text}</span>`
    : what === "child" ? html`<span class="faint">Waits for ${agent}</span>`
    : what === "timer" ? html`<span>Sleeps</span>` : html`<span>Waits for ${what}</span>`;
  return html`${words}${end}${row.status === "expired" && chip("nobody answered", "warn")}${isOpen &&
    html`<${Status} is="waiting" />`}${took(lasted(row, frame))}`;
}

/** @param {Row} row */
function endLine(row) {
  const { reason, message, by, why } = row.data;
  const what = row.status === "failed" ? html`<span class="row-bad">${words(reason ?? "")}: ${message}</span>`
    : row.status === "cancelled" ? html`<span class="row-brief">${why ?? reason} (${by})</span>`
    : html`<span class="row-brief">${brief(row.data.result)}</span>`;
  return html`<${Status} is=${row.status} />${what}`;
}

/** @param {Row} row */
function endMore(row) {
  const usage = row.data.usage;
  return html`${"result" in row.data && html`<${Value} label="Result" value=${row.data.result} />`}${usage &&
    html`<${Facts} of=${usageFacts(usage)} />`}`;
}

/** @param {any} usage @returns {[string, any][]} */
export const usageFacts = (usage) => [
  ["Tool calls", count(usage.tool_calls)], ["Steps", count(usage.steps)],
  ["Tokens", usage.tokens ? count(usage.tokens) : ""], ["Money", usage.money ? money(usage.money) : ""],
];

/** @param {Row} row */
function gapLine(row) {
  const { after, next, reason } = row.data;
  if (reason === "behind") return html`<span
    class="faint">This page had fallen behind after event ${after}. It caught up from the log; nothing is missing.</span>`;
  return html`<span>Events ${count(after + 1)} to ${count(next - 1)} are not kept any more</span>`;
}

/** @param {Row} row */
export const iconOf = (row) =>
  (row.kind === "end" ? row.status : row.kind === "waiting" && /human|reconcile/.test(row.data.waiting_for) ? "human" : row.kind)
    ?? "other";

/**
 * @param {{row: Row, depth: number, frame: Frame, canFork: boolean, onToggle: (row: Row) => void, onFork: (seq: number) => void}} props
 */
export function TimelineRow({ row, depth, frame, canFork, onToggle, onFork }) {
  const kind = KINDS[row.kind] ?? KINDS.other;
  const more = kind.more && (frame.open || row.kind !== "other") ? kind.more(row, frame) : null;
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || event.target !== event.currentTarget || !more) return;
    event.preventDefault();
    onToggle(row);
  };
  return html`<li class="row" id=${`e${row.seq}`} data-row tabIndex="-1" data-test="row" data-kind=${row.kind} data-type=${row.type}
    data-seq=${row.seq} data-last=${row.last} data-status=${row.status ?? row.child?.status} data-for=${row.data.waiting_for}
      style=${{ "--depth": String(Math.min(depth, 8)) }} onKeyDown=${keys}>
    <span class="row-time number" title=${new Date(row.at).toISOString()}>${offset(row.at - frame.start)}</span>
    <span class="row-mark" aria-hidden="true"><${Icon} name=${iconOf(row)} /></span>
    <div class="row-body">
      <div class="row-line">
        ${kind.line(row, frame)}
        <span class="row-tools">
          ${canFork && row.kind !== "gap" &&
            html`<button type="button" class="quiet square small" aria-label=${`Fork after event ${row.last}`} title="Fork here"
              data-test="fork-here" onClick=${() => onFork(row.last)}><${Icon} name="fork" /></button>`}
          ${more ? html`<button type="button" class="quiet square small unfold" aria-expanded=${frame.open} aria-label="Details"
            onClick=${() => onToggle(row)}><${Icon} name="chevron" /></button>` : html`<span class="unfold-space"></span>`}
        </span>
      </div>
      ${frame.open && more && html`<div class="row-more">${more}</div>`}
    </div>
  </li>`;
}
