// Where in the console somebody is: `#/runs/ID?tab=…`. Every place has an address that can be sent to somebody else.

import { signal } from "./html.js";

/** @typedef {{path: string[], query: URLSearchParams, hash: string}} Place */

/** @returns {Place} */
function read() {
  const hash = location.hash.replace(/^#\/?/, "");
  const [path, search = ""] = hash.split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(search), hash };
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @type {{value: Place, peek(): Place}} */
export const place = signal(read());

addEventListener("hashchange", () => {
  const before = place.peek().path.join("/");
  place.value = read();
  if (place.peek().path.join("/") !== before) scrollTo(0, 0);
});

/**
 * An address in the console.
 * @param {string[]} parts
 * @param {Record<string, string|number|null|undefined>} [values]
 */
export function to(parts, values = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== null && value !== undefined && value !== "")
    search.set(name, String(value));
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** @param {string[]} parts @param {Record<string, string|number|null|undefined>} [values] */
export function go(parts, values) {
  location.hash = to(parts, values);
}

/**
 * Changes the query of the place without a step in the browser's history: filters.
 * @param {Record<string, string|number|null|undefined>} changes
 */
export function refine(changes) {
  const { path, query } = place.peek();
  const values = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", to(path, values));
  place.value = read();
}
