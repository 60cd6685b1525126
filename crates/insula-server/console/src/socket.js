// One WebSocket for everything. It comes back by itself, goes on where each thread was, and says how it is.

import { post } from "./api.js";
import { signal } from "./html.js";
import { me } from "./session.js";

/** @typedef {import("./story.js").Event} Event */
/** @typedef {{after: number, next: number, head?: number, reason: string}} Gap */
/**
 * Somebody who reads a thread.
 * @typedef {{last: number, take(event: Event): void, gap(gap: Gap): void}} Reader
 */

/**
 * How the connection is. `lost` has `retryAt`; `back` is `open` for a moment after it was lost.
 * @typedef {{state: "off"|"connecting"|"open"|"lost"|"back", retryAt?: number, why?: string}} Connection
 */

/** @type {{value: Connection, peek(): Connection}} */
export const connection = signal({ state: "off" });

const FIRST_PAUSE = 400, LONGEST_PAUSE = 15_000, LONG_PAUSE = 60_000;
const PING_EVERY = 20_000, SILENCE = 50_000, BACK_FOR = 3_500;
const TOO_MANY = 1013, WORTHLESS = 1008;

/** @type {Map<string, Reader>} */
const readers = new Map();
/** @type {WebSocket|null} */
let socket = null;
let wanted = false, attempts = 0, lastHeard = 0;
/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;
/** @type {ReturnType<typeof setInterval>|undefined} */
let pulse;

/** Connects and stays connected. */
export function connect() {
  if (wanted) return;
  wanted = true;
  connection.value = { state: "connecting" };
  open();
}

export function disconnect() {
  wanted = false;
  clearTimeout(timer);
  readers.clear();
  drop();
  connection.value = { state: "off" };
}

/**
 * Delivers a thread's events after the reader's `last`. A thread has one reader.
 * @param {string} thread
 * @param {Reader} reader
 */
export function subscribe(thread, reader) {
  readers.set(thread, reader);
  send({ type: "subscribe", thread_id: thread, after: reader.last });
  return () => {
    if (readers.get(thread) !== reader) return;
    readers.delete(thread);
    send({ type: "unsubscribe", thread_id: thread });
  };
}

/** Does not wait any longer for the next attempt. */
export function retryNow() {
  if (connection.peek().state !== "lost") return;
  clearTimeout(timer);
  open();
}

/** @param {object} command */
function send(command) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
}

async function open() {
  try {
    const { ticket } = await post("/v1/tickets");
    if (!wanted) return;
    const address = new URL(`/v1/socket?ticket=${encodeURIComponent(ticket)}`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    listen(new WebSocket(address));
  } catch (error) {
    lost(/** @type {Error} */ (error).message);
  }
}

/** @param {WebSocket} fresh */
function listen(fresh) {
  socket = fresh;
  fresh.onopen = () => opened();
  fresh.onmessage = ({ data }) => heard(data);
  fresh.onclose = ({ code }) => {
    if (socket === fresh) closed(code);
  };
}

function opened() {
  const wasLost = attempts > 0;
  attempts = 0;
  lastHeard = Date.now();
  for (const [thread, reader] of readers) send({ type: "subscribe", thread_id: thread, after: reader.last });
  pulse = setInterval(beat, PING_EVERY);
  connection.value = { state: wasLost ? "back" : "open" };
  if (wasLost) setTimeout(() => connection.peek().state === "back" && (connection.value = { state: "open" }), BACK_FOR);
}

/** A connection that only looks alive is no connection. */
function beat() {
  if (Date.now() - lastHeard > SILENCE) {
    drop();
    lost("Nothing was heard for a while.");
  } else {
    send({ type: "ping" });
  }
}

/** @param {string} text */
function heard(text) {
  lastHeard = Date.now();
  /** @type {any} */
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return;
  }
  const reader = readers.get(frame.thread_id);
  if (frame.type === "event") reader?.take(frame.event);
  if (frame.type === "gap") reader?.gap(frame);
}

/** @param {number} code */
function closed(code) {
  drop();
  if (!wanted) return;
  if (code === TOO_MANY) lost("This user has more live connections open than are allowed.", LONG_PAUSE);
  else lost(code === WORTHLESS ? "The server wants to know who this is." : "");
}

function drop() {
  clearInterval(pulse);
  const old = socket;
  socket = null;
  old?.close();
}

/** @param {string} why */
function lost(why, least = 0) {
  if (!wanted || !me.peek()) return;
  const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempts) * (0.75 + Math.random() / 2);
  attempts += 1;
  const wait = Math.max(least, pause);
  connection.value = { state: "lost", retryAt: Date.now() + wait, why };
  clearTimeout(timer);
  timer = setTimeout(open, wait);
}

addEventListener("online", retryNow);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) retryNow();
});
