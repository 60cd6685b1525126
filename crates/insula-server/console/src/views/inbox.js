// Open questions.

import { html, useSignal } from "../html.js";
import { AnswerForm } from "../forms/answer.js";
import { inbox, refreshInbox } from "../inbox.js";
import { Ago, Empty, Head, Id } from "../parts/basics.js";
import { Icon } from "../parts/icon.js";
import { Listing } from "../parts/listing.js";
import { to } from "../route.js";

export function InboxView() {
  const { items, problem } = useSignal(inbox);
  return html`<${Head} title="Inbox" hint="Agents that cannot go on before somebody has answered." />
    <${Listing} list=${{ items, problem, refresh: refreshInbox }}
      empty=${html`<${Empty} icon="check" title="Nobody is waiting for you">
        <p>When an agent asks something, the question is here and beside “Inbox”.</p></${Empty}>`}>
      <div class="questions" data-test="inbox">
        ${items?.map((open) => html`<article class="question" key=${`${open.run_id} ${open.index}`} data-row tabIndex="-1"
          data-test="inbox-item" data-run=${open.run_id}>
        <header><${Icon} name="human" />
          <b>${open.agent}</b> <span class="faint">
            ${open.waiting_for === "reconcile" ? "needs to know" : "asks"} · <${Ago} time=${open.asked_at} /></span>
          <a class="small push" href=${to(["runs", open.run_id])}>See the run</a></header>
        <${AnswerForm} open=${open} />
        <footer class="faint small">Thread <${Id} id=${open.thread_id} href=${to(["threads", open.thread_id])} /></footer>
      </article>`)}</div>
    </${Listing}>`;
}
