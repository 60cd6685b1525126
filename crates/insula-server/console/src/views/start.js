// Starting a run: which agent, with what, where, and within which bounds.

import { get, post } from "../api.js";
import { html, useMemo, useSignal, useState } from "../html.js";
import { InputForm } from "../forms/input.js";
import { Empty, Head, ProblemNote, Words } from "../parts/basics.js";
import { Listing, Search } from "../parts/listing.js";
import { usePolled } from "../poll.js";
import { go, place, refine } from "../route.js";
import { mayWrite } from "../session.js";
import { Options, read } from "./options.js";

export function StartView() {
  const { query } = useSignal(place);
  const { data, problem, refresh } = usePolled(() => get("/v1/agents"), 0, []);
  const name = query.get("agent") ?? "";
  const agents = data?.items;
  const agent = agents?.find((/** @type {any} */ a) => a.name === name);
  if (!mayWrite()) return html`<${Head} title="Start a run" />
    <${Empty} icon="keys" title="This key may only read"><p>Sign in with one that may write to start a run.</p></${Empty}>`;
  return html`<${Head} title="Start a run" hint=${agent ? null : "Choose an agent."} />
    ${agent ? html`<${Submission} key=${agent.name} agent=${agent} thread=${query.get("thread") ?? ""} />`
      : html`<${Listing} list=${{ items: agents, problem, refresh }}
        empty=${html`<${Empty} icon="agents" title="No agents here"><p>This server was started without any.</p></${Empty}>`}>
          <${Picker} agents=${agents ?? []} /></${Listing}>`}`;
}

/** @param {{agents: any[]}} props */
function Picker({ agents }) {
  const [search, set] = useState("");
  const text = search.trim().toLowerCase();
  const shown = agents.filter((a) => !text || `${a.name} ${a.description}`.toLowerCase().includes(text));
  return html`<div class="filters"><${Search} label="Find an agent" value=${search} set=${set} /></div>
    <ul class="cards" data-test="agent-picker">
      ${shown.map((a) => html`<li key=${a.name}>
        <button type="button" class="card" data-row data-test="pick-agent" data-agent=${a.name} onClick=${() => refine({ agent: a.name })}>
      <b>${a.name}</b><span class="card-text"><${Words} text=${a.description || "It does not say what it does."} /></span></button></li>`)}
        </ul>`;
}

/** Repeating a submission must not start a second run. `randomUUID` is there on secure pages only. */
const freshKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {{agent: any, thread: string}} props */
function Submission({ agent, thread }) {
  const [given, setGiven] = useState(/** @type {import("../forms/input.js").Given} */ ({ value: undefined, faults: [] }));
  const [options, setOptions] = useState(/** @type {Record<string, string>} */ ({ thread_id: thread }));
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const body = { agent: agent.name, ...(given.value === undefined ? {} : { input: given.value }), ...read(options) };
  const key = useMemo(freshKey, [JSON.stringify(body)]);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setTried(true);
    if (given.faults.length > 0) return;
    setBusy(true);
    setProblem(null);
    try {
      const run = await post("/v1/runs", body, { headers: { "idempotency-key": key } });
      go(["runs", run.run_id]);
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  };
  return html`<form class="submission" onSubmit=${submit} noValidate data-test="start-form">
    <div class="chosen"><div><b>${agent.name}</b> <span class="faint small">version ${agent.version}</span>
      <p><${Words} text=${agent.description ?? ""} /></p></div>
        <button type="button" class="small" data-test="change-agent" onClick=${() => refine({ agent: null })}>Change</button></div>
    <section class="panel"><h2>Input</h2>
      <${InputForm} schema=${agent.input_schema} onGiven=${setGiven} violations=${problem?.violations} showFaults=${tried} /></section>
    <${Options} options=${options} set=${setOptions} />
    <${ProblemNote} problem=${problem} />
    ${tried && given.faults.length > 0 && html`<p class="fault" role="alert">Something is missing in the input, or does not fit.</p>`}
    <footer class="form-foot">
      <button type="submit" class="primary" disabled=${busy} data-test="start-submit">${busy ? "Starting…" : "Start"}</button></footer>
  </form>`;
}
