// API keys: the list of them, making one, and the only time that one is shown.

import { html, useState } from "../html.js";
import { Ago, Copy, ProblemNote } from "./basics.js";
import { confirm, Dialog } from "./dialog.js";
import { Icon } from "./icon.js";
import { attempt } from "./toast.js";

const LIVES = [["", "For ever"], ["1h", "An hour"], ["1d", "A day"], ["30d", "30 days"], ["365d", "A year"]];

/**
 * @param {{keys: any[], withOwner?: boolean, own?: string,
 *   revoke: (key: any) => Promise<any>}} props `own`: the key that this page uses
 */
export function KeyTable({ keys, withOwner, own, revoke }) {
  const take = async (/** @type {any} */ key) => {
    const sure = await confirm({
      title: `Revoke “${key.name}”?`,
      text: key.key_id === own ? "You are signed in with this key: you will be signed out."
        : "Whoever uses it is refused from now on. This cannot be undone.",
      action: "Revoke",
      danger: true,
    });
    if (sure !== null) await attempt(() => revoke(key), "Revoked");
  };
  return html`<ul class=${withOwner ? "list keys owned" : "list keys"} data-test="keys">
    <li class="list-head" aria-hidden="true"><span>Name</span>${withOwner && html`<span>Of</span>`}<span>May</span><span>Created</span>
      <span>Last used</span><span></span></li>
    ${keys.map((key) => html`<li key=${key.key_id}>
      <div class="item" data-row tabIndex="-1" data-test="key-item" data-key=${key.key_id} data-revoked=${Boolean(key.revoked_at)}>
      <span class="item-name"><b>${key.name}</b><span class="id">${key.key_id}</span>
        ${key.key_id === own && html`<span class="chip" data-tone="accent">in use here</span>`}</span>
      ${withOwner && html`<span class="item-owner">${key.user_id}<span class="faint small"> ${key.tenant_id}</span></span>`}
      <span class="item-status"><span class="small">${key.access === "read" ? "read" : "read and write"}</span>
        ${(key.roles ?? []).filter((/** @type {string} */ r) => r !== "user").map((/** @type {string} */ r) =>
          html`<span class="chip">${r}</span>`)}</span>
      <span class="item-time"><${Ago} time=${key.created_at} /></span>
      <span class="item-used">${key.last_used_at ? html`<${Ago} time=${key.last_used_at} />`
        : html`<span class="faint">never</span>`}</span>
      <span class="end item-act">
        ${key.revoked_at ? html`<span class="faint small">revoked <${Ago} time=${key.revoked_at} /></span>`
          : html`${key.expires_at && html`<span class="faint small">expires <${Ago} time=${key.expires_at} /></span>`}
            <button type="button" class="small" data-test="revoke" onClick=${() => take(key)}>Revoke</button>`}</span>
    </div></li>`)}
  </ul>`;
}

/**
 * @param {{roles?: string[], withOwner?: boolean, make: (body: any) => Promise<any>,
 *   onClose: () => void}} props `roles`: which may be given
 */
export function NewKey({ roles = [], withOwner, make, onClose }) {
  const [form, setForm] = useState(/** @type {Record<string, any>} */ ({ access: "write", roles: ["user"] }));
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [made, setMade] = useState(/** @type {any} */ (null));
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => setForm({ ...form, [name]: e.target.value });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      const owner = withOwner ? { tenant_id: form.tenant_id, user_id: form.user_id, roles: form.roles } : {};
      setMade(await make({ ...owner, name: form.name, access: form.access, ...(form.expires_in ? { expires_in: form.expires_in } : {}) }));
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  if (made) return html`<${Shown} made=${made} onClose=${onClose} />`;
  const text = (/** @type {string} */ name, /** @type {string} */ label, more = {}) =>
    html`<label class="field"><span class="label">${label}</span>
      <input type="text" required autocomplete="off" value=${form[name] ?? ""} data-test=${`key-${name}`} onInput=${set(name)}
        ...${more} /></label>`;
  return html`<${Dialog} title="New key" onClose=${onClose} test="new-key"><form onSubmit=${submit}>
    <div class="fields">${withOwner && html`<div class="fields two">${text("tenant_id", "Tenant")}${text("user_id", "User")}</div>`}
      ${text("name", "Name", { placeholder: "What it is for" })}
      <div class="fields two"><label class="field"><span class="label">May</span>
        <select value=${form.access} data-test="key-access" onChange=${set("access")}><option value="write">Read and write</option>
          <option value="read">Only read</option></select></label>
      <label class="field"><span class="label">Good</span>
        <select value=${form.expires_in ?? ""} data-test="key-expires" onChange=${set("expires_in")}>
          ${LIVES.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label></div>
      ${roles.length > 0 && html`<fieldset class="checks"><legend>Roles</legend>
        ${roles.map((role) => html`<label class="check">
          <input type="checkbox" checked=${form.roles.includes(role)} onChange=${(/** @type {any} */ e) =>
            setForm({ ...form, roles: e.target.checked ? [...form.roles, role]
              : form.roles.filter((/** @type {string} */ r) => r !== role) })} /><span>${role}</span></label>`)}</fieldset>`}
    </div>
    <${ProblemNote} problem=${problem} />
    <footer class="dialog-foot"><button type="button" onClick=${onClose}>Go back</button>
      <button type="submit" class="primary" data-test="key-submit">Make the key</button></footer>
  </form></${Dialog}>`;
}

/** @param {{made: any, onClose: () => void}} props */
const Shown = ({ made, onClose }) => html`<${Dialog} title="Your new key" onClose=${onClose} test="key-made">
  <div class="dialog-text"><p>Copy it now. The server keeps only a hash: it is not shown again.</p></div>
  <div class="secret"><code data-test="key-value">${made.key}</code><${Copy} text=${made.key} label="Copy the key">Copy</${Copy}></div>
  <footer class="dialog-foot">
    <button type="button" class="primary" data-test="key-done" onClick=${onClose}><${Icon} name="check" />I have it</button></footer>
</${Dialog}>`;
