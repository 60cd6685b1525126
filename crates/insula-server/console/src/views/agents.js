// Which agents there are, and what each of them takes and gives.

import { get, path } from "../api.js";
import { html, useState } from "../html.js";
import { isFree } from "../forms/schema.js";
import { Empty, Facts, Head, Loading, ProblemNote, Words } from "../parts/basics.js";
import { Icon } from "../parts/icon.js";
import { Listing, Search } from "../parts/listing.js";
import { RunList, pace } from "../parts/runlist.js";
import { Value } from "../parts/value.js";
import { usePages, usePolled } from "../poll.js";
import { to } from "../route.js";

export function AgentsView() {
  const { data, problem, refresh } = usePolled(() => get("/v1/agents"), 0, []);
  const [search, set] = useState("");
  const text = search.trim().toLowerCase();
  const shown = data?.items.filter((/** @type {any} */ a) => !text || `${a.name} ${a.description}`.toLowerCase().includes(text));
  return html`<${Head} title="Agents" hint="What this server can run." />
    <div class="filters"><${Search} label="Find an agent" value=${search} set=${set} /></div>
    <${Listing} list=${{ items: shown, problem, refresh }}
      empty=${html`<${Empty} icon="agents" title=${search ? "No agent fits" : "No agents here"}>
        <p>${search ? "Write less of its name." : "This server was started without any."}</p></${Empty}>`}>
      <ul class="cards" data-test="agents">
        ${shown?.map((/** @type {any} */ a) =>
          html`<li key=${a.name}><a class="card" href=${to(["agents", a.name])} data-row data-test="agent-item" data-agent=${a.name}>
        <span class="card-head"><b>${a.name}</b><span class="chip">version ${a.version}</span></span>
          <span class="card-text"><${Words} text=${a.description || "It does not say what it does."} /></span>
        ${a.dependencies?.length > 0 &&
          html`<span class="faint small cut">needs ${a.dependencies.map(nameOf).join(", ")}</span>`}</a></li>`)}</ul>
    </${Listing}>`;
}

/** A dependency or capability in words, whatever its shape. @param {any} part */
const nameOf = (part) => (typeof part === "string" ? part
  : Object.entries(part ?? {}).map(([kind, name]) => `${kind} ${typeof name === "string" ? name : JSON.stringify(name)}`).join(" "));

/** @param {{id: string}} props */
export function AgentView({ id }) {
  const { data: agent, problem, refresh } = usePolled(() => get(path`/v1/agents/${id}`), 0, [id]);
  const runs = usePages("/v1/runs", { agent: id }, { id: (run) => run.run_id, every: pace, limit: 10 });
  if (!agent) {
    if (problem?.status === 404)
      return html`<${Empty} icon="agents" title="There is no such agent"><p><a href="#/agents">All agents</a></p></${Empty}>`;
    return problem ? html`<${ProblemNote} problem=${problem} onRetry=${refresh} />` : html`<${Loading} />`;
  }
  return html`<${Head} title=${html`<span class="crumb"><a href="#/agents">Agents</a><${Icon} name="chevron" /></span>${agent.name}`}
    hint=${html`<span><${Words} text=${agent.description ?? ""} /></span>`}>
      <a class="button primary" href=${to(["start"], { agent: agent.name })} data-test="start-agent"><${Icon} name="start" />Start a run</a>
    </${Head}>
    <${Facts} of=${[["Version", agent.version], ["Needs", agent.dependencies?.map(nameOf).join(", ")],
      ["Can", agent.capabilities?.map(nameOf).join(", ")]]} />
    <div class="schemas">${[["Input", agent.input_schema], ["Output", agent.output_schema],
      ["Configuration", agent.config_schema]].map(([name, schema]) =>
        html`<section class="panel"><h2>${name}</h2>
          ${isFree(schema) ? html`<p class="faint">Anything.</p>` : html`<${Value} value=${schema} />`}</section>`)}</div>
    <section class="block"><h2>Latest runs</h2>
      <${Listing} list=${runs} empty=${html`<p class="nothing">It has not run yet.</p>`}>
        <${RunList} runs=${runs.items} /></${Listing}></section>`;
}
