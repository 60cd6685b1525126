// The events of threads that somebody looks at: in order, each once, and never more than so many.

import { get, path, query } from "./api.js";
import { signal } from "./html.js";
import { subscribe } from "./socket.js";

/** @typedef {import("./story.js").Event} Event */
/** @typedef {import("./socket.js").Gap} Gap */

/** How many events of a thread are kept in memory. */
export const KEPT = 20_000;
/** How many of them are read when a whole thread is opened, and with each step back. */
export const STEP_BACK = 2_000;
const PAGE = 1_000, CALM = 60, LONGEST_CALM = 1_000, LINGER = 15_000, MOST_GAPS = 50;
const ENDS = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

/** The events of a thread after `start`. */
export class Log {
  /** @param {string} thread @param {number} start */
  constructor(thread, start) {
    this.thread = thread;
    this.start = start;
    this.last = start;
    /** @type {Event[]} */
    this.events = [];
    /** @type {Gap[]} */
    this.gaps = [];
    /** Changes when what was at the front has changed: whoever has folded the events begins again. */
    this.epoch = 0;
    /** Changes when anything has. Many events at once are one change. */
    this.revision = signal(0);
    /** @type {{value: "loading"|"live"|"settled", peek(): string}} */
    this.state = signal("loading");
    /** @type {{value: any, peek(): any}} */
    this.problem = signal(null);
    this.holders = 0;
    this.calm = CALM;
    this.leave = () => {};
  }

  /** @param {Event} event */
  take(event) {
    if (event.seq <= this.last) return;
    if (event.seq > this.last + 1) this.#note({ after: this.last, next: event.seq, reason: "not_kept" });
    this.events.push(event);
    this.last = event.seq;
    if (this.events.length > KEPT + PAGE) this.#forget(this.events.length - KEPT);
    this.#changed();
  }

  /** @param {Gap} gap */
  gap(gap) {
    this.#note(gap);
    if (gap.reason === "not_kept") this.last = Math.max(this.last, gap.next - 1);
    this.#changed();
  }

  /** @param {Gap} gap */
  #note({ after, next, reason }) {
    this.gaps.push({ after, next, reason });
    if (this.gaps.length <= MOST_GAPS) return;
    this.gaps.splice(0, this.gaps.length - MOST_GAPS);
    this.epoch += 1;
  }

  /** @param {number} many */
  #forget(many) {
    this.start = this.events[many - 1].seq;
    this.events.splice(0, many);
    this.gaps = this.gaps.filter((gap) => gap.after >= this.start);
    this.epoch += 1;
  }

  #changed() {
    if (this.pending) return;
    this.pending = true;
    setTimeout(() => {
      const began = performance.now();
      this.pending = false;
      this.revision.value += 1;
      // Drawing has its turn before this comes back: where it takes long, it is done less often.
      setTimeout(() => (this.calm = Math.min(LONGEST_CALM, Math.max(CALM, 3 * (performance.now() - began)))));
    }, this.calm);
  }

  /** Whether there is room for what came before. */
  get mayReachBack() {
    return this.start > 0 && this.events.length < KEPT;
  }

  /** Reads what came before, until `after` or as far as there is room. @param {number} after */
  async reachBack(after) {
    const from = Math.max(after, 0, this.start - (KEPT - this.events.length));
    if (from >= this.start || this.reaching) return;
    this.reaching = true;
    try {
      /** @type {Event[]} */
      const before = [];
      const older = (/** @type {Event} */ event) => event.seq <= this.start && before.push(event) > 0;
      await pages(this.thread, from, older, () => {});
      this.events.unshift(...before);
      this.start = from;
      this.epoch += 1;
      this.#changed();
    } finally {
      this.reaching = false;
    }
  }

  /** Reads what there is, so that it is seen also while the live connection is not there, and then what comes. */
  async begin() {
    let left = false;
    this.leave = () => (left = true);
    const each = (/** @type {Event} */ event) => {
      this.take(event);
      return !left;
    };
    try {
      await pages(this.thread, this.start, each, (gap) => this.gap({ ...gap, reason: "not_kept" }));
    } catch {
      // The thread may not be there yet, or the server: the live connection reads the same, and goes on trying.
    }
    if (left) return;
    this.leave = subscribe(this.thread, this);
    this.state.value = "live";
  }

  /** Reads from the log until a run has ended, and no further. @param {string} run */
  async settle(run) {
    let left = false;
    this.leave = () => (left = true);
    const each = (/** @type {Event} */ event) => {
      this.take(event);
      return !left && !(event.run_id === run && ENDS.has(event.type));
    };
    try {
      await pages(this.thread, this.start, each, (gap) => this.gap({ ...gap, reason: "not_kept" }));
      this.state.value = "settled";
      this.revision.value += 1;
    } catch (problem) {
      this.problem.value = problem;
    }
  }
}

/**
 * Reads a thread's events after `after`, as long as `more` says so.
 * @param {string} thread
 * @param {number|null|undefined} after
 * @param {(event: Event) => boolean} more
 * @param {(gap: {after: number, next: number}) => void} missing
 */
async function pages(thread, after, more, missing) {
  while (after !== null && after !== undefined) {
    const page = await get(path`/v1/threads/${thread}/events` + query({ after, limit: PAGE }));
    if (page.gap) missing(page.gap);
    for (const event of page.events) if (!more(event)) return;
    after = page.next;
  }
}

/** Logs that are followed. @type {Map<string, Log>} */
const followed = new Map();

/**
 * Follows a thread from `after` on. Whoever holds a log releases it.
 * @param {string} thread
 * @param {number} after
 */
export function follow(thread, after) {
  let log = followed.get(thread);
  if (!log) {
    log = new Log(thread, after);
    followed.set(thread, log);
    log.begin();
  }
  log.holders += 1;
  const fresh = log;
  if (after < fresh.start) fresh.reachBack(after).catch((problem) => (fresh.problem.value = problem));
  return fresh;
}

/** @param {Log} log */
export function release(log) {
  log.holders -= 1;
  if (log.holders > 0) return;
  if (followed.get(log.thread) !== log) return log.leave();
  // Somebody who goes back and forth should not read everything again.
  setTimeout(() => {
    if (log.holders > 0 || followed.get(log.thread) !== log) return;
    followed.delete(log.thread);
    log.leave();
  }, LINGER);
}

/** All of them, when somebody else signs in. */
export function forgetLogs() {
  followed.clear();
}

/**
 * The log that shows a run: followed while the run goes on, read once when it has ended.
 * @param {{run_id: string, thread_id: string, ended_at?: string|null}} run
 */
export async function logOf(run) {
  const { events, head } = await get(path`/v1/runs/${run.run_id}/events` + query({ after: 0, limit: 1 }));
  const before = events.length ? events[0].seq - 1 : head;
  if (!run.ended_at) return follow(run.thread_id, Math.max(before, head - KEPT));
  const log = new Log(run.thread_id, before);
  log.holders = 1;
  log.settle(run.run_id);
  return log;
}

/** The log of a whole thread, from a little way back. @param {{thread_id: string, head: number}} thread */
export const logOfThread = (thread) => follow(thread.thread_id, Math.max(0, thread.head - STEP_BACK));
