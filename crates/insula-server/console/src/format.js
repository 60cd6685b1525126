// Numbers, times and values as people read them.

import { now } from "./clock.js";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** Milliseconds below a second, tenths below a minute. @param {number|null|undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 0) return "0 ms";
  if (ms > 0 && ms < 0.95) return `${Math.round(ms * 1_000)} µs`;
  if (ms < 10) return `${trim(ms.toFixed(1))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${trim((ms / 1_000).toFixed(1))} s`;
  if (ms < HOUR) return pair(ms / MINUTE, "m", ms / 1_000, "s");
  if (ms < DAY) return pair(ms / HOUR, "h", ms / MINUTE, "m");
  return pair(ms / DAY, "d", ms / HOUR, "h", 24);
}

const trim = (/** @type {string} */ digits) => digits.replace(/\.0$/, "");

/** @param {number} large @param {string} a @param {number} small @param {string} b */
function pair(large, a, small, b, base = 60) {
  const rest = Math.floor(small % base);
  return rest ? `${Math.floor(large)}${a} ${rest}${b}` : `${Math.floor(large)}${a}`;
}

/** How long ago, or in how long. @param {string|number|null|undefined} time */
export function ago(time, at = now()) {
  const then = time ? millis(time) : NaN;
  if (Number.isNaN(then)) return "–";
  const ms = at - then;
  if (Math.abs(ms) < 5_000) return "now";
  const words = rough(Math.abs(ms));
  return ms > 0 ? `${words} ago` : `in ${words}`;
}

/** @param {number} ms */
function rough(ms) {
  if (ms < MINUTE) return `${Math.round(ms / 1_000)} s`;
  if (ms < HOUR) return `${Math.round(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.round(ms / HOUR)} h`;
  return `${Math.round(ms / DAY)} d`;
}

/** Milliseconds since 1970. @param {string|number} time */
export const millis = (time) => (typeof time === "number" ? time : Date.parse(time));

const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** @param {string|number|null|undefined} time */
export const dateTime = (time) => (time && !Number.isNaN(millis(time)) ? whole.format(millis(time)) : "–");
/** @param {string|number} time */
export const clock = (time) => clockTime.format(millis(time));
/** With the day where that is not today. @param {string|number} time */
export const moment = (time) => (Math.abs(millis(time) - now()) > DAY / 2 ? dateTime(time) : clock(time));

/** Time since the beginning, as a timeline shows it. @param {number} ms */
export function offset(ms) {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms === 0) return "0";
  if (ms < 1) return `+${duration(ms)}`;
  if (ms < 100) return `+${trim(ms.toFixed(1))} ms`;
  if (ms < MINUTE) return `+${(ms / 1_000).toFixed(2)} s`;
  return `+${duration(ms)}`;
}

const counts = new Intl.NumberFormat();
/** @param {number|null|undefined} n */
export const count = (n) => (n === null || n === undefined ? "–" : counts.format(n));

const compactCounts = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
/** @param {number} n */
export const compact = (n) => (n < 10_000 ? counts.format(n) : compactCounts.format(n));

/** Millionths of the installation's currency. @param {number|null|undefined} millionths */
export function money(millionths) {
  const whole = (millionths ?? 0) / 1e6;
  return whole.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: whole && whole < 1 ? 4 : 2 });
}

/** @param {number} size */
export function bytes(size) {
  if (size < 1_024) return `${size} B`;
  if (size < 1_048_576) return `${(size / 1_024).toFixed(1)} KiB`;
  return `${(size / 1_048_576).toFixed(1)} MiB`;
}

/** `1 event`, `2 events`. @param {number} n @param {string} one */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** An id in few characters: what people compare is its end. @param {string|null|undefined} id */
export function shortId(id) {
  if (!id) return "–";
  return id.length > 18 ? `${id.slice(0, 6)}…${id.slice(-8)}` : id;
}

/** A value in one short line. @param {unknown} value @param {number} [most] */
export function brief(value, most = 140) {
  const reference = payloadOf(value);
  if (reference) return `${bytes(reference.bytes)}, kept by reference`;
  let text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  text = text.slice(0, most * 4).replace(/\s+/g, " ").trim();
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/**
 * A value that is kept by reference.
 * @param {any} value
 * @returns {{hash: string, bytes: number}|null}
 */
export function payloadOf(value) {
  if (!value || typeof value !== "object" || typeof value.$payload !== "string") return null;
  return { hash: value.$payload, bytes: Number(value.bytes) || 0 };
}

/** A name with spaces for its lines. @param {string} name */
export const words = (name) => name.replaceAll("_", " ");
