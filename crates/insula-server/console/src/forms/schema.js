// JSON Schema as a form: which fields there are, what is in them, and which value that makes. What no field can show is
// written as JSON.

/**
 * @typedef {object} Field
 * @property {"text"|"number"|"integer"|"boolean"|"choice"|"object"|"list"|"json"} kind
 * @property {string} name
 * @property {string} label
 * @property {string} [about]
 * @property {boolean} required
 * @property {any} schema with its references resolved
 * @property {Field[]} [fields] of an object
 * @property {Field} [item] of a list
 * @property {{value: any, label: string, about?: string}[]} [choices]
 * @property {any} [preset]
 * @property {boolean} [nullable] whether `null` stands for nothing
 */

/** @typedef {{path: string, message: string}} Fault */

const DEEPEST = 6;

/** @param {any} schema @returns {Field} */
export const fieldOf = (schema) => compile(schema, { root: schema, name: "", required: true, depth: 0 });

/** Whether a schema says anything at all. @param {any} schema */
export const isFree = (schema) => schema === true || schema === null || schema === undefined ||
  (typeof schema === "object" && !Object.keys(schema).some((key) => !/^(\$schema|title|description|default|\$id|\$comment)$/.test(key)));

/** Whether a text does as well as something with fields: it is written as it is then, not as JSON. @param {any} schema */
export function takesText(schema) {
  const { type, anyOf, oneOf } = resolve(schema, schema);
  const others = (anyOf ?? oneOf)?.map((/** @type {any} */ s) => resolve(s, schema));
  return Array.isArray(type) ? type.includes("string") && type.length > 1
    : Boolean(others?.length > 1 && others.some((/** @type {any} */ s) => s.type === "string" && !("const" in s) && !s.enum));
}

/** @param {any} given @param {{root: any, name: string, required: boolean, depth: number}} at @returns {Field} */
function compile(given, at) {
  const { schema, nullable } = plain(resolve(given, at.root), at.root);
  /** @type {Field} */
  const field = {
    kind: "json", name: at.name, label: schema.title && !at.name ? schema.title : at.name.replaceAll("_", " "), about: schema.description,
    required: at.required && !nullable, schema, preset: schema.default, nullable,
  };
  return Object.assign(field, shape(schema, at));
}

/** @param {any} schema @param {{root: any, depth: number}} at @returns {Partial<Field>} */
function shape(schema, at) {
  const choices = choicesOf(schema, at.root);
  if (choices) return { kind: "choice", choices };
  if (at.depth >= DEEPEST || Array.isArray(schema.type) || schema.oneOf || schema.anyOf || schema.allOf || schema.not || schema.if)
    return { kind: "json" };
  const below = { root: at.root, depth: at.depth + 1 };
  switch (schema.type) {
    case "string": return { kind: "text" };
    case "number": case "integer": case "boolean": return { kind: schema.type };
    case "object": return objectOf(schema, below);
    case "array": return listOf(schema, below);
    default: return schema.properties ? objectOf(schema, below) : { kind: "json" };
  }
}

/** @param {any} schema @param {{root: any, depth: number}} below @returns {Partial<Field>} */
function objectOf(schema, below) {
  const entries = Object.entries(schema.properties ?? {});
  if (entries.length === 0) return { kind: "json" };
  const required = new Set(schema.required ?? []);
  return { kind: "object", fields: entries.map(([name, sub]) => compile(sub, { ...below, name, required: required.has(name) })) };
}

/** @param {any} schema @param {{root: any, depth: number}} below @returns {Partial<Field>} */
function listOf(schema, below) {
  if (!schema.items || schema.prefixItems) return { kind: "json" };
  const item = compile(schema.items, { ...below, name: "", required: true });
  return item.kind === "json" || item.kind === "list" ? { kind: "json" } : { kind: "list", item };
}

/** @param {any} schema @param {any} root @returns {any} */
function resolve(schema, root) {
  let resolved = schema && typeof schema === "object" ? schema : {};
  for (let hops = 0; typeof resolved.$ref === "string" && hops < 16; hops += 1) {
    const { $ref, ...beside } = resolved;
    const found = $ref.startsWith("#")
      ? $ref.slice(1).split("/").filter(Boolean).reduce((/** @type {any} */ at, /** @type {string} */ key) =>
        at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], root) : undefined;
    resolved = { ...(found && typeof found === "object" ? found : {}), ...beside };
  }
  return resolved.allOf?.length === 1 ? { ...resolve(resolved.allOf[0], root), ...resolved, allOf: undefined } : resolved;
}

/** Takes the `null` out of what may be something or nothing. @param {any} schema @param {any} root */
function plain(schema, root) {
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((/** @type {string} */ t) => t !== "null");
    const nullable = types.length < schema.type.length;
    return { schema: { ...schema, type: types.length === 1 ? types[0] : types }, nullable };
  }
  const several = schema.anyOf ?? schema.oneOf;
  const others = several?.filter((/** @type {any} */ s) => s?.type !== "null");
  if (!several || others.length === several.length || others.length !== 1) return { schema, nullable: false };
  const { anyOf, oneOf, ...beside } = schema;
  return { schema: { ...resolve(others[0], root), ...beside }, nullable: true };
}

