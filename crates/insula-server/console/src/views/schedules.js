// Runs that begin by the clock.

import { get, path, post, put, remove } from "../api.js";
import { html, useMemo, useState } from "../html.js";
import { InputForm } from "../forms/input.js";
import { Ago, Empty, Head, Id, ProblemNote } from "../parts/basics.js";
import { confirm, Dialog } from "../parts/dialog.js";
import { Icon } from "../parts/icon.js";
import { Listing } from "../parts/listing.js";
import { attempt } from "../parts/toast.js";
import { usePolled } from "../poll.js";
import { to } from "../route.js";
import { mayWrite } from "../session.js";
import { POLICIES } from "./options.js";

/** @type {[string, string][]} */
const MISSED = [["skip", "get no run"], ["once", "get one run together"], ["all", "get a run each"]];

export function SchedulesView() {
  const list = usePolled(() => get("/v1/schedules"), 15_000, []);
  const [making, setMaking] = useState(/** @type {any} */ (null));
  const close = () => {
    setMaking(null);
    list.refresh();
  };
  const isMine = mayWrite();
  return html`<${Head} title="Schedules" hint="Runs that begin by the clock.">
      ${isMine && html`<button type="button" class="primary" data-test="make-schedule" onClick=${() => setMaking({})}>
        <${Icon} name="plus" />New schedule</button>`}
    </${Head}>
    <${Listing} list=${{ ...list, items: list.data?.items }}
      empty=${html`<${Empty} icon="schedules" title="Nothing is scheduled">
        <p>A schedule starts an agent by a cron expression, such as every night at three.</p></${Empty}>`}>
      <ul class="list schedules" data-test="schedules">
        <li class="list-head" aria-hidden="true"><span>Name</span><span>When</span><span>Agent</span><span>Next</span><span></span></li>
        ${list.data?.items.map((/** @type {any} */ s) =>
          html`<${Schedule} key=${s.name} schedule=${s} isMine=${isMine} refresh=${list.refresh} edit=${() => setMaking(s)} />`)}
      </ul>
    </${Listing}>
    ${making && html`<${Editor} schedule=${making} onClose=${close} />`}`;
}

/** @param {{schedule: any, isMine: boolean, refresh: () => void, edit: () => void}} props */
function Schedule({ schedule: s, isMine, refresh, edit }) {
  const turn = async () => {
    const done = await attempt(() => post(path`/v1/schedules/${s.name}` + (s.paused ? "/resume" : "/pause")), s.paused ? "Goes on"
      : "Paused");
    if (done) refresh();
  };
  const erase = async () => {
    const sure = await confirm({
      title: `Delete “${s.name}”?`,
      text: "No further run begins by it. Runs that have begun go on.",
      action: "Delete",
      danger: true,
    });
    if (sure === null) return;
    await attempt(() => remove(path`/v1/schedules/${s.name}`), "Deleted");
    refresh();
  };
  return html`<li><div class="item" data-row tabIndex="-1" data-test="schedule-item" data-name=${s.name} data-paused=${s.paused}>
    <span class="item-name"><b>${s.name}</b></span>
    <span class="item-status"><code>${s.cron}</code><span class="faint small">${s.zone}</span></span>
    <span class="item-thread"><a href=${to(["agents", s.agent])}>${s.agent}</a>
      ${s.thread_id && html` <${Id} id=${s.thread_id} href=${to(["threads", s.thread_id])} />`}</span>
    <span class="item-time">${s.paused ? html`<span class="status" data-status="paused"><i class="dot"></i>paused</span>`
      : html`<${Ago} time=${s.next_at} />`}</span>
    <span class="end item-act">
      ${isMine && html`<button type="button" class="small" data-test="schedule-turn" onClick=${turn}>
        ${s.paused ? "Resume" : "Pause"}</button><button type="button" class="small" data-test="schedule-edit" onClick=${edit}>Edit</button>
          <button type="button" class="quiet small square" aria-label="Delete" title="Delete" data-test="schedule-delete" onClick=${erase}>
            <${Icon} name="close" /></button>`}</span>
  </div></li>`;
}

/** @param {{schedule: any, onClose: () => void}} props */
function Editor({ schedule, onClose }) {
  const agents = usePolled(() => get("/v1/agents"), 0, []).data?.items ?? [];
  const [form, setForm] = useState(/** @type {Record<string, any>} */
    (() => ({ zone: Intl.DateTimeFormat().resolvedOptions().timeZone, missed: "skip", policy: "", ...schedule })));
  const [given, setGiven] = useState(/** @type {import("../forms/input.js").Given} */ ({ value: schedule.input, faults: [] }));
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [tried, setTried] = useState(false);
  const agent = agents.find((/** @type {any} */ a) => a.name === form.agent);
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => setForm({ ...form, [name]: e.target.value });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setTried(true);
    if (given.faults.length > 0) return;
    try {
      await put(path`/v1/schedules/${form.name.trim()}`, bodyOf(form, given.value));
      onClose();
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  const text = (/** @type {string} */ name, /** @type {string} */ label, about = "", more = {}) =>
    html`<label class="field"><span class="label">${label}</span>
      <input type="text" autocomplete="off" value=${form[name] ?? ""} data-test=${`schedule-${name}`} onInput=${set(name)} ...${more} />
        ${about && html`<span class="about">${about}</span>`}</label>`;
  const pick = (/** @type {string} */ name, /** @type {string} */ label, /** @type {[string, string][]} */ choices) =>
    html`<label class="field"><span class="label">${label}</span>
      <select value=${form[name] ?? ""} data-test=${`schedule-${name}`} onChange=${set(name)}>
        ${choices.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>`;
  const names = useMemo(() => [["", "Choose…"], ...agents.map((/** @type {any} */ a) => [a.name, a.name])], [agents]);
  return html`<${Dialog} title=${schedule.name ? "Change the schedule" : "New schedule"} onClose=${onClose} test="schedule-editor">
    <form onSubmit=${submit}>
    <div class="fields"><div class="fields two">
      ${text("name", "Name", "", { required: true, disabled: Boolean(schedule.name) })}${pick("agent", "Agent", /** @type {any} */ (names))}
      ${text("cron", "When", "Minute, hour, day, month and weekday, like 0\u00a03\u00a0*\u00a0*\u00a0*",
        { required: true, class: "mono" })}${text("zone", "Time zone")}
      ${pick("missed", "Times that were missed", MISSED)}${pick("policy", "When others are under way", POLICIES)}
      ${text("thread_id", "Thread", "A new one each time, unless named.")}${text("deadline", "Deadline", "90s, 5m")}
    </div>${agent && html`<fieldset class="fields nested"><legend>Input</legend>
      <${InputForm} key=${agent.name} schema=${agent.input_schema} value=${agent.name === schedule.agent ? schedule.input : undefined}
        onGiven=${setGiven} violations=${problem?.violations} showFaults=${tried} /></fieldset>`}</div>
    <${ProblemNote} problem=${problem} />
    <footer class="dialog-foot"><button type="button" onClick=${onClose}>Go back</button>
      <button type="submit" class="primary" disabled=${!form.agent} data-test="schedule-submit">Save</button></footer>
  </form></${Dialog}>`;
}

/** @param {Record<string, any>} form @param {any} input */
function bodyOf(form, input) {
  const written = ["cron", "zone", "missed", "agent", "thread_id", "policy", "deadline"].filter((name) => form[name]).map((name) =>
    [name, form[name]]);
  return { ...Object.fromEntries(written), ...(input === undefined ? {} : { input }),
    ...(form.priority ? { priority: form.priority } : {}) };
}
