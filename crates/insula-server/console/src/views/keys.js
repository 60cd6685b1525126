// One's own keys, and one's own account.

import { path, post, remove } from "../api.js";
import { html, useSignal, useState } from "../html.js";
import { Empty, Head } from "../parts/basics.js";
import { confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icon.js";
import { KeyTable, NewKey } from "../parts/keytable.js";
import { Listing } from "../parts/listing.js";
import { attempt } from "../parts/toast.js";
import { usePages } from "../poll.js";
import { me, mayWrite, signOut } from "../session.js";

export function KeysView() {
  const who = useSignal(me);
  const list = usePages("/v1/keys", {}, { id: (key) => key.key_id });
  const [making, setMaking] = useState(false);
  const close = () => {
    setMaking(false);
    list.refresh();
  };
  const revoke = async (/** @type {any} */ key) => {
    await remove(path`/v1/keys/${key.key_id}`);
    await list.refresh();
  };
  return html`<${Head} title="Keys"
    hint="With one of these a program is you. A key made here never may more than the one you are signed in with.">
      ${mayWrite() && html`<button type="button" class="primary" data-test="make-key" onClick=${() => setMaking(true)}>
        <${Icon} name="plus" />New key</button>`}
    </${Head}>
    <${Listing} list=${list} empty=${html`<${Empty} icon="keys" title="No keys">
      <p>Make one for each program that calls the API, so that each can be revoked alone.</p></${Empty}>`}>
      <${KeyTable} keys=${list.items} own=${who?.credential.id} revoke=${revoke} />
    </${Listing}>
    ${mayWrite() && who && html`<${Leave} user=${who.user_id} />`}
    ${making && html`<${NewKey} make=${(/** @type {any} */ body) => post("/v1/keys", body)} onClose=${close} />`}`;
}

/** @param {{user: string}} props */
function Leave({ user }) {
  const leave = async () => {
    const sure = await confirm({
      title: "Delete everything of yours?",
      text: "All threads, runs, events, schedules and data of your agents are deleted. Keys and the audit log stay. This cannot be undone.",
      type: user,
      action: "Delete everything",
      danger: true,
    });
    if (sure === null) return;
    const done = await attempt(() => remove(`/v1/me?confirm=${encodeURIComponent(user)}`), "Everything is deleted");
    if (done !== undefined) signOut("Everything of yours was deleted.");
  };
  return html`<section class="block apart"><h2>Leave</h2>
    <p class="faint">Deletes every thread, run and schedule of <b>${user}</b>, and what their agents have kept.</p>
      <button type="button" class="danger" data-test="delete-everything" onClick=${leave}>Delete everything</button></section>`;
}
