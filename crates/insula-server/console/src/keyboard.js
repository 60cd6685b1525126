// The keyboard: where keys lead, and how lists are walked.

import { signal } from "./html.js";
import { go } from "./route.js";

/** Whether the map of the keys is shown. */
export const mapShown = signal(false);

/** After `g`. @type {Record<string, {to: string[], name: string, role?: string}>} */
export const PLACES = {
  r: { to: ["runs"], name: "Runs" },
  t: { to: ["threads"], name: "Threads" },
  i: { to: ["inbox"], name: "Inbox" },
  n: { to: ["start"], name: "Start a run" },
  a: { to: ["agents"], name: "Agents" },
  s: { to: ["schedules"], name: "Schedules" },
  u: { to: ["usage"], name: "Usage" },
  k: { to: ["keys"], name: "Keys" },
  w: { to: ["webhooks"], name: "Webhooks" },
  l: { to: ["audit"], name: "Audit log" },
  o: { to: ["operator"], name: "Overview", role: "operator" },
};

/** Everything else. @type {[string, string][]} */
export const KEYS = [
  ["/", "Search or filter"],
  ["j  k", "Next and previous in a list"],
  ["Enter", "Open, or unfold"],
  ["c", "Start a run"],
  ["f", "Follow the end of a run"],
  ["[  ]", "Replay: one event back, one on"],
  ["p", "Replay: play and pause"],
  ["d", "Light, dark, as the system"],
  ["?", "This map"],
  ["Esc", "Close, or leave a field"],
];

const PATIENCE = 1_200;
let gAt = -PATIENCE;

/** Keys that a view has taken for itself. @type {Map<string, () => void>} */
const taken = new Map();

/**
 * A view's own key, until the function that comes back is called.
 * @param {string} key
 * @param {() => void} act
 */
export function onKey(key, act) {
  taken.set(key, act);
  return () => {
    if (taken.get(key) === act) taken.delete(key);
  };
}

/** @param {EventTarget|null} target */
const isTyping = (target) => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  && !/^(range|radio|checkbox)$/.test(/** @type {any} */ (target).type);

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (act(event.key)) event.preventDefault();
}

/** @param {string} key @returns {boolean} whether the key was for us */
function act(key) {
  const place = performance.now() - gAt < PATIENCE ? PLACES[key] : undefined;
  gAt = -PATIENCE;
  if (place) return go(place.to), true;
  if (key === "g") return (gAt = performance.now()), true;
  if (key === "?") return (mapShown.value = true);
  if (key === "c") return go(["start"]), true;
  if (key === "/") return focusSearch();
  if (key === "j" || key === "k") return step(key === "j" ? 1 : -1);
  const own = taken.get(key);
  own?.();
  return Boolean(own);
}

function focusSearch() {
  const field = /** @type {HTMLInputElement|null} */ (document.querySelector("[data-search]"));
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** @param {number} by */
function step(by) {
  const rows = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-row]"))];
  if (rows.length === 0) return false;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  return true;
}

addEventListener("keydown", pressed);
