// How much was used: runs, tokens, money and time, per day and per agent.

import { get, query as search } from "../api.js";
import { now } from "../clock.js";
import { compact, count, duration, money } from "../format.js";
import { html, useMemo, useSignal } from "../html.js";
import { Empty, Head, Loading, ProblemNote } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { Tabs } from "../parts/listing.js";
import { usePolled } from "../poll.js";
import { place, refine } from "../route.js";

/** @type {[string, string][]} */
const SPANS = [["7", "7 days"], ["30", "30 days"], ["90", "90 days"]];
const DAY = 86_400_000;
const dateOf = (/** @type {number} */ at) => new Date(at).toISOString().slice(0, 10);

const FRESH = () => ({ completed: 0, failed: 0, cancelled: 0, tokens: 0, money: 0, run_ms: 0, p50: /** @type {number|null} */ (null),
  p95: /** @type {number|null} */ (null) });
/** @typedef {ReturnType<typeof FRESH>} Sum */

/** @param {Sum} sum @param {any} row */
function add(sum, row) {
  for (const name of /** @type {const} */ (["completed", "failed", "cancelled", "tokens", "money", "run_ms"])) sum[name] += row[name] ?? 0;
  // Percentiles of several agents cannot be added; the slowest one says how bad it was.
  if (row.p50_ms !== null && row.p50_ms !== undefined) sum.p50 = Math.max(sum.p50 ?? 0, row.p50_ms);
  if (row.p95_ms !== null && row.p95_ms !== undefined) sum.p95 = Math.max(sum.p95 ?? 0, row.p95_ms);
}

/** Every day from the first to the last, also those on which nothing ran. @param {any} usage @param {string} agent */
function daysOf(usage, agent) {
  const days = new Map();
  for (let at = Date.parse(usage.from); at <= Date.parse(usage.to); at += DAY) days.set(dateOf(at), { date: dateOf(at), ...FRESH() });
  for (const row of usage.items) if ((!agent || row.agent === agent) && days.has(row.date)) add(days.get(row.date), row);
  return [...days.values()];
}

/** @param {any} usage @returns {(Sum & {agent: string})[]} */
function agentsOf(usage) {
  const agents = new Map();
  for (const row of usage.items) {
    if (!agents.has(row.agent)) agents.set(row.agent, { agent: row.agent, ...FRESH() });
    add(agents.get(row.agent), row);
  }
  return [...agents.values()].sort((a, b) => runsOf(b) - runsOf(a));
}

const runsOf = (/** @type {Sum} */ sum) => sum.completed + sum.failed + sum.cancelled;

export function UsageView() {
  const { query } = useSignal(place);
  const span = query.get("days") ?? "30", agent = query.get("agent") ?? "";
  const { data, problem, refresh } =
    usePolled(() => get("/v1/usage" + search({ from: dateOf(now() - (Number(span) - 1) * DAY), to: dateOf(now()) })), 60_000, [span]);
  const agents = useMemo(() => (data ? agentsOf(data) : []), [data]);
  return html`<${Head} title="Usage" hint="Runs that have ended, by the day on which they did, in UTC." />
    <div class="filters"><${Tabs} label="Span" at=${span} choices=${SPANS} set=${(/** @type {string} */ days) => refine({ days })} />
      <select aria-label="Agent" value=${agent} data-test="usage-agent" onChange=${(/** @type {any} */ e) =>
        refine({ agent: e.target.value })}><option value="">Every agent</option>
          ${agents.map((a) => html`<option value=${a.agent}>${a.agent}</option>`)}</select></div>
    ${!data ? (problem ? html`<${ProblemNote} problem=${problem} onRetry=${refresh} />` : html`<${Loading} />`)
      : data.items.length === 0
        ? html`<${Empty} icon="usage" title="Nothing was used in this time">
          <p>When a run has ended, its tokens, money and time are here.</p></${Empty}>`
      : html`<${Charts} days=${daysOf(data, agent)} isOne=${Boolean(agent)} /><${Table} agents=${agents} />`}`;
}

/** @param {{days: any[], isOne: boolean}} props */
const Charts = ({ days, isOne }) => html`<div class="charts">
  <${Chart} title="Runs" kind="bars" days=${days} format=${compact}
    series=${[{ name: "completed", tone: "good", of: (/** @type {any} */ d) => d.completed },
      { name: "failed", tone: "bad", of: (/** @type {any} */ d) => d.failed },
        { name: "cancelled", tone: "calm", of: (/** @type {any} */ d) => d.cancelled }]} />
  <${Chart} title="How long a run takes" kind="lines" days=${days} format=${duration} note=${isOne ? "Upper bounds, to a factor of two."
    : "Of the slowest agent of the day. Upper bounds, to a factor of two."}
    series=${[{ name: "half of them", tone: "accent", of: (/** @type {any} */ d) => d.p50 },
      { name: "95 of 100", tone: "warn", of: (/** @type {any} */ d) => d.p95 }]} />
  <${Chart} title="Tokens" kind="bars" days=${days} format=${compact}
    series=${[{ name: "tokens", tone: "accent", of: (/** @type {any} */ d) => d.tokens }]} />
  <${Chart} title="Money" kind="bars" days=${days} format=${money}
    series=${[{ name: "spent", tone: "accent", of: (/** @type {any} */ d) => d.money }]} />
</div>`;

/** @param {{agents: (Sum & {agent: string})[]}} props */
const Table = ({ agents }) =>
  html`<section class="block"><h2>By agent</h2>
    <div class="scroll" tabIndex="0" role="region" aria-label="Usage by agent"><table class="table" data-test="usage-table">
  <thead><tr><th>Agent</th><th class="end">Runs</th><th class="end">Completed</th><th class="end">Failed</th><th class="end">Cancelled</th>
    <th class="end">Tokens</th><th class="end">Money</th><th class="end">Time</th></tr></thead>
  <tbody>${agents.map((a) =>
    html`<tr><th scope="row">${a.agent}</th>
      ${[runsOf(a), a.completed, a.failed, a.cancelled, a.tokens].map((n) => html`<td class="end number">${count(n)}</td>`)}
        <td class="end number">${money(a.money)}</td><td class="end number">${duration(a.run_ms)}</td></tr>`)}</tbody>
</table></div></section>`;
