// What every script of Node here shares: checks that print one line each, and a caller of the server. As checks.py.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";

export const SECONDS = 20;
const checks = [];

/** Registers a check. Its name is its promise. */
export const check = (name, promise) => checks.push([name.replaceAll(/\W+/g, "_"), promise]);

/** Every check, whatever became of the others; one line for each, the place of a failure on stderr. */
export async function run() {
  let failed = 0;
  for (const [name, promise] of checks) {
    try {
      await within(SECONDS * 6, promise());
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.error(error);
      console.log(`not ok ${name}: ${stripVTControlCharacters(error.message).split(/\s+/).join(" ").slice(0, 300)}`);
    }
  }
  return failed;
}

export async function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the condition finds, as soon as it finds anything. */
export async function until(what, condition) {
  const deadline = Date.now() + SECONDS * 1000;
  while (Date.now() < deadline) {
    const found = await condition();
    if (found) return found;
    await pause(20);
  }
  throw new Error(`${what} did not come true in ${SECONDS} s`);
}

/** A caller of the server at this address, with this key: the JSON of an answer that has to have this status. */
export const caller = (url, key) => async (method, path, body, status = 200) => {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const response = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  assert.equal(response.status, status, `${method} ${path}: ${text.slice(0, 200)}`);
  assert.ok(response.headers.get("x-request-id"));
  if (status >= 400) {
    assert.equal(response.headers.get("content-type"), "application/problem+json");
    assert.equal(JSON.parse(text).request_id, response.headers.get("x-request-id"));
  }
  return text ? JSON.parse(text) : null;
};
