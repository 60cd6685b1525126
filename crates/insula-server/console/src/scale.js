// Where a moment is on a time axis. Stretches in which everybody only waited can be squeezed, so that the rest is seen.

/** @typedef {{from: number, to: number, x: number, width: number, quiet: boolean}} Segment */

/** How wide a squeezed stretch is at most, as a part of what is not squeezed. */
const SQUEEZED = 0.05;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5,
  18e5, 36e5, 72e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];

/**
 * @param {{start: number, end: number, quiet?: [number, number][]}} span
 * @returns {{x: (at: number) => number, segments: Segment[], ticks: (many: number) => {x: number, at: number}[]}} `x` in percent
 */
export function scaleOf({ start, end, quiet = [] }) {
  const segments = measure(cut(start, Math.max(end, start + 0.1), quiet));
  const x = (/** @type {number} */ at) => {
    const segment = segments[find(segments, at)];
    const part = (at - segment.from) / (segment.to - segment.from || 1);
    return segment.x + Math.min(1, Math.max(0, part)) * segment.width;
  };
  return { x, segments, ticks: (many) => ticks(segments, start, many) };
}

/** @param {number} start @param {number} end @param {[number, number][]} quiet @returns {Segment[]} */
function cut(start, end, quiet) {
  /** @type {Segment[]} */
  const segments = [];
  let at = start;
  const put = (/** @type {number} */ to, /** @type {boolean} */ isQuiet) => {
    if (to > at) segments.push({ from: at, to, x: 0, width: 0, quiet: isQuiet });
    at = Math.max(at, to);
  };
  for (const [from, to] of quiet) {
    if (to <= at || from >= end) continue;
    put(Math.max(at, from), false);
    put(Math.min(to, end), true);
  }
  put(end, false);
  return segments;
}

/** @param {Segment[]} segments */
function measure(segments) {
  const length = (/** @type {Segment} */ s) => s.to - s.from;
  const busy = segments.filter((s) => !s.quiet).reduce((sum, s) => sum + length(s), 0);
  const most = (busy || 1) * SQUEEZED;
  const widths = segments.map((s) => (s.quiet ? Math.min(length(s), most) : length(s)));
  const total = widths.reduce((sum, width) => sum + width, 0) || 1;
  let x = 0;
  segments.forEach((segment, i) => {
    segment.x = x;
    segment.width = (widths[i] / total) * 100;
    x += segment.width;
  });
  return segments;
}

/** The last segment that begins at or before `at`. @param {Segment[]} segments @param {number} at */
function find(segments, at) {
  let low = 0, high = segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (segments[middle].from <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Round times since the start, not too close to one another.
 * @param {Segment[]} segments
 * @param {number} start
 * @param {number} many
 */
function ticks(segments, start, many) {
  const busy = segments.filter((s) => !s.quiet);
  const whole = busy.reduce((sum, s) => sum + s.to - s.from, 0);
  const step = STEPS.find((s) => whole / s <= many) ?? STEPS[STEPS.length - 1];
  const apart = 70 / many;
  /** @type {{x: number, at: number}[]} */
  const marks = [];
  for (const { from, to, x, width } of busy) {
    for (let at = Math.ceil((from - start) / step) * step; at <= to - start; at += step) {
      const where = x + ((at + start - from) / (to - from)) * width;
      if (marks.length === 0 || where - marks[marks.length - 1].x >= apart) marks.push({ x: where, at });
    }
  }
  return marks;
}
