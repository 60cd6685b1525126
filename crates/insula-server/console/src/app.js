// Which view a place leads to, and what is around all of them.

import { Component, html, useEffect, useSignal } from "./html.js";
import { Confirm } from "./parts/dialog.js";
import { Empty } from "./parts/basics.js";
import { Mark } from "./parts/icon.js";
import { Banner } from "./parts/banner.js";
import { KeyMap } from "./parts/keymap.js";
import { Nav } from "./parts/nav.js";
import { Toasts } from "./parts/toast.js";
import { place } from "./route.js";
import { farewell, me } from "./session.js";
import { AgentView, AgentsView } from "./views/agents.js";
import { AuditView } from "./views/audit.js";
import { InboxView } from "./views/inbox.js";
import { KeysView } from "./views/keys.js";
import { LimitsView } from "./views/limits.js";
import { OperatorView } from "./views/operator.js";
import { PeopleView } from "./views/people.js";
import { RunView } from "./views/run.js";
import { RunsView } from "./views/runs.js";
import { SchedulesView } from "./views/schedules.js";
import { SignIn } from "./views/signin.js";
import { StartView } from "./views/start.js";
import { ThreadView, ThreadsView } from "./views/threads.js";
import { UsageView } from "./views/usage.js";
import { WebhooksView } from "./views/webhooks.js";

/** @type {Record<string, {view: any, one?: any, title: string, role?: string}>} */
const VIEWS = {
  runs: { view: RunsView, one: RunView, title: "Runs" },
  threads: { view: ThreadsView, one: ThreadView, title: "Threads" },
  inbox: { view: InboxView, title: "Inbox" },
  start: { view: StartView, title: "Start a run" },
  agents: { view: AgentsView, one: AgentView, title: "Agents" },
  schedules: { view: SchedulesView, title: "Schedules" },
  usage: { view: UsageView, title: "Usage" },
  keys: { view: KeysView, title: "Keys" },
  webhooks: { view: WebhooksView, title: "Webhooks" },
  audit: { view: AuditView, title: "Audit log" },
  operator: { view: OperatorView, title: "Overview", role: "operator" },
  people: { view: PeopleView, title: "Everybody's keys", role: "admin" },
  limits: { view: LimitsView, title: "Limits", role: "admin" },
};

export function App() {
  const who = useSignal(me);
  const why = useSignal(farewell);
  if (who === undefined) return html`<div class="boot" role="status"><${Mark} /><p>${why || ""}</p></div>`;
  if (who === null) return html`<${SignIn} />`;
  return html`<${Shell} roles=${who.roles} />`;
}

/** @param {{roles: string[]}} props */
function Shell({ roles }) {
  const { path } = useSignal(place);
  const [name = "runs", id] = path;
  const entry = VIEWS[name];
  const title = entry?.title ?? "Nothing here";
  useEffect(() => {
    document.title = `${id ? `${id} · ` : ""}${title} · Insula`;
  }, [title, id]);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Nav} at=${name} title=${title} />
    <main id="main" tabIndex="-1">
      <${Banner} />
      <${Fence} key=${path.join("/")}>${content(entry, id, roles)}</${Fence}>
    </main>
    <${Toasts} /><${Confirm} /><${KeyMap} />
  </div>`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @param {typeof VIEWS[string]|undefined} entry @param {string|undefined} id @param {string[]} roles */
function content(entry, id, roles) {
  if (!entry || (id && !entry.one))
    return html`<${Empty} icon="search" title="Nothing is at this address"><p><a href="#/runs">Go to the runs</a></p></${Empty}>`;
  if (entry.role && !roles.includes(entry.role))
    return html`<${Empty} icon="keys" title=${`Only for the role ${entry.role}`}>
      <p>The key that you signed in with does not have it.</p></${Empty}>`;
  return id ? html`<${entry.one} id=${id} />` : html`<${entry.view} />`;
}

/** A view that breaks does not take the others with it. */
class Fence extends Component {
  /** @param {Error} error */
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render() {
    const { error } = /** @type {any} */ (this.state);
    if (!error) return this.props.children;
    return html`<div class="note bad" role="alert"><strong>This view has a fault</strong><p>${String(error.message)}</p>
      <footer><button type="button" class="small" onClick=${() => this.setState({ error: null })}>Draw it again</button></footer></div>`;
  }
}
