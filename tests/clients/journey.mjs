// The journey with what JavaScript has: fetch, the package eventsource, the package ws.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { EventSource } from "eventsource";
import WebSocket from "ws";
import { caller, check, run, until } from "./checks.mjs";

const { INSULA_SERVER: url, INSULA_KEY: key } = process.env;
const call = caller(url, key);
const authorized = { Authorization: `Bearer ${key}` };

const submit = (agent, input, more = {}) => call("POST", "/v1/runs", { agent, input, ...more }, 202);
const finish = (agent, input, more = {}) => call("POST", "/v1/runs?wait=20s", { agent, input, ...more });
const events = async (run) => (await call("GET", `/v1/runs/${run.run_id}/events`)).events;

/** Commands and the frames that answer them; events that come in between are kept. */
class Socket {
  events = [];
  #answers = new Map();
  #sent = 0;

  static async open(query = "", options = { headers: authorized }) {
    const socket = new Socket();
    socket.ws = new WebSocket(`${url.replace("http", "ws")}/v1/socket${query}`, options);
    socket.ws.on("message", (text) => socket.#hear(JSON.parse(text)));
    await once(socket.ws, "open");
    return socket;
  }

  #hear(frame) {
    if (frame.type === "event") this.events.push(frame.event);
    else this.#answers.get(frame.id)?.(frame);
  }

  ask(type, fields = {}) {
    const id = `c${++this.#sent}`;
    this.ws.send(JSON.stringify({ type, id, ...fields }));
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  until(type, run_id) {
    return until(type, () => this.events.find((event) => event.type === type && event.run_id === run_id));
  }

  async close() {
    this.ws.close();
    await once(this.ws, "close");
  }
}

check("a key signs its user in", async () => {
  const me = await call("GET", "/v1/me");
  assert.deepEqual([me.tenant_id, me.user_id, me.credential.kind], ["local", "local", "key"]);
  await caller(url, "insula_00_11")("GET", "/v1/me", undefined, 401);
});

check("a submission waits for its result", async () => {
  const ended = await finish("echo", { greeting: "salve" });
  assert.equal(ended.status, "completed");
  assert.deepEqual(ended.result.echo, { greeting: "salve" });
});

check("an event source shows each event once and stops by itself", async () => {
  const begun = await submit("count", 3);
  const types = ["agent_started", "tool_executing", "tool_completed", "agent_completed"];
  let requests = 0;
  const authorize = (address, init) => {
    requests += 1;
    return fetch(address, { ...init, headers: { ...init.headers, ...authorized } });
  };
  const source = new EventSource(`${url}/v1/runs/${begun.run_id}/events`, { fetch: authorize });
  const seen = [];
  for (const type of types) source.addEventListener(type, (event) => seen.push(JSON.parse(event.data)));
  // It asks again when the stream has ended, and is told that there is nothing more.
  await until("a closed event source", () => source.readyState === EventSource.CLOSED);
  const expected = (await events(begun)).filter((event) => types.includes(event.type));
  assert.deepEqual(seen, expected);
  assert.equal(requests, 2);
});

check("a socket starts, answers and sees the end", async () => {
  const socket = await Socket.open();
  const { run } = await socket.ask("start", { agent: "refund", input: { order: "B-1", amount: 40 }, subscribe: true });
  await socket.until("agent_waiting", run.run_id);
  assert.equal((await socket.ask("answer", { run_id: run.run_id, answer: "no" })).answer, "recorded");
  await socket.until("agent_completed", run.run_id);
  await socket.close();
  assert.deepEqual((await call("GET", `/v1/runs/${run.run_id}`)).result, { refunded: 0, order: "B-1" });
});

check("a socket cancels", async () => {
  const socket = await Socket.open();
  const { run } = await socket.ask("start", { agent: "sleep", input: 60_000, subscribe: true });
  await socket.until("agent_started", run.run_id);
  assert.equal((await socket.ask("cancel", { run_id: run.run_id, reason: "enough" })).cancel, "recorded");
  await socket.until("agent_cancelled", run.run_id);
  await socket.close();
});

check("a socket that was cut is resumed without a gap", async () => {
  const thread_id = `resumed-${randomUUID()}`;
  const first = await Socket.open();
  await first.ask("subscribe", { thread_id, after: 0 });
  await first.ask("start", { agent: "count", input: 20, thread_id });
  await until("three events", () => first.events.length >= 3);
  first.ws.terminate();
  await once(first.ws, "close");
  const seen = first.events.map((event) => event.seq);
  const second = await Socket.open();
  await second.ask("subscribe", { thread_id, after: seen.at(-1) });
  const later = await finish("echo", 1, { thread_id });
  await second.until("agent_completed", later.run_id);
  await second.close();
  seen.push(...second.events.map((event) => event.seq));
  assert.deepEqual(seen, seen.map((_, index) => index + 1));
});

check("a ticket opens a socket once and only at home", async () => {
  const { ticket } = await call("POST", "/v1/tickets", undefined, 201);
  await assert.rejects(Socket.open(`?ticket=${ticket}`, { origin: "https://elsewhere.example" }), /403/);
  const socket = await Socket.open(`?ticket=${ticket}`, { origin: url });
  assert.equal((await socket.ask("ping")).type, "pong");
  await socket.close();
  await assert.rejects(Socket.open(`?ticket=${ticket}`, {}), /401/);
});

check("a revoked key closes its socket", async () => {
  const made = await call("POST", "/v1/keys", { name: "short" }, 201);
  const socket = await Socket.open("", { headers: { Authorization: `Bearer ${made.key}` } });
  const closed = once(socket.ws, "close");
  await call("DELETE", `/v1/keys/${made.key_id}`);
  assert.equal((await closed)[0], 1008);
});

check("what is wrong is a problem with its words", async () => {
  const absent = await call("GET", "/v1/runs/nobodys", undefined, 404);
  assert.equal(absent.type, "urn:insula:problem:not-found");
  const unfit = await call("POST", "/v1/runs", { agent: "refund", input: { order: 1 } }, 422);
  assert.equal(unfit.type, "urn:insula:problem:invalid-input");
  assert.ok(unfit.violations.length > 0);
  await call("POST", "/v1/runs", { agent: "echo", colour: "red" }, 400);
});

check("two users never see each other", async () => {
  const mine = await finish("echo", "mine");
  const order = { tenant_id: "local", user_id: `bob-${randomUUID()}`, name: "bob's" };
  const bob = caller(url, (await call("POST", "/v1/admin/keys", order, 201)).key);
  assert.deepEqual((await bob("GET", "/v1/runs")).items, []);
  await bob("GET", `/v1/runs/${mine.run_id}`, undefined, 404);
  await bob("POST", `/v1/runs/${mine.run_id}/answer`, { answer: 1 }, 404);
  await bob("GET", `/v1/threads/${mine.thread_id}/events`, undefined, 404);
});

check("the description names every route that was called here", async () => {
  const { openapi, paths } = await call("GET", "/openapi.json");
  assert.match(openapi, /^3\.1/);
  for (const path of ["/v1/runs", "/v1/runs/{run_id}/events", "/v1/socket", "/v1/tickets"]) assert.ok(paths[path], path);
});

process.exit((await run()) ? 1 : 0);
