// What the events of a log tell: runs, and in each of them what was thought, called, awaited and said. Events are folded in
// one by one; nothing here knows of a screen.

/**
 * @typedef {{seq: number, type: string, thread_id: string, run_id: string, parent_run_id?: string|null, agent: string,
 *   timestamp: string, data: any}} Event
 */

/**
 * One thing that happened, from `at` to `until` (open while that is missing).
 * @typedef {object} Row
 * @property {string} kind `run`, `thinking`, `tool`, `step`, `text`, `model`, `waiting`, `resumed`, `queued`, `custom`, `warning`,
 *   `undoing`, `end`, `gap`, `other`
 * @property {string} type the type of its first event
 * @property {number} seq of its first event
 * @property {number} last the `seq` of its last event
 * @property {number} at milliseconds since 1970
 * @property {number} [until]
 * @property {string} [status]
 * @property {any} data of its first event
 * @property {any} [ended] data of the event that closed it
 * @property {string} [text]
 * @property {Run} [run] whose row it is
 * @property {Run} [child] the run that a `run` row stands for
 */

/**
 * @typedef {object} Run
 * @property {string} id
 * @property {string} agent
 * @property {Run} [parent]
 * @property {number} depth
 * @property {string} status
 * @property {number} at
 * @property {number} [until]
 * @property {Row} row that it has in its parent, or at the top
 * @property {Row[]} rows
 * @property {Map<string, Row>} tools open calls
 * @property {Row[]} waits open waits, oldest first
 * @property {Row} [end]
 * @property {any} [started]
 */

/** How a run's end is called. @type {Record<string, string>} */
const ENDS = { agent_completed: "completed", agent_failed: "failed", agent_cancelled: "cancelled" };
/** Which kind of wait an `agent_resumed` has ended. @type {Record<string, string>} */
const ENDED_BY = { answered: "human", expired: "human", timer: "timer", child: "child", reconciled: "reconcile" };

export class Story {
  /** @param {{root?: string}} [options] `root`: only this run and what it has started */
  constructor({ root } = {}) {
    this.root = root;
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    /** @type {Row[]} */
    this.rows = [];
    this.seq = 0;
    this.start = NaN;
    this.at = NaN;
    this.events = 0;
    this.openTools = 0;
    this.openWaits = 0;
    /** Stretches in which everybody only waited. @type {[number, number][]} */
    this.quiet = [];
  }

  /** @param {Event} event */
  add(event) {
    if (!this.#concerns(event)) return;
    const at = instant(event.timestamp);
    this.#pass(at);
    const run = this.#run(event, at);
    this.seq = event.seq;
    this.events += 1;
    // The pause before a new attempt is over when the run does something again.
    if (event.type !== "agent_resumed") closeWait(this, run, run.waits.find((wait) => wait.data.attempt), event, at);
    (HANDLERS[event.type] ?? HANDLERS.other)(this, run, event, at);
    run.status = statusOf(run);
  }

  /** Events that are missing here, or came late. @param {{after: number, next: number, reason: string}} gap */
  gap(gap) {
    const last = this.rows.at(-1);
    const run = last?.child;
    const row = { kind: "gap", type: "gap", seq: gap.after, last: gap.after, at: this.at, data: gap, run };
    (run && !run.end ? run.rows : this.rows).push(row);
  }

  /** @param {Event} event */
  #concerns(event) {
    if (!this.root || event.run_id === this.root) return true;
    return Boolean(event.parent_run_id && this.runs.has(event.parent_run_id));
  }

