// A value that somebody writes: in the fields of its schema, as JSON, or freely.

import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { violationOf } from "../parts/basics.js";
import { FieldOf, JsonArea } from "./fields.js";
import { draftOf, fieldOf, isFree, parse, takesText, valueOf } from "./schema.js";

/** @typedef {{value: any, faults: import("./schema.js").Fault[]}} Given */

let made = 0;

/**
 * @param {{schema: any, value?: any, onGiven: (given: Given) => void, violations?: any[], showFaults: boolean}} props
 *   `violations`: what the server had against the last one; `showFaults`: whether somebody has tried to send it
 */
export function InputForm({ schema, value, onGiven, violations = [], showFaults }) {
  const free = useMemo(() => isFree(schema) || (fieldOf(schema).kind === "json" && takesText(schema)), [schema]);
  return free ? html`<${FreeInput} value=${value} onGiven=${onGiven} />`
    : html`<${SchemaInput} schema=${schema} value=${value} onGiven=${onGiven} violations=${violations} showFaults=${showFaults} />`;
}

/** @param {{schema: any, value: any, onGiven: (given: Given) => void, violations: any[], showFaults: boolean}} props */
function SchemaInput({ schema, value, onGiven, violations, showFaults }) {
  const field = useMemo(() => fieldOf(schema), [schema]);
  const id = useRef(`input${++made}`);
  const [asJson, setAsJson] = useState(field.kind === "json");
  const [draft, setDraft] = useState(() => draftOf(field, value));
  const [text, setText] = useState(() => JSON.stringify(value ?? null, null, 2));
  const given = useMemo(() => (asJson ? ofText(text) : ofDraft(field, draft)), [asJson, text, draft, field]);
  useEffect(() => onGiven(given), [given]);
  const turn = () => {
    if (asJson) setDraft(draftOf(field, parse(text).value));
    else setText(JSON.stringify(ofDraft(field, draft).value ?? null, null, 2));
    setAsJson(!asJson);
  };
  const faults = [...(showFaults ? given.faults : []), ...violations.map(violationOf).filter(({ path }) => path)];
  return html`<div class="input-form">
    ${asJson ? html`<div class="field">
      <${JsonArea} text=${text} rows=${8}
        shared=${{ "aria-label": "Value as JSON", "data-field": "", onInput: (/** @type {any} */ e) => setText(e.target.value) }} /></div>`
      : html`<${FieldOf} field=${field} draft=${draft} set=${setDraft} path="" id=${id.current} faults=${faults} />`}
    ${field.kind !== "json" &&
      html`<button type="button" class="link small" data-test="as-json" disabled=${asJson && Boolean(parse(text).problem)} onClick=${turn}>
        ${asJson ? "Write it into fields" : "Write it as JSON"}</button>`}
  </div>`;
}

/** @param {string} text @returns {Given} */
function ofText(text) {
  const { value, problem } = parse(text);
  return { value, faults: problem ? [{ path: "", message: problem }] : [] };
}

/** @param {import("./schema.js").Field} field @param {any} draft @returns {Given} */
function ofDraft(field, draft) {
  /** @type {import("./schema.js").Fault[]} */
  const faults = [];
  const value = valueOf(field, draft, faults);
  return { value, faults };
}

/**
 * JSON where it is JSON, text where it is not, and a word on which of both it is.
 * @param {{value: any, onGiven: (given: Given) => void}} props
 */
function FreeInput({ value, onGiven }) {
  const [text, setText] = useState(() =>
    (value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  const [asText, setAsText] = useState(typeof value === "string" && !parse(value).problem);
  const parsed = parse(text);
  const isJson = !asText && text.trim() !== "" && !parsed.problem;
  const given = useMemo(() => ({ value: text === "" ? undefined : isJson ? parsed.value : text, faults: [] }), [text, isJson]);
  useEffect(() => onGiven(given), [given]);
  return html`<div class="field">
    <textarea rows=${Math.min(16, Math.max(3, text.split("\n").length + 1))} aria-label="Text or JSON" placeholder="Text or JSON"
      value=${text} data-field="" class=${isJson ? "mono" : ""} onInput=${(/** @type {any} */ e) => setText(e.target.value)}></textarea>
    <p class="about" role="status">
      ${text === "" ? "Nothing is sent" : isJson ? "Sent as JSON" : "Sent as text"}${text.trim() && !parsed.problem &&
        html` · <button type="button" class="link small" onClick=${() => setAsText(!asText)}>
          ${asText ? "as JSON instead" : "as text instead"}</button>`}</p>
  </div>`;
}
