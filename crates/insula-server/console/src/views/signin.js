// Signing in with an API key.

import { html, useEffect, useRef, useSignal, useState } from "../html.js";
import { ProblemNote } from "../parts/basics.js";
import { Mark } from "../parts/icon.js";
import { farewell, signIn } from "../session.js";

export function SignIn() {
  const why = useSignal(farewell);
  const [key, setKey] = useState("");
  const [remember, setRemember] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLInputElement|null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(key.trim(), remember);
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  };
  return html`<main class="signin">
    <form class="signin-card" onSubmit=${submit} data-test="sign-in">
      <div class="signin-brand"><${Mark} /><h1>Insula</h1></div>
      <p class="hint">Many households under one roof, each behind its own walls.</p>
      ${why && !problem && html`<div class="note">${why}</div>`}
      <label class="field"><span class="label">API key</span>
        <input type="password" value=${key} autocomplete="current-password" spellcheck=${false} placeholder="insula_…" required ref=${field}
          data-test="sign-in-key" onInput=${(/** @type {any} */ e) => setKey(e.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${remember} data-test="sign-in-remember" onChange=${(/** @type {any} */ e) =>
        setRemember(e.target.checked)} /><span>Remember on this device</span></label>
      ${problem?.status === 401
        ? html`<div class="note bad" role="alert" data-test="problem"><strong>This key is not accepted</strong>
          <p>It may be mistyped, expired or revoked.</p></div>` : html`<${ProblemNote} problem=${problem} />`}
      <button type="submit" class="primary wide" disabled=${busy || !key.trim()} data-test="sign-in-submit">
        ${busy ? "Signing in…" : "Sign in"}</button>
      <p class="small faint">The first start of a server prints a key. Without “remember”, it is kept until this tab is closed.</p>
    </form>
  </main>`;
}
