// What one user may have where it is not what everybody may.

import { get, path, put, remove } from "../api.js";
import { html, useEffect, useSignal, useState } from "../html.js";
import { Head, ProblemNote } from "../parts/basics.js";
import { attempt } from "../parts/toast.js";
import { place, refine } from "../route.js";

/** @type {[string, string, string][]} */
const LIMITS = [
  ["running", "Running at once", "Runs that are worked on at the same time."],
  ["queued", "Queued", "Runs that nobody has begun yet; more are refused."],
  ["connections", "Connections", "Live connections at the same time."],
  ["weight", "Weight", "How many of this user's runs are taken in a turn of the queue."],
];

export function LimitsView() {
  const { query } = useSignal(place);
  const [tenant, setTenant] = useState(query.get("tenant") ?? "");
  const [user, setUser] = useState(query.get("user") ?? "");
  const [found, setFound] = useState(/** @type {{tenant: string, user: string, limits: any}|null} */ (null));
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  /** @param {Event} [event] */
  const look = async (event) => {
    event?.preventDefault();
    setProblem(null);
    setFound(null);
    refine({ tenant, user });
    try {
      setFound({ tenant, user, limits: await get(path`/v1/admin/limits/${tenant}/${user}`) });
    } catch (refusal) {
      if (/** @type {any} */ (refusal).status === 404) setFound({ tenant, user, limits: null });
      else setProblem(refusal);
    }
  };
  useEffect(() => {
    if (tenant && user) look();
  }, []);
  return html`<${Head} title="Limits" hint="What one user may have where it is not what everybody may." />
    <form class="filters" onSubmit=${look}>
      <input type="text" class="narrow" required placeholder="Tenant" aria-label="Tenant" value=${tenant} data-test="limits-tenant"
        onInput=${(/** @type {any} */ e) => setTenant(e.target.value)} />
      <input type="text" class="narrow" required placeholder="User" aria-label="User" value=${user} data-search data-test="limits-user"
        onInput=${(/** @type {any} */ e) => setUser(e.target.value)} />
      <button type="submit" data-test="limits-look">Look up</button>
    </form>
    <${ProblemNote} problem=${problem} />
    ${found && html`<${Editor} key=${`${found.tenant}/${found.user}`} found=${found} again=${look} />`}
    ${!found && !problem && html`<p class="nothing">Name a tenant and a user.</p>`}`;
}

/** @param {{found: {tenant: string, user: string, limits: any}, again: () => void}} props */
function Editor({ found, again }) {
  const { tenant, user, limits } = found;
  const [draft, setDraft] = useState(() => Object.fromEntries(LIMITS.map(([name]) => [name, String(limits?.[name] ?? "")])));
  const where = path`/v1/admin/limits/${tenant}/${user}`;
  const save = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = Object.fromEntries(Object.entries(draft).filter(([, text]) => text.trim()).map(([name, text]) => [name, Number(text)]));
    if ((await attempt(() => put(where, body), "Saved")) !== undefined) again();
  };
  const reset = async () => {
    if ((await attempt(() => remove(where), "As everybody")) !== undefined) again();
  };
  return html`<form class="panel" onSubmit=${save} data-test="limits-form">
    <h2>${user} <span class="faint">${tenant}</span></h2>
    <p class="faint">${limits ? "This user has limits of their own."
      : "This user may have what everybody may. Write what shall be different."}</p>
    <div class="fields two">${LIMITS.map(([name, label, about]) =>
      html`<label class="field"><span class="label">${label}</span>
        <input type="number" min="0" value=${draft[name]} placeholder="As everybody" data-test=${`limit-${name}`}
          onInput=${(/** @type {any} */ e) => setDraft({ ...draft, [name]: e.target.value })} />
            <span class="about">${about}</span></label>`)}</div>
    <footer class="form-foot">${limits && html`<button type="button" data-test="limits-reset" onClick=${reset}>As everybody</button>`}
      <button type="submit" class="primary" data-test="limits-save">Save</button></footer>
  </form>`;
}
