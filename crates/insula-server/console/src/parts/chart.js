// Small charts, drawn as SVG: stacked bars and lines over days, and a line without axes.

import { classes, html, useEffect, useRef, useState } from "../html.js";

/** @typedef {{name: string, tone: string, of: (day: any) => number|null}} Series */

const HEIGHT = 168, LEFT = 44, BOTTOM = 20, TOP = 8;

/** How wide the element is, as it is drawn. */
function useWidth() {
  const ref = useRef(/** @type {HTMLElement|null} */ (null));
  const [width, set] = useState(600);
  useEffect(() => {
    if (!ref.current) return undefined;
    const watch = new ResizeObserver(([entry]) => set(Math.max(240, Math.round(entry.contentRect.width))));
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return { ref, width };
}

/** A round number that is not less, in steps that read well. @param {number} most */
function roundUp(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return (/** @type {number} */ ([1, 2, 2.5, 5, 10].find((step) => step * power >= most)) ?? 10) * power;
}

/**
 * @param {{title: string, days: {date: string}[], series: Series[], kind: "bars"|"lines", format: (value: number) => string, note?: string}} props
 */
export function Chart({ title, days, series, kind, format, note }) {
  const { ref, width } = useWidth();
  const [at, point] = useState(/** @type {number|null} */ (null));
  const stacked = days.map((day) => series.reduce((sum, s) => sum + (s.of(day) ?? 0), 0));
  const highest = kind === "bars" ? Math.max(0, ...stacked) : Math.max(0, ...days.flatMap((day) => series.map((s) => s.of(day) ?? 0)));
  const top = roundUp(highest), inner = width - LEFT, each = inner / Math.max(1, days.length);
  const y = (/** @type {number} */ value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const x = (/** @type {number} */ i) => LEFT + (i + 0.5) * each;
  const shown = at !== null && at < days.length ? at : null;
  const move = (/** @type {any} */ event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const i = Math.floor((event.clientX - box.left - LEFT) / each);
    point(i >= 0 && i < days.length ? i : null);
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    point(Math.min(days.length - 1, Math.max(0, (shown ?? days.length - 1) + by)));
  };
  return html`<figure class="chart" data-test="chart" data-title=${title}>
    <figcaption><b>${title}</b><${Legend} series=${series} day=${shown === null ? null : days[shown]} format=${format} /></figcaption>
    <div ref=${ref}><svg width=${width} height=${HEIGHT} role="img" tabIndex="0"
      aria-label=${`${title}, ${days.length} days, at most ${format(highest)}`} onMouseMove=${move} onMouseLeave=${() => point(null)}
        onKeyDown=${keys}>
      ${(highest > 0 ? [0, 0.5, 1] : [0]).map((part) =>
        html`<g><line class="grid" x1=${LEFT} x2=${width} y1=${y(top * part)} y2=${y(top * part)} />
          <text class="tick" x=${LEFT - 8} y=${y(top * part) + 4} text-anchor="end">${format(top * part)}</text></g>`)}
      ${shown !== null && html`<rect class="hover" x=${LEFT + shown * each} width=${each} y=${TOP} height=${HEIGHT - TOP - BOTTOM} />`}
      ${kind === "bars" ? html`<${Bars} days=${days} series=${series} x=${x} y=${y} each=${each} />`
        : series.map((s) => html`<${Line} days=${days} series=${s} x=${x} y=${y} />`)}
      ${days.map((day, i) => i % Math.ceil(56 / each) === 0 &&
        html`<text class="tick" x=${x(i)} y=${HEIGHT - 4} text-anchor=${i === 0 ? "start" : x(i) > width - 20 ? "end" : "middle"}>
          ${day.date.slice(5).replace("-", "/")}</text>`)}
    </svg></div>
    ${note && html`<p class="faint small">${note}</p>`}
  </figure>`;
}

/** @param {{series: Series[], day: any, format: (value: number) => string}} props */
const Legend = ({ series, day, format }) =>
  html`<span class="legend">
    ${day && html`<b class="number">${day.date}</b>`}${series.map((s) =>
      html`<span data-tone=${s.tone}><i class="swatch" aria-hidden="true"></i>
        ${s.name}${day && html` <b class="number">${s.of(day) === null ? "–" : format(/** @type {number} */ (s.of(day)))}</b>`}</span>`)}
          </span>`;

/** @param {any} props */
function Bars({ days, series, x, y, each }) {
  const width = Math.max(2, Math.min(28, each * 0.68));
  return days.map((/** @type {any} */ day, /** @type {number} */ i) => {
    let below = 0;
    return series.map((/** @type {Series} */ s) => {
      const value = s.of(day) ?? 0, from = below;
      below += value;
      return value > 0 && html`<rect class="area" data-tone=${s.tone} x=${x(i) - width / 2} width=${width} y=${y(below)}
        height=${Math.max(1, y(from) - y(below))} rx="1.5" />`;
    });
  });
}

/** Days without a value leave a gap. @param {any} props */
function Line({ days, series, x, y }) {
  let pen = "M";
  const path = days.map((/** @type {any} */ day, /** @type {number} */ i) => {
    const value = series.of(day);
    if (value === null) return ((pen = "M"), "");
    const part = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
  return html`<g data-tone=${series.tone}><path class="line" d=${path} />
    ${days.map((/** @type {any} */ day, /** @type {number} */ i) => series.of(day) !== null &&
      html`<circle class="knot" cx=${x(i)} cy=${y(series.of(day))} r="2" />`)}</g>`;
}

/** The last values as a line. @param {{values: number[]}} props */
export function Spark({ values }) {
  if (values.length < 2) return html`<svg class="spark" viewBox="0 0 100 24" aria-hidden="true"></svg>`;
  const top = Math.max(1, ...values);
  const points = values.map((v, i) => `${((i / (values.length - 1)) * 100).toFixed(1)},${(22 - (v / top) * 20).toFixed(1)}`).join(" ");
  return html`<svg class=${classes("spark")} viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    <polyline points=${points} /></svg>`;
}
