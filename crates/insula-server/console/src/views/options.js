// What a submission may say beside agent and input.

import { get } from "../api.js";
import { html } from "../html.js";
import { usePolled } from "../poll.js";

/** @type {[string, string][]} */
export const POLICIES = [
  ["", "As the server does by default"], ["enqueue", "Wait for its turn"], ["reject", "Refuse this run"],
  ["interrupt", "Stop the others"], ["rollback", "Stop the others, and what they did does not count"],
];

/**
 * The part of a submission's body that the fields make.
 * @param {Record<string, string>} options
 */
export function read(options) {
  /** @type {Record<string, any>} */
  const body = {};
  for (const name of ["thread_id", "policy", "deadline", "delay"]) if (options[name]?.trim()) body[name] = options[name].trim();
  if (options.priority?.trim()) body.priority = Number(options.priority);
  const budget = Object.fromEntries(["tokens", "money", "tool_calls"].filter((unit) => options[unit]?.trim()).map((unit) =>
    [unit, Number(options[unit])]));
  if (Object.keys(budget).length > 0) body.budget = budget;
  if (options.url?.trim()) body.webhook = { url: options.url.trim(), secret: options.secret ?? "" };
  return body;
}

/** @param {{options: Record<string, string>, set: (options: Record<string, string>) => void}} props */
export function Options({ options, set }) {
  const threads = usePolled(() => get("/v1/threads?limit=50"), 0, []).data?.items ?? [];
  const input = (/** @type {string} */ name, /** @type {any} */ more = {}) =>
    html`<input type="text" value=${options[name] ?? ""} data-test=${`option-${name}`} autocomplete="off" ...${more}
      onInput=${(/** @type {any} */ e) => set({ ...options, [name]: e.target.value })} />`;
  const field = (/** @type {string} */ label, /** @type {any} */ control, about = "") =>
    html`<label class="field"><span class="label">${label}</span>${control}${about && html`<span class="about">${about}</span>`}</label>`;
  return html`<section class="panel"><h2>Where and when</h2><div class="fields two">
      ${field("Thread", html`${input("thread_id", { list: "threads", placeholder: "A new one" })}
        <datalist id="threads">${threads.map((/** @type {any} */ t) => html`<option value=${t.thread_id} />`)}</datalist>`,
          "Choose one to go on in a conversation.")}
      ${field("When others are under way in the thread",
        html`<select value=${options.policy ?? ""} data-test="option-policy" onChange=${(/** @type {any} */ e) =>
          set({ ...options, policy: e.target.value })}>
            ${POLICIES.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select>`)}
      ${field("Deadline", input("deadline", { placeholder: "None" }), "How long it may take, waiting included: 90s, 5m, or a time.")}
      ${field("Begin after", input("delay", { placeholder: "At once" }), "10s, 2h")}
    </div></section>
    <details class="panel"><summary>Budget, priority, webhook</summary><div class="fields two">
      ${field("Tokens at most", input("tokens", { inputmode: "numeric" }))}
      ${field("Money at most", input("money", { inputmode: "numeric" }), "In millionths of the currency.")}
      ${field("Tool calls at most", input("tool_calls", { inputmode: "numeric" }))}
      ${field("Priority", input("priority", { inputmode: "numeric", placeholder: "0" }), "Among your own runs: more is sooner.")}
      ${field("Webhook", input("url", { placeholder: "https://…", type: "url" }), "Called when the run has ended.")}
      ${field("Its secret", input("secret", { type: "password", autocomplete: "new-password" }),
        "At least 16 characters. It signs the calls.")}
    </div></details>`;
}
