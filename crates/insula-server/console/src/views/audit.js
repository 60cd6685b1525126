// Who was let in, who was refused, what was taken away. Oldest first, as the server tells it, so this page asks for the end.

import { get, query } from "../api.js";
import { brief, dateTime } from "../format.js";
import { html, useState } from "../html.js";
import { Ago, Empty, Head } from "../parts/basics.js";
import { Listing, Search } from "../parts/listing.js";
import { Value } from "../parts/value.js";
import { usePolled } from "../poll.js";

const PAGE = 1_000, MOST_PAGES = 20, SHOWN = 100;

/** The last entries: the log is read to its end, and what is far back is let go. */
async function lastEntries() {
  /** @type {any[]} */
  let items = [];
  let after = 0;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer = await get("/v1/audit" + query({ after, limit: PAGE }));
    items = [...items, ...answer.items].slice(-2 * PAGE);
    if (!answer.next) break;
    after = answer.next;
  }
  return items.reverse();
}

export function AuditView() {
  const { data, problem, refresh } = usePolled(lastEntries, 30_000, []);
  const [search, setSearch] = useState("");
  const [many, setMany] = useState(SHOWN);
  const [opened, open] = useState(/** @type {number|null} */ (null));
  const text = search.trim().toLowerCase();
  const fits = data?.filter((entry) => !text || `${entry.action} ${JSON.stringify(entry.detail)}`.toLowerCase().includes(text));
  const list = { items: fits?.slice(0, many), problem, refresh, next: fits && fits.length > many, more: () => setMany(many + SHOWN),
    loadingMore: false };
  return html`<${Head} title="Audit log"
    hint="Who was let in, who was refused, what was taken away. Each entry carries a hash over the one before, so none can be changed unseen." />
    <div class="filters"><${Search} label="Find an action" value=${search} set=${setSearch} /></div>
    <${Listing} list=${list} empty=${html`<${Empty} icon="audit" title=${text ? "No entry fits"
      : "Nothing was written down yet"}></${Empty}>`}>
      <ul class="list audit" data-test="audit">
        <li class="list-head" aria-hidden="true"><span>Action</span><span>Detail</span><span>When</span><span class="end">Number</span></li>
        ${list.items?.map((entry) =>
          html`<li key=${entry.number}>
            <button type="button" class="item" data-row data-test="audit-item" aria-expanded=${opened === entry.number} onClick=${() =>
              open(opened === entry.number ? null : entry.number)}>
          <span class="item-name"><b class="mono">${entry.action}</b></span>
            <span class="item-status cut faint small">${brief(entry.detail, 120)}</span>
          <span class="item-time"><${Ago} time=${entry.at} /></span><span class="end number faint">${entry.number}</span></button>
          ${opened === entry.number &&
            html`<div class="item-more"><p class="faint small">${dateTime(entry.at)} · hash <span class="mono">${entry.hash}</span></p>
              <${Value} value=${entry.detail} /></div>`}</li>`)}
      </ul>
    </${Listing}>`;
}
