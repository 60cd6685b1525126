// One run: how it is, what it did, and what can be done with it.

import { call, get, path, post } from "../api.js";
import { dateTime, duration, millis, plural } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { logOf, release } from "../logs.js";
import { Ago, Copy, Empty, Facts, Head, Id, Loading, ProblemNote, Status, Took } from "../parts/basics.js";
import { confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icon.js";
import { LogView } from "../parts/logview.js";
import { usageFacts } from "../parts/row.js";
import { attempt, say } from "../parts/toast.js";
import { Value } from "../parts/value.js";
import { usePolled } from "../poll.js";
import { go, to } from "../route.js";
import { mayWrite } from "../session.js";

const EVERY = 10_000;

/** @param {{id: string}} props */
export function RunView({ id }) {
  const { data: run, problem, refresh } =
    usePolled(() => get(path`/v1/runs/${id}`), (/** @type {any} */ r) => (r?.ended_at ? 0 : EVERY), [id]);
  const { log, fault } = useLog(run);
  const [told, setTold] = useState(/** @type {{status: string, ended: boolean, since: number, usage?: any}|null} */ (null));
  const heard = (/** @type {import("../story.js").Story} */ story) => {
    const seen = story.runs.get(id);
    if (!seen) return;
    setTold({ status: seen.status, ended: Boolean(seen.end), since: seen.at, usage: seen.end?.data.usage });
    if (seen.end && !run?.ended_at) refresh();
  };
  if (!run) return problem ? html`<${Absent} problem=${problem} id=${id} retry=${refresh} />` : html`<${Loading} lines=${8} />`;
  // The log knows first, and the row knows best.
  const status = run.ended_at || !told ? run.status : told.status;
  return html`<${Head} title=${html`<span class="crumb"><a href="#/runs">Runs</a><${Icon} name="chevron" /></span>
    ${run.agent} <${Status} is=${status} test="run-status" />`}
      hint=${html`<span class="mono" data-test="run-id">${run.run_id}</span> <${Copy} text=${run.run_id} label="Copy the id" />`}>
      <${Actions} run=${run} isOver=${Boolean(run.ended_at || told?.ended)} refresh=${refresh} />
    </${Head}>
    <${RunFacts} run=${run} usage=${told?.usage} since=${told?.since} />
    <${Outcome} run=${run} />
    ${fault && html`<${ProblemNote} problem=${fault} />`}
    ${log && html`<${LogView} log=${log} root=${id} onStory=${heard}
      empty=${html`<p class="nothing">This run has no events yet. It waits for its turn.</p>`} />`}`;
}

/** The log of the run, from when the run is known. @param {any} run */
function useLog(run) {
  const [state, set] = useState(/** @type {{log?: import("../logs.js").Log, fault?: any}} */ ({}));
  useEffect(() => {
    if (!run) return undefined;
    let gone = false;
    /** @type {import("../logs.js").Log|undefined} */
    let held;
    logOf(run).then((log) => {
      held = log;
      if (gone) release(log);
      else set({ log });
    }, (fault) => set({ fault }));
    return () => {
      gone = true;
      if (held) release(held);
    };
  }, [run?.run_id]);
  return state;
}

/** @param {{problem: any, id: string, retry: () => void}} props */
function Absent({ problem, id, retry }) {
  if (problem.status !== 404) return html`<${ProblemNote} problem=${problem} onRetry=${retry} />`;
  return html`<${Empty} icon="search" title="There is no such run">
    <p>No run of yours is called <span class="mono">${id}</span>. It may have been deleted with its thread.</p>
      <p><a class="button" href="#/runs">All runs</a></p></${Empty}>`;
}

/** @param {{run: any, usage: any, since?: number}} props */
const RunFacts = ({ run, usage, since }) => html`<${Facts} of=${[
  ["Thread", html`<${Id} id=${run.thread_id} href=${to(["threads", run.thread_id])} />`],
  ["Started by", run.parent_run_id && html`<${Id} id=${run.parent_run_id} href=${to(["runs", run.parent_run_id])} />`],
  ["Version", run.version],
  ["Started", html`<span title=${dateTime(run.started_at ?? run.created_at)}><${Ago} time=${run.started_at ?? run.created_at} /></span>`],
  ["Queued for", run.started_at && millis(run.started_at) - millis(run.created_at) > 1_000
    ? duration(millis(run.started_at) - millis(run.created_at)) : ""],
  ["Took", html`<${Took} from=${run.started_at ?? since} to=${run.ended_at} />`],
  ...(usage ? usageFacts(usage) : []),
  ["Rolled back", run.rolled_back ? "yes: it does not count" : ""],
]} />`;

/** What came of it, when something has. @param {{run: any}} props */
function Outcome({ run }) {
  if (run.status === "failed")
    return html`<div class="note bad" data-test="outcome"><strong>Failed: ${run.failure?.reason?.replaceAll("_", " ")}</strong>
      <p>${run.failure?.message}</p></div>`;
  if (run.status === "cancelled")
    return html`<div class="note" data-test="outcome"><strong>Cancelled</strong><p>${run.cancel?.why} (${run.cancel?.by})</p></div>`;
  if (run.cancel && !run.ended_at)
    return html`<div class="note" data-test="stopping"><strong>Being stopped</strong><p>${run.cancel.why} (${run.cancel.by})</p></div>`;
  if (run.status !== "completed") return null;
  return html`<section class="outcome" data-test="outcome"><h2>Result</h2><${Value} value=${run.result ?? null} /></section>`;
}

/** @param {{run: any, isOver: boolean, refresh: () => void}} props */
function Actions({ run, isOver, refresh }) {
  const cancel = async () => {
    const reason = await confirm({
      title: `Cancel ${run.agent}?`,
      text: "Its model calls, tools and children are stopped as well.",
      reason: "Why (optional)",
      action: "Cancel the run",
      danger: true,
    });
    if (reason === null) return;
    const done = await attempt(() => post(path`/v1/runs/${run.run_id}/cancel`, reason ? { reason } : {}));
    if (done) say(done.cancel?.ended ? `It had ended already: ${done.cancel.ended}` : "The run is being stopped");
    refresh();
  };
  const retry = async () => {
    const again = await attempt(() => post(path`/v1/runs/${run.run_id}/retry`), "Started again");
    if (again) go(["runs", again.run_id]);
  };
  const isMine = mayWrite();
  return html`${isMine && !isOver &&
    html`<button type="button" class="danger" data-test="cancel" onClick=${cancel}><${Icon} name="stop" />Cancel</button>`}
    ${isMine && isOver && html`<button type="button" data-test="retry" onClick=${retry}><${Icon} name="retry" />Run again</button>`}
    ${isMine && isOver && html`<button type="button" data-test="verify"
      title="Executes the run again against its record, without doing anything outside" onClick=${() => attempt(() => verify(run))}>
        <${Icon} name="check" />Verify</button>`}
    <button type="button" data-test="export" onClick=${() => attempt(() => download(run))}><${Icon} name="down" />Export</button>`;
}

/** @param {any} run */
async function verify(run) {
  const { calls, said, difference } = await post(path`/v1/runs/${run.run_id}/replay`);
  if (!difference) return say(`The record holds: ${plural(calls, "call")} and ${plural(said, "event")} come out the same`);
  await confirm({
    title: "The code does something else now",
    text: html`<p>Executed again against its record, this run goes another way at ${difference.place}.</p>
      <${Value} label="Recorded" value=${difference.recorded} /><${Value} label="Now" value=${difference.replayed} />`,
    action: "Good to know",
  });
}

/** @param {any} run */
async function download(run) {
  const blob = await (await call(path`/v1/runs/${run.run_id}/export`)).blob();
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${run.run_id}.jsonl` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