/** @param {any} schema @param {any} root @returns {Field["choices"]|undefined} */
function choicesOf(schema, root) {
  const label = (/** @type {any} */ value) => (typeof value === "string" ? value : JSON.stringify(value));
  if ("const" in schema) return [{ value: schema.const, label: label(schema.const) }];
  if (Array.isArray(schema.enum))
    return schema.enum.filter((/** @type {any} */ v) => v !== null).map((/** @type {any} */ value) => ({ value, label: label(value) }));
  const several = (schema.oneOf ?? schema.anyOf)?.map((/** @type {any} */ s) => resolve(s, root));
  const fixed = (/** @type {any} */ s) => "const" in s || (Array.isArray(s.enum) && s.enum.length > 0);
  if (!several?.every(fixed)) return undefined;
  return several.flatMap((/** @type {any} */ s) =>
    (s.enum ?? [s.const]).map((/** @type {any} */ value) => ({ value, label: s.title ?? label(value), about: s.description })));
}

/** What is in a field before anybody has written. @param {Field} field @param {any} [value] @returns {any} */
export function draftOf(field, value = field.preset) {
  switch (field.kind) {
    case "object": return Object.fromEntries((field.fields ?? []).map((sub) => [sub.name, draftOf(sub, value?.[sub.name] ?? sub.preset)]));
    case "list": return Array.isArray(value) ? value.map((item) => draftOf(/** @type {Field} */ (field.item), item)) : [];
    case "boolean": return value ?? (field.required ? false : undefined);
    case "choice": {
      const at = field.choices?.findIndex((choice) => JSON.stringify(choice.value) === JSON.stringify(value)) ?? -1;
      return at < 0 ? (field.required && field.choices?.length === 1 ? "0" : "") : String(at);
    }
    case "json": return value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
    default: return value === undefined || value === null ? "" : String(value);
  }
}

/**
 * The value that a draft makes; `undefined` is nothing. What does not fit goes into `faults`.
 * @param {Field} field
 * @param {any} draft
 * @param {Fault[]} faults
 * @param {string} [path]
 * @returns {any}
 */
export function valueOf(field, draft, faults, path = "") {
  const fault = (/** @type {string} */ message) => void faults.push({ path, message });
  if (field.kind === "object") return objectValue(field, draft, faults, path);
  if (field.kind === "list") return listValue(field, draft, faults, path);
  if (field.kind === "boolean") return draft;
  const text = String(draft ?? "");
  if (text.trim() === "") return field.required ? fault("is needed") : undefined;
  if (field.kind === "choice") return field.choices?.[Number(text)]?.value;
  if (field.kind === "json") return jsonValue(text, fault);
  const value = field.kind === "text" ? text : numberValue(field, text, fault);
  const problem = value === undefined ? null : misfit(field.schema, value);
  if (problem) fault(problem);
  return value;
}

/** @param {Field} field @param {any} draft @param {Fault[]} faults @param {string} path */
function objectValue(field, draft, faults, path) {
  /** @type {Fault[]} */
  const inside = [];
  /** @type {Record<string, any>} */
  const value = {};
  for (const sub of field.fields ?? []) {
    const part = valueOf(sub, draft?.[sub.name], inside, `${path}/${sub.name}`);
    if (part !== undefined) value[sub.name] = part;
  }
  // An optional object in which nothing is written is not there.
  if (!field.required && Object.keys(value).length === 0) return undefined;
  faults.push(...inside);
  return value;
}

/** @param {Field} field @param {any[]} draft @param {Fault[]} faults @param {string} path */
function listValue(field, draft, faults, path) {
  if (!draft?.length && !field.required) return undefined;
  const { minItems, maxItems } = field.schema;
  const items = (draft ?? []).map((item, i) => valueOf(/** @type {Field} */ (field.item), item, faults, `${path}/${i}`));
  if (minItems !== undefined && items.length < minItems) faults.push({ path, message: `needs ${minItems} or more` });
  if (maxItems !== undefined && items.length > maxItems) faults.push({ path, message: `has room for ${maxItems}` });
  return items;
}

/** @param {string} text @param {(message: string) => void} fault */
function jsonValue(text, fault) {
  const { value, problem } = parse(text);
  if (problem) fault(problem);
  return value;
}

/** @param {Field} field @param {string} text @param {(message: string) => void} fault */
function numberValue(field, text, fault) {
  const value = Number(text);
  if (!Number.isFinite(value)) return void fault("is not a number");
  if (field.kind === "integer" && !Number.isInteger(value)) return void fault("is not a whole number");
  return value;
}

/** What a schema has against a text or a number. @param {any} s @param {string|number} value @returns {string|null} */
function misfit(s, value) {
  if (typeof value === "number") {
    if (s.minimum !== undefined && value < s.minimum) return `is less than ${s.minimum}`;
    if (s.maximum !== undefined && value > s.maximum) return `is more than ${s.maximum}`;
    if (s.exclusiveMinimum !== undefined && value <= s.exclusiveMinimum) return `has to be more than ${s.exclusiveMinimum}`;
    if (s.exclusiveMaximum !== undefined && value >= s.exclusiveMaximum) return `has to be less than ${s.exclusiveMaximum}`;
    return null;
  }
  const length = [...value].length;
  if (s.minLength !== undefined && length < s.minLength) return `is shorter than ${s.minLength} characters`;
  if (s.maxLength !== undefined && length > s.maxLength) return `is longer than ${s.maxLength} characters`;
  return null;
}

/** JSON, or what is wrong with it. @param {string} text @returns {{value?: any, problem?: string}} */
export function parse(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { problem: /** @type {Error} */ (error).message.replace(/^JSON\.parse: /, "").replace(/, "?[\s\S]*" is not valid JSON$/, "") };
  }
}
