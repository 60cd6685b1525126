// The fields of a form that was made from a schema.

import { classes, html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { draftOf, parse } from "./schema.js";

/** @typedef {import("./schema.js").Field} Field */
/** @typedef {import("./schema.js").Fault} Fault */
/**
 * @typedef {{field: Field, draft: any, set: (draft: any) => void, path: string, id: string,
 *   faults: Fault[]}} Props `path` is a JSON pointer
 */

/** @param {Fault[]} faults @param {string} path */
const faultAt = (faults, path) => faults.find((fault) => fault.path === path || fault.path === path.slice(1))?.message;

/** @param {Props} props @returns {any} */
export function FieldOf(props) {
  const { field } = props;
  if (field.kind === "object") return html`<${Group} ...${props} />`;
  if (field.kind === "list") return html`<${List} ...${props} />`;
  if (field.kind === "boolean") return html`<${Check} ...${props} />`;
  return html`<${Single} ...${props} />`;
}

/** @param {Props} props */
function Group({ field, draft, set, path, id, faults }) {
  const inner = (field.fields ?? []).map((sub) =>
    html`<${FieldOf} key=${sub.name} field=${sub} draft=${draft?.[sub.name]} path=${`${path}/${sub.name}`} id=${`${id}-${sub.name}`}
      faults=${faults}
    set=${(/** @type {any} */ part) => set({ ...draft, [sub.name]: part })} />`);
  if (!field.name) return html`<div class="fields">${inner}</div>`;
  return html`<fieldset class="fields nested">
    <legend>${field.label}${!field.required && html` <span class="faint">optional</span>`}</legend>
    ${field.about && html`<p class="about">${field.about}</p>`}${inner}</fieldset>`;
}

/** @param {Props} props */
function List({ field, draft, set, path, id, faults }) {
  const items = /** @type {any[]} */ (draft ?? []);
  const item = /** @type {Field} */ (field.item);
  const fault = faultAt(faults, path);
  return html`<fieldset class=${classes("fields", field.name && "nested", fault && "wrong")}>
    <legend>${field.label || "Items"}${!field.required && html` <span class="faint">optional</span>`}</legend>
    ${field.about && html`<p class="about">${field.about}</p>`}
    ${items.map((part, i) => html`<div class="list-item" key=${i}>
      <div class="list-field"><${FieldOf}
        field=${{ ...item, label: item.kind === "object" ? `${i + 1}` : "", name: item.kind === "object" ? `${i + 1}` : "" }} draft=${part}
          path=${`${path}/${i}`} id=${`${id}-${i}`} faults=${faults}
        set=${(/** @type {any} */ next) => set(items.with(i, next))} /></div>
      <button type="button" class="quiet square" aria-label=${`Remove item ${i + 1}`} onClick=${() => set(items.toSpliced(i, 1))}>
        <${Icon} name="close" /></button></div>`)}
    <button type="button" class="small" onClick=${() => set([...items, draftOf(item)])}><${Icon} name="plus" />Add</button>
    ${fault && html`<p class="fault">${fault}</p>`}</fieldset>`;
}

/** @param {Props} props */
function Check({ field, draft, set, path, id, faults }) {
  const fault = faultAt(faults, path);
  return html`<div class=${classes("field", fault && "wrong")}>
    <label class="check" for=${id}>
      <input id=${id} type="checkbox" checked=${Boolean(draft)} data-field=${path} onChange=${(/** @type {any} */ e) =>
        set(e.target.checked)} /><span>${field.label || "Yes"}</span></label>
    ${field.about && html`<p class="about">${field.about}</p>`}${fault && html`<p class="fault">${fault}</p>`}</div>`;
}

/** @param {Props} props */
function Single({ field, draft, set, path, id, faults }) {
  const fault = faultAt(faults, path);
  const about = field.choices?.[Number(draft)]?.about ?? field.about;
  const shared = { id, "data-field": path, "aria-describedby": `${id}-about`, "aria-invalid": fault ? "true" : undefined,
    onInput: (/** @type {any} */ e) => set(e.target.value) };
  return html`<div class=${classes("field", fault && "wrong")}>
    ${field.label && html`<label class="label" for=${id}>
      ${field.label}${!field.required && html` <span class="faint">optional</span>`}</label>`}
    ${field.kind === "choice" ? html`<${Choice} field=${field} draft=${draft} shared=${shared} />`
      : html`<${Writing} field=${field} draft=${draft} shared=${shared} />`}
    <div id=${`${id}-about`}>${about && html`<p class="about">${about}</p>`}${fault && html`<p class="fault">${fault}</p>`}</div></div>`;
}

/** @param {{field: Field, draft: any, shared: any}} props */
const Choice = ({ field, draft, shared }) => html`<select ...${shared} value=${draft ?? ""}>
  ${(!field.required || draft === "") && html`<option value="">${field.required ? "Choose…" : "–"}</option>`}
  ${field.choices?.map((choice, i) => html`<option value=${String(i)}>${choice.label}</option>`)}</select>`;

/** How the browser calls what a schema calls the format of a text. @type {Record<string, string>} */
const INPUTS = { date: "date", email: "email", uri: "url", time: "time" };

/** @param {{field: Field, draft: any, shared: any}} props */
function Writing({ field, draft, shared }) {
  const s = field.schema;
  if (field.kind === "json") return html`<${JsonArea} text=${draft ?? ""} shared=${shared} />`;
  if (field.kind === "number" || field.kind === "integer") {
    return html`<input type="number" ...${shared} value=${draft ?? ""} inputmode=${field.kind === "integer" ? "numeric" : "decimal"}
      step=${field.kind === "integer" ? "1" : "any"} min=${s.minimum} max=${s.maximum} />`;
  }
  const isLong = s.maxLength > 200 || s.format === "multiline" || s.contentMediaType || !field.name;
  if (isLong) return html`<textarea ...${shared} rows="3" value=${draft ?? ""}></textarea>`;
  return html`<input type=${INPUTS[s.format] ?? "text"} ...${shared} value=${draft ?? ""} placeholder=${s.examples?.[0]
    ?? (s.format === "date-time" ? "2026-03-01T09:00:00Z" : "")} />`;
}

/** JSON in a text field, with a word on whether it is. @param {{text: string, shared: any, rows?: number}} props */
export function JsonArea({ text, shared, rows = 5 }) {
  const { problem } = text.trim() ? parse(text) : { problem: undefined };
  return html`<textarea ...${shared} class="mono" spellcheck=${false} rows=${Math.min(20, Math.max(rows, text.split("\n").length + 1))}
    value=${text}></textarea>
    <p class=${classes("about", problem && "fault")} role="status">${!text.trim() ? "JSON" : problem ?? "This is JSON"}</p>`;
}
