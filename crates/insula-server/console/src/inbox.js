// The open questions of this user: one list for the badge, the page and the runs.

import { get } from "./api.js";
import { signal } from "./html.js";
import { me } from "./session.js";

/**
 * @typedef {{run_id: string, thread_id: string, agent: string, index: number, waiting_for: string, asked_at: string, expires_at?: string|null,
 *   question: {text: string, choices?: string[], schema?: any}}} Open
 */

/** @type {{value: {items: Open[]|undefined, problem: any}, peek(): {items: Open[]|undefined, problem: any}}} */
export const inbox = signal({ items: undefined, problem: null });

const EVERY = 8_000, SOON = 250, MOST = 200;
/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;

export async function refreshInbox() {
  clearTimeout(timer);
  if (!me.peek()) return;
  try {
    const page = await get(`/v1/inbox?limit=${MOST}`);
    inbox.value = { items: page.items, problem: null };
  } catch (problem) {
    inbox.value = { ...inbox.peek(), problem };
  }
  again(EVERY);
}

/** Somebody has been asked something, or has answered: look soon. */
export const inboxChanged = () => again(SOON);

/** @param {number} pause */
function again(pause) {
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? again(EVERY) : refreshInbox()), pause);
}