  /** @param {number} at */
  #pass(at) {
    if (Number.isNaN(this.start)) this.start = at;
    if (at - this.at > 1_000 && this.openTools === 0 && this.openWaits > 0) this.quiet.push([this.at, at]);
    this.at = Number.isNaN(this.at) ? at : Math.max(this.at, at);
  }

  /** @param {Event} event @param {number} at @returns {Run} */
  #run(event, at) {
    const known = this.runs.get(event.run_id);
    if (known) return known;
    const parent = event.parent_run_id ? this.runs.get(event.parent_run_id) : undefined;
    const depth = parent ? parent.depth + 1 : 0;
    /** @type {Row} */
    const row = { kind: "run", type: event.type, seq: event.seq, last: event.seq, at, data: {}, run: parent };
    /** @type {Run} */
    const run = { id: event.run_id, agent: event.agent, parent, depth, status: "queued", at, row, rows: [], tools: new Map(), waits: [] };
    row.child = run;
    this.runs.set(run.id, run);
    (parent ? parent.rows : this.rows).push(row);
    return run;
  }
}

/**
 * Milliseconds with a fraction: the log has microseconds, and most steps take less than one of these.
 * @param {string} timestamp
 */
export function instant(timestamp) {
  const finer = /\.\d{3}(\d+)/.exec(timestamp);
  return Date.parse(timestamp) + (finer ? Number(`0.${finer[1]}`) : 0);
}

/** @param {Run} run */
function statusOf(run) {
  if (run.end) return /** @type {string} */ (run.end.status);
  // A call that was interrupted is open until somebody knows what became of it.
  const isStuck = run.waits.some((wait) => wait.data.waiting_for === "reconcile");
  if (isStuck || (run.waits.length > 0 && run.tools.size === 0)) return "waiting";
  return run.started ? "running" : "queued";
}

/**
 * @param {Run} run
 * @param {string} kind
 * @param {Event} event
 * @param {number} at
 * @param {Partial<Row>} [more]
 */
function push(run, kind, event, at, more = {}) {
  /** @type {Row} */
  const row = { kind, type: event.type, seq: event.seq, last: event.seq, at, data: event.data ?? {}, run, ...more };
  run.rows.push(row);
  return row;
}

/** @param {Row} row @param {Event} event @param {number} at @param {string} [status] */
function close(row, event, at, status) {
  row.until = at;
  row.last = event.seq;
  row.status = status ?? row.status;
  row.ended = event.data;
}

/** @param {Story} story @param {Run} run @param {Row|undefined} wait @param {Event} event @param {number} at */
function closeWait(story, run, wait, event, at) {
  if (!wait) return;
  run.waits.splice(run.waits.indexOf(wait), 1);
  story.openWaits -= 1;
  close(wait, event, at, "over");
}

/** @typedef {(story: Story, run: Run, event: Event, at: number) => void} Handler */
/** @type {Handler} */
function end(story, run, event, at) {
  for (const row of run.tools.values()) close(row, event, at, "abandoned");
  for (const wait of [...run.waits]) closeWait(story, run, wait, event, at);
  story.openTools -= run.tools.size;
  run.tools.clear();
  const step = run.rows.findLast((row) => row.kind === "step" && row.until === undefined);
  if (step) close(step, event, at, "abandoned");
  run.end = push(run, "end", event, at, { status: ENDS[event.type], until: at });
  run.until = at;
  close(run.row, event, at, run.end.status);
  const parent = run.parent;
  if (parent) closeWait(story, parent, parent.waits.find((wait) => wait.data.run_id === run.id), event, at);
}

/** @type {Handler} */
function toolCompleted(story, run, event, at) {
  const { call_id: call, status, duration_ms: took } = event.data;
  const row = run.tools.get(call) ?? push(run, "tool", event, at - (took ?? 0));
  if (run.tools.delete(call)) story.openTools -= 1;
  close(row, event, at, status);
}

/** @type {Handler} */
function stepCompleted(_, run, event, at) {
  const { index } = event.data;
  const open = run.rows.findLast((row) => row.kind === "step" && row.until === undefined && row.data.index === index);
  close(open ?? push(run, "step", event, at), event, at, "ok");
}

/** @type {Handler} */
function textDelta(_, run, event, at) {
  const before = run.rows.at(-1);
  const row = before?.kind === "text" ? before : push(run, "text", event, at, { text: "" });
  row.text += event.data.text ?? "";
  row.last = event.seq;
  row.until = at;
}

