// HTTP: one function, and errors as the server tells them (RFC 9457).

/** What went wrong, in the server's words. */
export class Problem extends Error {
  /**
   * @param {{type?: string, title?: string, status?: number, detail?: string, request_id?: string, violations?: any[]}} body
   */
  constructor(body) {
    super(body.detail || body.title || "Something went wrong");
    this.body = body;
    this.status = body.status ?? 0;
    this.title = body.title ?? "Something went wrong";
    this.detail = body.detail;
    this.requestId = body.request_id;
    /** @type {any[]} */
    this.violations = Array.isArray(body.violations) ? body.violations : [];
    this.name = (body.type ?? "").replace("urn:insula:problem:", "");
  }
}

/** @type {{credential: string|null, refused: () => void, heard: (date: string|null) => void}} */
const caller = { credential: null, refused() {}, heard() {} };

/**
 * Who calls from now on, and who wants to know when the server does not know them any more.
 * @param {Partial<typeof caller>} changes
 */
export function callAs(changes) {
  Object.assign(caller, changes);
}

/**
 * @param {string} path with its query
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, credential?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function call(path, { method = "GET", body, headers = {}, credential, signal } = {}) {
  const key = credential ?? caller.credential;
  if (key) headers = { ...headers, authorization: `Bearer ${key}` };
  if (body !== undefined && !(body instanceof Blob)) {
    headers = { "content-type": "application/json", ...headers };
    body = JSON.stringify(body);
  }
  const response = await reach(path, { method, headers, body: /** @type {any} */ (body), signal });
  caller.heard(response.headers.get("date"));
  if (response.ok) return response;
  if (response.status === 401 && credential === undefined) caller.refused();
  throw await problemOf(response);
}

/** @param {string} path @param {RequestInit} init */
async function reach(path, init) {
  try {
    return await fetch(path, { ...init, credentials: "omit", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new Problem({ title: "The server cannot be reached", detail: "It may be restarting, or the network is down.", status: 0 });
  }
}

/** @param {Response} response */
async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const retry = response.headers.get("retry-after");
  return new Problem({
    title: response.statusText || `Status ${response.status}`,
    status: response.status,
    request_id: response.headers.get("x-request-id") ?? undefined,
    ...(body && typeof body === "object" ? body : {}),
    ...(retry ? { retry_after: retry } : {}),
  });
}

/** @param {string} path @param {Parameters<typeof call>[1]} [options] @returns {Promise<any>} */
async function json(path, options) {
  const response = await call(path, options);
  return response.status === 204 ? null : response.json();
}

/**
 * A path from its parts, each of them encoded.
 * @param {TemplateStringsArray} strings
 * @param {...(string|number)} parts
 */
export const path = (strings, ...parts) => String.raw({ raw: strings.raw }, ...parts.map((part) => encodeURIComponent(part)));

/**
 * A query without what is empty.
 * @param {Record<string, string|number|null|undefined>} values
 */
export function query(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

/** @param {string} where @param {Parameters<typeof call>[1]} [options] */
export const get = (where, options) => json(where, options);
/** @param {string} where @param {any} [body] @param {Parameters<typeof call>[1]} [options] */
export const post = (where, body = {}, options = {}) => json(where, { ...options, method: "POST", body });
/** @param {string} where @param {any} body */
export const put = (where, body) => json(where, { method: "PUT", body });
/** @param {string} where */
export const remove = (where) => json(where, { method: "DELETE" });
