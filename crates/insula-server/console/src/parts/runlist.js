// Runs as a list, with how they are now.

import { plural } from "../format.js";
import { html } from "../html.js";
import { to } from "../route.js";
import { Ago, Id, Status, Took } from "./basics.js";

export const isUnderWay = (/** @type {any} */ run) => !run.ended_at;

/** How long until a list of runs is asked for again. @param {any} page */
export const pace = (page) => (page?.items.some(isUnderWay) ? 2_000 : 6_000);

/** @param {{runs: any[], withThread?: boolean}} props */
export const RunList = ({ runs, withThread = true }) => html`<ul class="list runs" data-test="runs">
  <li class="list-head" aria-hidden="true"><span>Agent</span><span>Status</span>${withThread && html`<span>Thread</span>`}
    <span>Started</span><span class="end">Took</span><span class="end">Events</span></li>
  ${runs.map((run) => html`<li key=${run.run_id}>
    <a class="item" href=${to(["runs", run.run_id])} data-row data-test="run-item" data-run=${run.run_id} data-status=${run.status}>
    <span class="item-name"><b>${run.agent}</b><${Id} id=${run.run_id} /></span>
    <span class="item-status"><${Status} is=${run.status} />
      ${run.waits_for && html`<span class="faint small">for ${run.waits_for}</span>`}${run.parent_run_id &&
        html`<span class="chip">child</span>`}${run.rolled_back && html`<span class="chip" data-tone="warn">rolled back</span>`}</span>
    ${withThread && html`<span class="item-thread"><${Id} id=${run.thread_id} /></span>`}
    <span class="item-time"><${Ago} time=${run.started_at ?? run.created_at} /></span>
    <span class="item-took end"><${Took} from=${run.started_at} to=${run.ended_at} /></span>
    <span class="item-events end number"><span title=${plural(run.events ?? 0, "event")}>${run.events ?? "–"}</span></span>
  </a></li>`)}
</ul>`;
