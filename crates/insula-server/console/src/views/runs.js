// The runs of this user.

import { call, get } from "../api.js";
import { html, useSignal, useState } from "../html.js";
import { Empty, Head } from "../parts/basics.js";
import { Icon } from "../parts/icon.js";
import { Listing, Search, Tabs } from "../parts/listing.js";
import { RunList, pace } from "../parts/runlist.js";
import { attempt } from "../parts/toast.js";
import { usePages, usePolled } from "../poll.js";
import { go, place, refine } from "../route.js";
import { mayWrite } from "../session.js";

/** @type {[string, string][]} */
const STATUSES = [["", "All"], ["running", "Running"], ["waiting", "Waiting"], ["queued", "Queued"], ["completed", "Completed"],
  ["failed", "Failed"], ["cancelled", "Cancelled"]];

export function RunsView() {
  const { query } = useSignal(place);
  const [search, setSearch] = useState("");
  const filters = { status: query.get("status") ?? "", agent: query.get("agent") ?? "", thread_id: query.get("thread") ?? "" };
  const list = usePages("/v1/runs", filters, { id: (run) => run.run_id, every: pace });
  const agents = usePolled(() => get("/v1/agents"), 0, []).data?.items ?? [];
  const text = search.trim().toLowerCase();
  const shown = list.items?.filter((run) => !text || `${run.run_id} ${run.thread_id} ${run.agent}`.toLowerCase().includes(text));
  const isFiltered = Boolean(text || filters.status || filters.agent || filters.thread_id);
  return html`<${Head} title="Runs" hint="Everything that your agents do, newest first.">
      ${mayWrite() && html`<${Import} />`}
    </${Head}>
    <div class="filters">
      <${Tabs} label="Status" at=${filters.status} choices=${STATUSES} set=${(/** @type {string} */ status) => refine({ status })}
        test="filter-status" />
      <select aria-label="Agent" value=${filters.agent} data-test="filter-agent" onChange=${(/** @type {any} */ e) =>
        refine({ agent: e.target.value })}>
        <option value="">Every agent</option>${agents.map((/** @type {any} */ a) => html`<option value=${a.name}>${a.name}</option>`)}
        ${filters.agent && !agents.some((/** @type {any} */ a) => a.name === filters.agent) &&
          html`<option value=${filters.agent}>${filters.agent}</option>`}</select>
      <${Search} label="Find by id or thread" value=${search} set=${setSearch} />
      ${filters.thread_id && html`<button type="button" class="small" onClick=${() =>
        refine({ thread: null })}>Thread ${filters.thread_id} <${Icon} name="close" /></button>`}
    </div>
    <${Listing} list=${{ ...list, items: shown }} empty=${isFiltered
      ? html`<${Empty} icon="search" title="No run fits"><p>Take a filter away, or look further back with “More”.</p></${Empty}>`
      : html`<${Empty} icon="runs" title="Nothing has run yet"><p>Choose an agent, give it something to do, and watch it here.</p>
        <p><a class="button primary" href="#/start">Start a run</a></p></${Empty}>`}>
      <${RunList} runs=${shown} />
    </${Listing}>`;
}

/** Brings in a run that was exported elsewhere. */
function Import() {
  const take = async (/** @type {any} */ event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    const done = await attempt(async () =>
      (await call("/v1/runs/import", { method: "POST", body: file, headers: { "content-type": "application/x-ndjson" } })).json(),
        "Imported");
    if (done) go(["runs", done.run_id]);
  };
  return html`<label class="button file">
    <${Icon} name="up" />Import<input type="file" accept=".jsonl,.ndjson,.json" data-test="import" onChange=${take} /></label>`;
}
