// Who is signed in, and with what.

import { callAs, get } from "./api.js";
import { heardDate } from "./clock.js";
import { signal } from "./html.js";
import { device, tab } from "./storage.js";

/**
 * @typedef {{tenant_id: string, user_id: string, roles: string[], access: string,
 *   credential: {kind: string, id: string, name?: string, expires_at?: string}, server: {version: string}}} Me
 */

/** Nobody (`null`), not known yet (`undefined`), or somebody. @type {{value: Me|null|undefined, peek(): Me|null|undefined}} */
export const me = signal(undefined);

/** Why somebody was signed out without having asked for it. */
export const farewell = signal("");

callAs({
  heard: heardDate,
  refused() {
    if (me.peek()) signOut("The server does not accept this key any more. Sign in again.");
  },
});

/**
 * Tries a key, and keeps it if it is good.
 * @param {string} key
 * @param {boolean} remember on this device, not only in this tab
 */
export async function signIn(key, remember) {
  const who = await get("/v1/me", { credential: key });
  tab.write("key", key);
  device.write("key", remember ? key : null);
  callAs({ credential: key });
  farewell.value = "";
  me.value = who;
}

/** @param {string} [why] */
export function signOut(why = "") {
  tab.write("key", null);
  device.write("key", null);
  callAs({ credential: null });
  farewell.value = why;
  me.value = null;
}

/** Goes on with the key that this tab or this device has kept. While the server cannot be reached, it is asked again. */
export async function resume() {
  const key = tab.read("key") ?? device.read("key");
  if (!key) {
    me.value = null;
    return;
  }
  try {
    callAs({ credential: key });
    me.value = await get("/v1/me", { credential: key });
    farewell.value = "";
  } catch (error) {
    const { status, message } = /** @type {import("./api.js").Problem} */ (error);
    if (status === 401) return signOut("The key that was kept is not accepted any more.");
    farewell.value = message;
    setTimeout(resume, 2_000);
  }
}

/** @param {string} role */
export const may = (role) => me.peek()?.roles.includes(role) ?? false;
/** Whether anything may be changed with this credential. */
export const mayWrite = () => me.peek()?.access !== "read";