/** @type {Handler} */
function resumed(story, run, event, at) {
  const { why } = event.data;
  const kind = ENDED_BY[why];
  const wait = kind ? run.waits.find((row) => row.data.waiting_for === kind) : why === "given_up" ? run.waits.at(-1) : undefined;
  closeWait(story, run, wait, event, at);
  if (wait) wait.status = why;
  push(run, "resumed", event, at, { until: at });
}

/** @param {string} kind @returns {Handler} */
const moment = (kind) => (_, run, event, at) => void push(run, kind, event, at, { until: at });

/** @type {Record<string, Handler>} */
const HANDLERS = {
  agent_started(_, run, event, at) {
    run.started = event.data;
    run.row.data = event.data;
    run.row.type = event.type;
    run.row.seq = event.seq;
    run.at = at;
  },
  agent_thinking: moment("thinking"),
  tool_executing(story, run, event, at) {
    const before = run.tools.get(event.data.call_id);
    if (before) {
      close(before, event, at, "interrupted");
      story.openTools -= 1;
    }
    run.tools.set(event.data.call_id, push(run, "tool", event, at, { status: "running" }));
    story.openTools += 1;
  },
  tool_completed: toolCompleted,
  step_started: (_, run, event, at) => void push(run, "step", event, at, { status: "running" }),
  step_completed: stepCompleted,
  text_delta: textDelta,
  model_completed(_, run, event, at) {
    push(run, "model", event, at - (event.data.duration_ms ?? 0), { until: at, status: "ok" });
  },
  agent_waiting(story, run, event, at) {
    run.waits.push(push(run, "waiting", event, at, { status: "waiting" }));
    story.openWaits += 1;
  },
  agent_resumed: resumed,
  agent_queued: moment("queued"),
  custom: moment("custom"),
  budget_warning: moment("warning"),
  agent_undoing: moment("undoing"),
  agent_completed: end,
  agent_failed: end,
  agent_cancelled: end,
  other: moment("other"),
};

/**
 * Folds a log, as of an event, into a story. Goes on with `before` where that is possible.
 * @param {import("./logs.js").Log} log
 * @param {{root?: string, until?: number, before?: any}} options
 * @returns {any}
 */
export function tell(log, { root, until = Infinity, before }) {
  const goesOn = before && before.epoch === log.epoch && before.root === root && before.seq <= until && before.until <= until &&
    before.log === log;
  /** @type {any} */
  const story = goesOn ? before : Object.assign(new Story({ root }), { epoch: log.epoch, cursor: 0, noted: 0, log });
  story.until = until;
  for (; story.cursor < log.events.length && log.events[story.cursor].seq <= until; story.cursor += 1) {
    const event = log.events[story.cursor];
    tellGaps(story, log, event.seq);
    story.add(event);
  }
  tellGaps(story, log, Math.min(until, log.last) + 1);
  return story;
}

/** @param {any} story @param {import("./logs.js").Log} log @param {number} seq */
function tellGaps(story, log, seq) {
  for (; story.noted < log.gaps.length && log.gaps[story.noted].after < seq; story.noted += 1) story.gap(log.gaps[story.noted]);
}

/**
 * The rows in the order in which they are read: a run's row, then what it did, its children's in their place.
 * @param {Row[]} rows
 * @param {{folded?: Set<string>, keep?: (row: Row) => boolean}} [options]
 * @returns {{row: Row, depth: number}[]}
 */
export function unfold(rows, { folded = new Set(), keep = () => true } = {}) {
  /** @type {{row: Row, depth: number}[]} */
  const flat = [];
  /** @param {Row[]} some @param {number} depth */
  const walk = (some, depth) => {
    for (const row of some) {
      if (keep(row)) flat.push({ row, depth });
      if (row.child && !folded.has(row.child.id)) walk(row.child.rows, depth + 1);
    }
  };
  walk(rows, 0);
  return flat;
}
