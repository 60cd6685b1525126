// A log as of an earlier moment: a slider over its events, by hand or played.

import { html, useEffect, useRef, useState } from "../html.js";
import { onKey } from "../keyboard.js";
import { Icon } from "./icon.js";

/** How much faster than it happened. */
const SPEEDS = [1, 4, 16, 64];
const LONGEST_PAUSE = 800, SHORTEST_PAUSE = 16;

/**
 * The place of the last event with this `seq` or a smaller one; -1 before the first.
 * @param {{seq: number}[]} events
 * @param {number} seq
 */
export function placeOf(events, seq) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * @typedef {{seq: number|null, go: (seq: number|null) => void, step: (by: number) => void, playing: boolean, play: (on: boolean) => void,
 *   speed: number, setSpeed: (speed: number) => void}} Replay `seq` is `null` while the end is shown
 */

/** @param {import("../logs.js").Log} log @returns {Replay} */
export function useReplay(log) {
  const [seq, setSeq] = useState(/** @type {number|null} */ (null));
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(4);
  const go = (/** @type {number|null} */ next) => setSeq(next !== null && next >= log.last && !playing ? null : next);
  const step = (/** @type {number} */ by) => {
    const at = placeOf(log.events, seq ?? log.last) + by;
    const event = log.events[Math.max(0, at)];
    setSeq(!event || at >= log.events.length - 1 ? null : event.seq);
  };
  const play = (/** @type {boolean} */ on) => {
    if (on && seq === null) setSeq(log.events[0]?.seq ?? null);
    setPlaying(on);
  };
  usePlaying(log, { seq, playing, speed, setSeq, setPlaying });
  const latest = useRef({ step, play, playing });
  latest.current = { step, play, playing };
  useEffect(() => {
    const leave = [onKey("[", () => latest.current.step(-1)), onKey("]", () => latest.current.step(1)),
      onKey("p", () => latest.current.play(!latest.current.playing))];
    return () => leave.forEach((off) => off());
  }, []);
  return { seq, go, step, playing, play, speed, setSpeed };
}

/**
 * @param {import("../logs.js").Log} log
 * @param {{seq: number|null, playing: boolean, speed: number, setSeq: any, setPlaying: any}} state
 */
function usePlaying(log, { seq, playing, speed, setSeq, setPlaying }) {
  useEffect(() => {
    if (!playing) return undefined;
    const at = placeOf(log.events, seq ?? log.last);
    const event = log.events[at], next = log.events[at + 1];
    if (!next) {
      setPlaying(false);
      setSeq(null);
      return undefined;
    }
    const took = event ? Date.parse(next.timestamp) - Date.parse(event.timestamp) : 0;
    const pause = Math.min(LONGEST_PAUSE, Math.max(SHORTEST_PAUSE, took / speed));
    // Events closer to one another than a frame are shown together.
    const skip = took / speed < 1 ? Math.ceil(speed / 8) : 0;
    const target = log.events[Math.min(log.events.length - 1, at + 1 + skip)];
    const timer = setTimeout(() => setSeq(target.seq), pause);
    return () => clearTimeout(timer);
  }, [playing, seq, speed, log]);
}

/** @param {{log: import("../logs.js").Log, replay: Replay, canFork: boolean, onFork: (seq: number) => void}} props */
export function ReplayBar({ log, replay, canFork, onFork }) {
  const { seq, go, step, playing, play, speed, setSpeed } = replay;
  const first = log.events[0]?.seq ?? 1, last = Math.max(first, log.last);
  const at = Math.min(seq ?? last, last);
  return html`<div class="replay" role="group" aria-label="Replay" data-test="replay" data-live=${seq === null}>
    <button type="button" class="quiet square" aria-label="One event back" disabled=${at <= first} onClick=${() => step(-1)}>
      <${Icon} name="chevron" /></button>
    <button type="button" class="square" aria-label=${playing ? "Pause" : "Play from here"} data-test="replay-play" onClick=${() =>
      play(!playing)}><${Icon} name=${playing ? "pause" : "play"} /></button>
    <button type="button" class="quiet square" aria-label="One event on" disabled=${seq === null} onClick=${() => step(1)}>
      <${Icon} name="chevron" /></button>
    <input type="range" min=${first} max=${last} value=${at} aria-label="Event" aria-valuetext=${`event ${at} of ${last}`}
      data-test="replay-slider"
      onInput=${(/** @type {any} */ e) => go(Number(e.target.value))} />
    <span class="replay-seq number" data-test="replay-seq">${at}<span class="faint"> / ${last}</span></span>
    <select aria-label="Speed" value=${speed} onChange=${(/** @type {any} */ e) => setSpeed(Number(e.target.value))}>
      ${SPEEDS.map((s) => html`<option value=${s}>${s}×</option>`)}</select>
    ${canFork && html`<button type="button" class="small" data-test="fork" onClick=${() => onFork(at)}
      title="A new thread that begins with the events up to here"><${Icon} name="fork" /><span>Fork here</span></button>`}
    <button type="button" class="small replay-live" disabled=${seq === null} data-test="replay-live" onClick=${() =>
      { play(false); go(null); }}><${Icon} name="live" /><span>Latest</span></button>
  </div>`;
}
