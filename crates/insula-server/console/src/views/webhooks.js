// Calls to other servers when a run has ended, and how they went.

import { path, post } from "../api.js";
import { plural } from "../format.js";
import { html, useSignal } from "../html.js";
import { Ago, Empty, Head, Id, Status } from "../parts/basics.js";
import { Listing, Tabs } from "../parts/listing.js";
import { attempt } from "../parts/toast.js";
import { usePages } from "../poll.js";
import { place, refine, to } from "../route.js";
import { mayWrite } from "../session.js";

/** @type {[string, string][]} */
const STATES = [["", "All"], ["waiting", "Run not ended"], ["due", "Due"], ["delivered", "Delivered"], ["dead", "Dead"]];

export function WebhooksView() {
  const { query } = useSignal(place);
  const state = query.get("state") ?? "";
  const list = usePages("/v1/webhooks", { state }, { id: (hook) => hook.run_id, every: 5_000 });
  const resend = async (/** @type {any} */ hook) => {
    if (await attempt(() => post(path`/v1/webhooks/${hook.run_id}/resend`), "Sent again soon")) list.refresh();
  };
  return html`<${Head} title="Webhooks" hint="Calls to other servers when a run has ended. A call that fails is tried again for hours." />
    <div class="filters"><${Tabs} label="State" at=${state} choices=${STATES} set=${(/** @type {string} */ s) =>
      refine({ state: s })} /></div>
    <${Listing} list=${list} empty=${state ? html`<${Empty} icon="webhooks" title="None in this state"></${Empty}>`
      : html`<${Empty} icon="webhooks" title="No webhooks">
        <p>Give a run a webhook when you start it, and how the calls went is here.</p></${Empty}>`}>
      <ul class="list hooks" data-test="webhooks">
        <li class="list-head" aria-hidden="true"><span>URL</span><span>State</span><span>Run</span><span>Ended</span><span></span></li>
        ${list.items?.map((hook) =>
          html`<li key=${hook.run_id}><div class="item" data-row tabIndex="-1" data-test="webhook-item" data-state=${hook.state}>
          <span class="item-name"><span class="cut" title=${hook.url}>${hook.url}</span>
            ${hook.last_error && html`<span class="row-bad small cut" title=${hook.last_error}>${hook.last_error}</span>`}</span>
          <span class="item-status"><${Status} is=${hook.state} />
            ${hook.attempts > 0 && html`<span class="faint small">${plural(hook.attempts, "attempt")}</span>`}</span>
          <span class="item-thread"><${Id} id=${hook.run_id} href=${to(["runs", hook.run_id])} /></span>
          <span class="item-time">${hook.state === "due" && hook.next_at
            ? html`<span class="small">next <${Ago} time=${hook.next_at} /></span>` : html`<${Ago} time=${hook.ended_at} />`}</span>
          <span class="end item-act">
            ${mayWrite() && /dead|delivered/.test(hook.state) &&
              html`<button type="button" class="small" data-test="resend" onClick=${() => resend(hook)}>Send again</button>`}</span>
        </div></li>`)}
      </ul>
    </${Listing}>`;
}
