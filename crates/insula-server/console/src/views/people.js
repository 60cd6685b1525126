// Keys of all users, for admins.

import { path, post, remove } from "../api.js";
import { html, useSignal, useState } from "../html.js";
import { Empty, Head } from "../parts/basics.js";
import { Icon } from "../parts/icon.js";
import { KeyTable, NewKey } from "../parts/keytable.js";
import { Listing } from "../parts/listing.js";
import { usePages } from "../poll.js";
import { place, refine } from "../route.js";
import { me } from "../session.js";

export function PeopleView() {
  const who = useSignal(me);
  const { query } = useSignal(place);
  const [making, setMaking] = useState(false);
  const filters = { tenant_id: query.get("tenant") ?? "", user_id: query.get("user") ?? "" };
  // The server wants both or neither.
  const isWhole = Boolean(filters.tenant_id) === Boolean(filters.user_id);
  const list = usePages("/v1/admin/keys", isWhole ? filters : {}, { id: (key) => key.key_id });
  const revoke = async (/** @type {any} */ key) => {
    await remove(path`/v1/admin/keys/${key.key_id}`);
    await list.refresh();
  };
  const close = () => {
    setMaking(false);
    list.refresh();
  };
  const filter = (/** @type {string} */ name, /** @type {string} */ label) =>
    html`<input type="text" class="narrow" placeholder=${label} aria-label=${label} value=${query.get(name) ?? ""} data-search=${name ===
      "user" ? "" : undefined} data-test=${`filter-${name}`} onInput=${(/** @type {any} */ e) => refine({ [name]: e.target.value })} />`;
  return html`<${Head} title="Everybody's keys" hint="Whoever has one is that user.">
      <button type="button" class="primary" data-test="make-key" onClick=${() => setMaking(true)}><${Icon} name="plus" />New key</button>
    </${Head}>
    <div class="filters">${filter("tenant", "Tenant")}${filter("user", "User")}${!isWhole &&
      html`<span class="faint small">Name both to see one user's keys.</span>`}</div>
    <${Listing} list=${list} empty=${html`<${Empty} icon="people" title="No keys here"><p>Make one to let a user in.</p></${Empty}>`}>
      <${KeyTable} keys=${list.items} withOwner=${true} own=${who?.credential.id} revoke=${revoke} />
    </${Listing}>
    ${making && html`<${NewKey} withOwner=${true} roles=${["user", "operator", "admin"]} make=${(/** @type {any} */ body) =>
      post("/v1/admin/keys", body)} onClose=${close} />`}`;
}
