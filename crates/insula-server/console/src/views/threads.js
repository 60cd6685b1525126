// Conversations: the list of them, and one as a whole.

import { get, path, post, remove } from "../api.js";
import { count, plural } from "../format.js";
import { html, useEffect, useMemo, useState } from "../html.js";
import { logOfThread, release } from "../logs.js";
import { Ago, Empty, Facts, Head, Id, Loading, ProblemNote, Status } from "../parts/basics.js";
import { confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icon.js";
import { Listing, Search } from "../parts/listing.js";
import { LogView } from "../parts/logview.js";
import { RunList, isUnderWay, pace } from "../parts/runlist.js";
import { attempt, say } from "../parts/toast.js";
import { usePages, usePolled } from "../poll.js";
import { go, to } from "../route.js";
import { mayWrite } from "../session.js";

export function ThreadsView() {
  const list = usePages("/v1/threads", {}, { id: (thread) => thread.thread_id, every: 5_000 });
  const live = useLiveRuns();
  const [search, setSearch] = useState("");
  const shown = list.items?.filter((thread) => thread.thread_id.toLowerCase().includes(search.trim().toLowerCase()));
  const create = async () => {
    const made = await attempt(() => post("/v1/threads"), "A thread without runs");
    if (made) go(["threads", made.thread_id]);
  };
  return html`<${Head} title="Threads" hint="Conversations. The events of all runs in one are in one order.">
      ${mayWrite() && html`<button type="button" data-test="new-thread" onClick=${create}><${Icon} name="plus" />New thread</button>`}
    </${Head}>
    <div class="filters"><${Search} label="Find by id" value=${search} set=${setSearch} /></div>
    <${Listing} list=${{ ...list, items: shown }} empty=${search
      ? html`<${Empty} icon="search" title="No thread fits"><p>Write less of the id, or look further back with “More”.</p></${Empty}>`
      : html`<${Empty} icon="threads" title="No conversation yet"><p>Every run is in a thread. Start one, and its thread is here.</p>
        <p><a class="button primary" href="#/start">Start a run</a></p></${Empty}>`}>
      <ul class="list threads" data-test="threads">
        <li class="list-head" aria-hidden="true"><span>Thread</span><span>Now</span><span>Created</span><span class="end">Events</span></li>
        ${shown?.map((thread) => html`<li key=${thread.thread_id}>
          <a class="item" href=${to(["threads", thread.thread_id])} data-row data-test="thread-item" data-thread=${thread.thread_id}>
          <span class="item-name"><b class="mono">${thread.thread_id}</b>
            ${thread.forked_from && html`<span
              class="faint small">from ${thread.forked_from.thread_id}, after event ${thread.forked_from.seq}</span>`}</span>
          <span class="item-status">
            ${live.has(thread.thread_id) &&
              html`<${Status} is=${live.get(thread.thread_id).status} />
                <span class="faint small">${live.get(thread.thread_id).agent}</span>`}</span>
          <span class="item-time"><${Ago} time=${thread.created_at} /></span><span class="end number">${count(thread.head)}</span>
        </a></li>`)}
      </ul>
    </${Listing}>`;
}

/** The latest run of each thread in which one is under way. @returns {Map<string, any>} */
function useLiveRuns() {
  const { data } = usePolled(() => get("/v1/runs?limit=200"), pace, []);
  return useMemo(() => new Map((data?.items ?? []).filter(isUnderWay).reverse().map((/** @type {any} */ run) => [run.thread_id, run])),
    [data]);
}

/** @param {{id: string}} props */
export function ThreadView({ id }) {
  const { data: thread, problem, refresh } = usePolled(() => get(path`/v1/threads/${id}`), 0, [id]);
  const runs = usePages("/v1/runs", { thread_id: id }, { id: (run) => run.run_id, every: pace, limit: 20 });
  const log = useThreadLog(thread);
  if (!thread) {
    if (problem?.status === 404)
      return html`<${Empty} icon="search" title="There is no such thread"><p>None of yours is called <span class="mono">${id}</span>.</p>
        <p><a class="button" href="#/threads">All threads</a></p></${Empty}>`;
    return problem ? html`<${ProblemNote} problem=${problem} onRetry=${refresh} />` : html`<${Loading} lines=${8} />`;
  }
  const from = thread.forked_from;
  return html`<${Head} title=${html`<span class="crumb"><a href="#/threads">Threads</a><${Icon} name="chevron" /></span>
    <span class="mono">${id}</span>`}>
      ${mayWrite() && html`<a class="button" href=${to(["start"], { thread: id })} data-test="start-in-thread">
        <${Icon} name="start" />Run here</a>
        <button type="button" class="danger" data-test="delete-thread" onClick=${() => erase(id)}>Delete</button>`}
    </${Head}>
    <${Facts} of=${[["Created", html`<${Ago} time=${thread.created_at} />`],
      ["Forked from", from && html`<${Id} id=${from.thread_id} href=${to(["threads", from.thread_id])} /> <span
        class="faint">after event ${from.seq}</span>`]]} />
    ${runs.items && runs.items.length > 0 &&
      html`<details class="panel" open=${runs.items.length <= 6}>
        <summary>${runs.next ? "Latest runs" : plural(runs.items.length, "run")}</summary>
          <${Listing} list=${runs} empty=${null}><${RunList} runs=${runs.items} withThread=${false} /></${Listing}></details>`}
    ${log && html`<${LogView} log=${log}
      empty=${html`<${Empty} icon="threads" title="Nothing has happened here yet">
        <p>Start a run in this thread; its events appear as they come.</p></${Empty}>`} />`}`;
}

/** @param {any} thread */
function useThreadLog(thread) {
  const [log, set] = useState(/** @type {import("../logs.js").Log|null} */ (null));
  useEffect(() => {
    if (!thread) return undefined;
    const held = logOfThread(thread);
    set(held);
    return () => release(held);
  }, [thread?.thread_id]);
  return log;
}

/** @param {string} id */
async function erase(id) {
  const sure = await confirm({
    title: "Delete this thread?",
    text: "Its runs, events and payloads are deleted, and the threads that were forked from it may be refused. This cannot be undone.",
    type: id,
    action: "Delete for good",
    danger: true,
  });
  if (sure === null) return;
  const done = await attempt(() => remove(path`/v1/threads/${id}`));
  if (!done) return;
  say(`Deleted ${plural(done.threads, "thread")} with ${plural(done.runs, "run")}`);
  go(["threads"]);
}
