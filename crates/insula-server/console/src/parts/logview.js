// A log that somebody looks at: its open questions, the waterfall, the timeline, and the replay of all of it.

import { path, post } from "../api.js";
import { now as serverNow } from "../clock.js";
import { count } from "../format.js";
import { html, useEffect, useRef, useSignal, useState } from "../html.js";
import { AnswerForm } from "../forms/answer.js";
import { inboxChanged } from "../inbox.js";
import { KEPT, STEP_BACK } from "../logs.js";
import { go } from "../route.js";
import { mayWrite } from "../session.js";
import { tell } from "../story.js";
import { Loading, ProblemNote } from "./basics.js";
import { Icon } from "./icon.js";
import { ReplayBar, useReplay } from "./replay.js";
import { Timeline } from "./timeline.js";
import { attempt } from "./toast.js";
import { Waterfall } from "./waterfall.js";

const FRAME = 250;

/**
 * @param {{log: import("../logs.js").Log, root?: string, onStory?: (story: any) => void,
 *   empty?: any}} props `onStory` hears of the end of the log, never of a replay
 */
export function LogView({ log, root, onStory, empty }) {
  const revision = useSignal(log.revision);
  const state = useSignal(log.state);
  const problem = useSignal(log.problem);
  const [focus, setFocus] = useState(/** @type {{seq: number}|null} */ (null));
  const replay = useReplay(log);
  const story = useStory(log, root, replay.seq, revision);
  const isLive = replay.seq === null && state === "live" && [...story.runs.values()].some((run) => !run.end);
  const now = useNow(isLive, story);
  useEffect(() => {
    if (replay.seq !== null) return;
    onStory?.(story);
    inboxChanged();
  }, [story.seq, replay.seq === null]);
  if (problem) return html`<${ProblemNote} problem=${problem} />`;
  if (state === "loading" && log.events.length === 0) return html`<${Loading} lines=${6} />`;
  if (log.events.length === 0 && log.gaps.length === 0 && empty) return empty;
  return html`<div class="logview" data-test="log" data-state=${state} data-seq=${log.last}>
    <${Questions} story=${story} isPast=${replay.seq !== null} />
    ${story.events > 0 && html`<${Waterfall} story=${story} now=${now} onPick=${(/** @type {any} */ row) => setFocus({ seq: row.seq })} />`}
    <${Timeline} story=${story} now=${now} canFork=${mayWrite()} onFork=${(/** @type {number} */ seq) => fork(log.thread, seq)}
      focus=${focus} beyond=${html`<${Beyond} log=${log} root=${root} />`} />
    ${log.events.length > 0 &&
      html`<${ReplayBar} log=${log} replay=${replay} canFork=${mayWrite()} onFork=${(/** @type {number} */ seq) =>
        fork(log.thread, seq)} />`}
  </div>`;
}

/**
 * @param {import("../logs.js").Log} log
 * @param {string|undefined} root
 * @param {number|null} seq
 * @param {number} revision
 */
function useStory(log, root, seq, revision) {
  const told = useRef(/** @type {any} */ (undefined));
  told.current = tell(log, { root, until: seq ?? Infinity, before: told.current });
  told.current.revision = revision;
  return told.current;
}

/**
 * The time up to which open bars reach: it moves on while something is under way.
 * @param {boolean} isLive
 * @param {import("../story.js").Story} story
 */
function useNow(isLive, story) {
  const [, again] = useState(0);
  useEffect(() => {
    if (!isLive) return undefined;
    const timer = setInterval(() => !document.hidden && again((n) => n + 1), FRAME);
    return () => clearInterval(timer);
  }, [isLive]);
  return isLive ? Math.max(serverNow(), story.at) : story.at;
}

/** @param {{story: import("../story.js").Story, isPast: boolean}} props */
function Questions({ story, isPast }) {
  const waits = [...story.runs.values()].flatMap((run) => run.waits.filter((row) => row.data.question).map((row) => ({ run, row })));
  if (waits.length === 0) return null;
  return html`<section class="questions" aria-label="Open questions">
    ${waits.map(({ run, row }) => html`<article class="question" key=${row.seq}>
    <header><${Icon} name="human" />
      <b>${run.agent}</b> <span class="faint">${row.data.waiting_for === "reconcile" ? "needs to know" : "asks"}</span></header>
    ${isPast ? html`<p class="question-text">${row.data.question.text}</p><p class="faint small">Asked at this moment of the replay.</p>`
      : html`<${AnswerForm} open=${{ run_id: run.id, index: row.data.index, question: row.data.question, waiting_for: row.data.waiting_for,
        expires_at: row.data.until }} />`}
  </article>`)}</section>`;
}

/** What stands before the first row that is here. @param {{log: import("../logs.js").Log, root?: string}} props */
function Beyond({ log, root }) {
  const [busy, set] = useState(false);
  if (log.start === 0 || (root && log.events[0]?.run_id === root && log.events[0]?.type === "agent_started")) return null;
  const more = async () => {
    set(true);
    await attempt(() => log.reachBack(log.start - STEP_BACK));
    set(false);
  };
  if (root && log.events.length < KEPT) return null;
  return html`<div class="further"><span class="faint">${count(log.start)} events before</span>
    ${log.mayReachBack ? html`<button type="button" class="small" disabled=${busy} data-test="load-earlier" onClick=${more}>
      ${busy ? "Loading…" : "Load earlier"}</button>`
        : html`<span class="faint">This page keeps ${count(KEPT)} at a time; the export has all of them.</span>`}</div>`;
}

/** @param {string} thread @param {number} seq */
async function fork(thread, seq) {
  const made = await attempt(() => post(path`/v1/threads/${thread}/fork`, { seq }), `Forked after event ${seq}`);
  if (made) go(["threads", made.thread_id]);
}
