// All users together, for operators: counts and health, nobody's content.

import { get } from "../api.js";
import { brief, count, dateTime, duration, plural, words } from "../format.js";
import { html, useEffect, useRef } from "../html.js";
import { Ago, Facts, Head, Loading, ProblemNote, Status } from "../parts/basics.js";
import { Spark } from "../parts/chart.js";
import { usePolled } from "../poll.js";

const EVERY = 3_000, KEPT = 100;

/** @type {[string, string, string][]} */
const TILES = [
  ["queued", "Queued", "may begin now"], ["running", "Running", "somebody holds them"], ["waiting", "Waiting", "parked"],
    ["delayed", "Delayed", "not before their time"], ["blocked", "Blocked", "behind others in their thread"],
  ["users", "Users", "with runs that have not ended"], ["webhooks_due", "Webhooks due", "to be sent"],
    ["webhooks_dead", "Webhooks dead", "given up"],
];

export function OperatorView() {
  const { data, problem, refresh } = usePolled(() => get("/v1/operator/overview"), EVERY, []);
  const past = useRef(/** @type {any[]} */ ([]));
  useEffect(() => {
    if (data?.counts) past.current = [...past.current, data.counts].slice(-KEPT);
  }, [data]);
  if (!data) return problem ? html`<${ProblemNote} problem=${problem} onRetry=${refresh} />` : html`<${Loading} />`;
  const { counts = {}, nodes = [], health = [] } = data;
  return html`<${Head} title="Overview"
    hint=${html`Insula ${data.version} on ${data.node}, up since <span title=${dateTime(data.started_at)}>
      <${Ago} time=${data.started_at} /></span>`} />
    ${problem && html`<${ProblemNote} problem=${problem} onRetry=${refresh} />`}
    ${data.draining && html`<div class="note"><strong>Draining</strong>
      <p>This process takes nothing new and ends when what it holds has ended.</p></div>`}
    <div class="tiles" data-test="overview">
      ${TILES.filter(([name]) => name in counts).map(([name, label, about]) =>
        html`<div class="tile" data-count=${name} data-alarm=${name === "webhooks_dead" && counts[name] > 0}>
      <span class="tile-label">${label}</span><span class="tile-number number">${count(counts[name])}</span>
        <span class="faint small">
          ${name === "queued" && counts.oldest_queued_ms ? `the oldest for ${duration(counts.oldest_queued_ms)}` : about}</span>
      <${Spark} values=${past.current.map((c) => c[name] ?? 0)} /></div>`)}
      <div class="tile"><span class="tile-label">Live readers</span>
        <span class="tile-number number">${count(data.sockets + data.streams)}</span><span class="faint small">${readers(data)}</span></div>
    </div>
    <div class="columns">
      <section class="panel"><h2>Health</h2>
        <ul class="plain">${health.map((/** @type {any} */ c) =>
          html`<li class="health"><${Status} is=${c.health} /><b>${c.component}</b><span class="faint small">${c.detail}</span></li>`)}</ul>
            </section>
      <section class="panel"><h2>Nodes</h2>
        ${nodes.length === 0 ? html`<p class="faint">None works on the queue now.</p>`
          : html`<ul class="plain">
            ${nodes.map((/** @type {any} */ n) =>
              html`<li class="node"><b class="mono">${n.worker}</b>
                ${n.worker === data.node && html`<span class="chip" data-tone="accent">this one</span>`}
                  <span class="number push">${plural(n.runs, "run")}</span>
                    <span class="faint small">lease ends <${Ago} time=${n.lease_until} /></span></li>`)}</ul>`}</section>
      <section class="panel"><h2>This process</h2><${Facts} of=${pairs(data.metrics)} /></section>
      <section class="panel"><h2>Limits of a user</h2><${Facts} of=${pairs(data.limits)} /></section>
    </div>`;
}

/** @param {any} data */
const readers = ({ sockets, streams }) => `${plural(sockets, "socket")}, ${plural(streams, "stream")}`;

/** @param {any} value @returns {[string, any][]} */
const pairs = (value) => Object.entries(value ?? {}).map(([name, v]) =>
  [words(name.replace(/_ms$/, "")), name.endsWith("_ms") ? duration(v) : typeof v === "number" ? count(v) : brief(v, 60)]);
