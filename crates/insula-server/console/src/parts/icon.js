// Small line drawings, sixteen units wide, drawn in the colour of the text around them.

import { html } from "../html.js";

/** @type {Record<string, string>} */
const PATHS = {
  runs: "M3 4h10M3 8h7M3 12h4",
  threads: "M2.5 3.5h11v7h-6l-3 2.5v-2.5h-2z",
  inbox: "M2.5 9.5 4 3.5h8l1.5 6v3h-11zM2.5 9.5h3.2l.8 1.5h3l.8-1.5h3.2",
  start: "M5 3.2v9.6l7.5-4.8z",
  agents: "M8 2.5 13 5.2v5.6L8 13.5 3 10.8V5.2zM8 8v5.5M8 8l5-2.8M8 8 3 5.2",
  schedules: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3.2l2.2 1.3",
  usage: "M3 13V8.5M6.4 13V5M9.7 13V7M13 13V3",
  keys: "M6 10a3 3 0 1 0-2.9 3A3 3 0 0 0 6 10zM5.3 8 12 2.5M9.5 4.6l1.8 2",
  webhooks: "M7.8 5.8 5.5 10M8 2.5a2 2 0 0 1 1.7 3L11.5 9M3 11a2 2 0 1 0 3.8.5h4M11 9.2a2 2 0 1 1-.6 3.3",
  audit: "M4 2.5h6l2.5 2.5v8.5H4zM6.5 7h3.5M6.5 9.5h3.5",
  operator: "M2 8.5h2.8L6.5 4l3 8 1.7-3.5H14",
  limits: "M3 12a5.5 5.5 0 1 1 10 0M8 9.5 10.5 6",
  people: "M6 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM1.8 13c.3-2.4 2-3.7 4.2-3.7s3.9 1.3 4.2 3.7M10.5 3.2a2.3 2.3 0 0 1 0 4.1M12 9.6c1.3.5 2 1.7 2.2 3.4",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M12.8 9.7A5.3 5.3 0 0 1 6.3 3.2a5.3 5.3 0 1 0 6.5 6.5z",
  half: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  out: "M6.5 3H3v10h3.5M7 8h6.5M11 5.5 13.5 8 11 10.5",
  help: "M6 6.2A2 2 0 1 1 8.3 8.1c-.3.2-.3.5-.3 1M8 11.5v.1",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  close: "M4 4l8 8M12 4l-8 8",
  chevron: "M6 4l4 4-4 4",
  check: "M3.5 8.5 6.5 11.5 12.5 4.8",
  stop: "M4.5 4.5h7v7h-7z",
  retry: "M12.5 6.5A5 5 0 1 0 13 9M12.8 3v3.5H9.3",
  fork: "M5 3v10M5 9c0-2.5 6-1.5 6-5M11 4.6a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6z",
  copy: "M5.5 5.5h7v7h-7zM3.5 10.5v-7h7",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  play: "M5 3.2v9.6l7.5-4.8z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  live: "M8 7a1 1 0 1 0 0 2 1 1 0 0 0 0-2M4.8 4.8a4.5 4.5 0 0 0 0 6.4M11.2 4.8a4.5 4.5 0 0 1 0 6.4",
  down: "M8 3v8M4.5 8 8 11.5 11.5 8M3.5 13.5h9",
  up: "M8 11.5v-8M4.5 6.5 8 3l3.5 3.5M3.5 13.5h9",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  search: "M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM10.2 10.2l3 3",
  // Things that happen in a run.
  run: "M8 2.5 13 5.2v5.6L8 13.5 3 10.8V5.2z",
  thinking: "M4 8h.01M8 8h.01M12 8h.01",
  tool: "M9.8 3.2a3 3 0 0 0-3.7 4L3 10.3 5.7 13l3.1-3.1a3 3 0 0 0 4-3.7L11 8 8.5 7.5 8 5z",
  step: "M8 4.5 11.5 8 8 11.5 4.5 8z",
  text: "M3 4.5h10M3 8h10M3 11.5h6",
  model: "M8 2.5c.6 3 2.5 4.9 5.5 5.5-3 .6-4.9 2.5-5.5 5.5-.6-3-2.5-4.9-5.5-5.5 3-.6 4.9-2.5 5.5-5.5z",
  waiting: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3zM8 5.5V8l1.8 1.2",
  human: "M8 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM3.5 13c.3-2.4 2.2-3.7 4.5-3.7s4.2 1.3 4.5 3.7",
  resumed: "M3.5 3.5v9M6.5 3.5v9l6.5-4.5z",
  queued: "M3 5h10M3 8h10M3 11h10",
  custom: "M8 3.2l1.4 3.2 3.4.3-2.6 2.3.8 3.4L8 10.6l-3 1.8.8-3.4-2.6-2.3 3.4-.3z",
  warning: "M8 3 13.5 12.5h-11zM8 6.5v3M8 11v.1",
  undoing: "M5.5 3.5 3 6l2.5 2.5M3 6h6a3.5 3.5 0 0 1 0 7H6",
  completed: "M3.5 8.5 6.5 11.5 12.5 4.8",
  failed: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  cancelled: "M4.5 4.5h7v7h-7z",
  gap: "M8 2.5v2.5M8 6.8v2.4M8 11v2.5",
  other: "M8 7.5a.5.5 0 1 0 0 1 .5.5 0 0 0 0-1",
};

/** @param {{name: string}} props */
export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name] ?? PATHS.other} /></svg>`;

/** The plan of a house: walls, rooms, a gate, and the court in the middle, which is the island. */
export const Mark = () => html`<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
  <path d="M10 21H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2h-5M3 9.5h3M18 14.5h3M14.5 3v3M10 21v-3M14 21v-3" />
  <rect x="9" y="9" width="6" height="6" rx="1" />
</svg>`;
