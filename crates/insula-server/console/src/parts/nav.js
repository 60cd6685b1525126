// Where one can go. A column beside the page; on a narrow screen a bar with a drawer.

import { html, useEffect, useSignal, useState } from "../html.js";
import { inbox } from "../inbox.js";
import { mapShown, onKey } from "../keyboard.js";
import { place } from "../route.js";
import { me, signOut } from "../session.js";
import { connection } from "../socket.js";
import { theme, turnTheme } from "../theme.js";
import { Icon, Mark } from "./icon.js";

/** @type {{name: string, role?: string, links: [string, string][]}[]} */
const GROUPS = [
  { name: "Work", links: [["runs", "Runs"], ["threads", "Threads"], ["inbox", "Inbox"]] },
  { name: "Catalogue", links: [["agents", "Agents"], ["schedules", "Schedules"], ["usage", "Usage"]] },
  { name: "Account", links: [["keys", "Keys"], ["webhooks", "Webhooks"], ["audit", "Audit log"]] },
  { name: "Operate", role: "operator", links: [["operator", "Overview"]] },
  { name: "Administer", role: "admin", links: [["people", "Everybody's keys"], ["limits", "Limits"]] },
];

/** @param {{at: string, title: string}} props */
export function Nav({ at, title }) {
  const [isOpen, open] = useState(false);
  const { hash } = useSignal(place);
  useEffect(() => open(false), [hash]);
  useEffect(() => onKey("d", turnTheme), []);
  useEffect(() => (isOpen ? onKey("Escape", () => open(false)) : undefined), [isOpen]);
  return html`<header class="bar">
      <button type="button" class="quiet square" aria-label="Menu" aria-expanded=${isOpen} data-test="menu" onClick=${() => open(!isOpen)}>
        <${Icon} name=${isOpen ? "close" : "menu"} /></button>
      <a class="brand" href="#/runs" aria-label="Insula"><${Mark} /></a><span class="bar-title">${title}</span>
        <${Lamp} test="bar-connection" />
      <a class="button primary small" href="#/start">Start</a>
    </header>
    ${isOpen && html`<div class="veil" onClick=${() => open(false)}></div>`}
    <nav class=${isOpen ? "side open" : "side"} aria-label="Console">
      <a class="brand" href="#/runs"><${Mark} /><span>Insula</span></a>
      <a class="button primary wide" href="#/start" data-test="nav-start" aria-current=${at === "start" ? "page" : undefined}>
        <${Icon} name="plus" />Start a run</a>
      <${Groups} at=${at} />
      <${Foot} />
    </nav>`;
}

/** @param {{at: string}} props */
function Groups({ at }) {
  const roles = useSignal(me)?.roles ?? [];
  const questions = useSignal(inbox).items?.length ?? 0;
  return html`<div class="groups">${GROUPS.filter((group) => !group.role || roles.includes(group.role)).map((group) => html`<section>
    <h2>${group.name}</h2>
    <ul>${group.links.map(([name, label]) =>
      html`<li><a href=${`#/${name}`} data-test=${`nav-${name}`} aria-current=${at === name ? "page" : undefined}>
      <${Icon} name=${name} /><span>${label}</span>
        ${name === "inbox" && questions > 0 &&
          html`<span class="badge" data-test="inbox-count" aria-label=${`${questions} open`}>${questions}</span>`}
    </a></li>`)}</ul>
  </section>`)}</div>`;
}

const LAMPS = { off: "Not connected", connecting: "Connecting…", open: "Live", lost: "Reconnecting…", back: "Live" };

/** The live connection, as a light. @param {{test: string}} props */
function Lamp({ test }) {
  const { state } = useSignal(connection);
  return html`<span class="lamp" data-state=${state} data-test=${test} title="The live connection"><i class="dot" aria-hidden="true"></i>
    <span>${LAMPS[state]}</span></span>`;
}

const THEMES = /** @type {Record<string, [string, string]>} */
  ({ system: ["half", "Theme: as the system"], light: ["sun", "Theme: light"], dark: ["moon", "Theme: dark"] });

function Foot() {
  const who = useSignal(me);
  const [icon, label] = THEMES[useSignal(theme)];
  if (!who) return null;
  return html`<footer class="side-foot">
    <div class="who"><b title=${`tenant ${who.tenant_id}`}>${who.user_id}</b>
      <span class="faint">${who.access === "read" ? "read only" : who.tenant_id}</span></div>
    <div class="side-tools">
      <${Lamp} test="connection" />
      <button type="button" class="quiet square" title=${label} aria-label=${label} data-test="theme-toggle" onClick=${turnTheme}>
        <${Icon} name=${icon} /></button>
      <button type="button" class="quiet square" title="Keys (?)" aria-label="Map of the keys" data-test="help" onClick=${() =>
        (mapShown.value = true)}><${Icon} name="help" /></button>
      <button type="button" class="quiet square" title="Sign out" aria-label="Sign out" data-test="sign-out" onClick=${() => signOut()}>
        <${Icon} name="out" /></button>
    </div>
  </footer>`;
}
