// The console in a browser, as somebody uses it: Debian's Chromium, driven by playwright-core.
//
// It starts a server of its own, because it also takes it away and brings it back.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { SECONDS, caller, check, run, until } from "./checks.mjs";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const MORE_FLAGS = ["--disable-component-update", "--disable-sync"];
const SCREENSHOTS = join(process.env.CLIENTS_FOLDER, "screenshots");
const folder = await mkdtemp(join(tmpdir(), "insula-console-"));

/** A server at this port, with what it says at first. */
async function serve(port) {
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("INSULA_")));
  const words = ["serve", "--json", "--listen", `127.0.0.1:${port}`, "--data-dir", join(folder, "data")];
  const stdio = ["ignore", "pipe", "inherit"];
  const child = spawn(process.env.CLIENTS_BINARY, words, { stdio, cwd: folder, env: environment });
  const [line] = await once(createInterface(child.stdout), "line");
  return { child, ...JSON.parse(line) };
}

async function end({ child }, signal) {
  const ended = once(child, "exit");
  child.kill(signal);
  return (await ended)[0];
}

let server = await serve(0);
const { listening: url, key } = server;
const port = new URL(url).port;
const call = caller(url, key);
const browser = await chromium.launchPersistentContext(join(folder, "browser"), {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: [...FLAGS, ...MORE_FLAGS],
  viewport: { width: 1280, height: 800 },
});
browser.setDefaultTimeout(SECONDS * 1000);
await mkdir(SCREENSHOTS, { recursive: true });

/** What no page may do, whatever is checked. */
const complaints = [];
/** While the server is away, a failed request is what is expected. */
let isAway = false;
const page = browser.pages()[0];
page.on("console", (message) => {
  const isFailedRequest = /Failed to load resource|WebSocket connection/.test(message.text());
  if (message.type() === "error" && !(isAway && isFailedRequest)) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(error.message));
const origins = new Set();
page.on("request", (request) => origins.add(new URL(request.url()).origin));
await page.addInitScript(() => {
  document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective}`));
});

const by = (hook, more = "") => page.locator(`[data-test="${hook}"]${more}`);
const shot = (name) => page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
const go = (place) => page.evaluate((hash) => { location.hash = hash; }, place);
/** The place that was gone to is there, with what it has to say. */
async function drawn() {
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await until("a view", async () => (await page.locator("h1").count()) > 0 && (await page.locator(".loading").count()) === 0);
}
const status = (is) => by("run-status", `[data-status="${is}"]`).waitFor();
const submit = (agent, input, more = {}) => call("POST", "/v1/runs", { agent, input, ...more }, 202);

check("a key that is none is refused and the right one lets in", async () => {
  await page.goto(url);
  await by("sign-in-key").fill("insula_00_11");
  isAway = true; // The browser calls the refusal an error, as it should.
  await by("sign-in-submit").click();
  await by("problem").waitFor();
  isAway = false;
  await shot("sign-in");
  await by("sign-in-key").fill(key);
  await by("sign-in-submit").click();
  await by("connection", '[data-state="open"]').waitFor();
  assert.ok(!page.url().includes("insula_"), "the key is in the address");
});

check("a run is started from the form and watched to its end", async () => {
  await by("nav-start").click();
  await by("pick-agent", '[data-agent="sleep"]').click();
  await by("start-form").waitFor();
  if (!(await by("start-form").locator('[data-field=""]').count())) await by("as-json").click();
  await by("start-form").locator('[data-field=""]').first().fill("1500");
  await by("start-submit").click();
  await status("running");
  await by("log", '[data-state="live"]').waitFor();
  await status("completed");
  assert.match(await by("outcome").innerText(), /1,?500/);
  const { events } = await call("GET", `/v1/runs/${await by("run-id").innerText()}/events`);
  await until("the last event", async () => Number(await by("log").getAttribute("data-seq")) === events.at(-1).seq);
});

check("the timeline and the waterfall show what happened", async () => {
  const ended = await call("POST", "/v1/runs?wait=20s", { agent: "count", input: 3 });
  await go(`#/runs/${ended.run_id}`);
  await by("log", '[data-state="settled"]').waitFor();
  assert.ok(await by("waterfall").locator('[data-test="bar"]').count() >= 3);
  const last = (await call("GET", `/v1/runs/${ended.run_id}/events`)).events.at(-1).seq;
  assert.equal(Number(await by("log").getAttribute("data-seq")), last);
  await shot("run");
});

check("a run and its children are one picture", async () => {
  const text = await readFile(join(process.env.CLIENTS_FOLDER, "../../examples/spend-report/data/usage.csv"), "utf8");
  const ended = await call("POST", "/v1/runs?wait=90s", { agent: "spend-report", input: text });
  assert.equal(ended.status, "completed");
  await go(`#/runs/${ended.run_id}`);
  await by("log", '[data-state="settled"]').waitFor();
  const children = (await call("GET", `/v1/runs?parent_run_id=${ended.run_id}`)).items;
  assert.ok(await by("waterfall").locator('[data-test="bar"]').count() > children.length);
  for (const { agent } of children) assert.ok((await by("waterfall").innerText()).includes(agent), agent);
  await by("waterfall").evaluate((element) => window.scrollTo(0, element.getBoundingClientRect().top - 60));
  await shot("report");
});

check("a question is answered in the inbox", async () => {
  const { run_id } = await submit("refund", { order: "C-3", amount: 75 });
  await by("nav-inbox").click();
  const item = by("inbox-item", `[data-run="${run_id}"]`);
  await item.waitFor();
  await until("a count beside the inbox", async () => (await by("inbox-count").first().innerText()) === "1");
  await shot("inbox");
  const choice = item.locator('[data-test="choice"][data-choice="yes"]');
  await choice.click();
  const button = item.locator('[data-test="answer-submit"]');
  if (await button.count()) await button.click();
  await item.waitFor({ state: "detached" });
  const paid = await until("a refund", async () => {
    const run = await call("GET", `/v1/runs/${run_id}`);
    return run.status === "completed" && run;
  });
  assert.equal(paid.result.refunded, 75);
});

check("a running run is cancelled with a reason", async () => {
  const { run_id } = await submit("sleep", 60_000);
  await go(`#/runs/${run_id}`);
  await status("running");
  await by("cancel").click();
  await by("confirm").locator("input, textarea").first().fill("seen enough");
  await by("confirm-yes").click();
  await status("cancelled");
  await until("the reason", async () => (await by("outcome").innerText()).includes("seen enough"));
});

check("a run is verified against its record", async () => {
  const ended = await call("POST", "/v1/runs?wait=20s", { agent: "count", input: 2 });
  await go(`#/runs/${ended.run_id}`);
  await by("verify").click();
  await until("a word about it", async () => /calls/.test(await by("toasts").innerText()));
  assert.doesNotMatch(await by("toasts").innerText(), /undefined/);
});

check("when the server goes away and comes back nothing is missing", async () => {
  const thread_id = "through-the-night";
  const { run_id } = await submit("sleep", 60_000, { thread_id });
  await go(`#/threads/${thread_id}`);
  await by("log", '[data-state="live"]').waitFor();
  isAway = true;
  await end(server, "SIGKILL");
  await by("banner", '[data-state="lost"]').waitFor();
  await shot("reconnecting");
  server = await serve(port);
  await by("connection", '[data-state="open"], [data-test="connection"][data-state="back"]').waitFor();
  isAway = false;
  await call("POST", `/v1/runs/${run_id}/cancel`, {}, 202);
  const second = await call("POST", "/v1/runs?wait=40s", { agent: "count", input: 2, thread_id });
  const { events } = await call("GET", `/v1/threads/${thread_id}/events`);
  assert.equal(events.at(-1).run_id, second.run_id);
  await until("the last event", async () => Number(await by("log").getAttribute("data-seq")) === events.at(-1).seq);
  await by("row", '[data-type="agent_cancelled"], [data-test="row"][data-status="cancelled"]').first().waitFor();
});

check("the theme turns dark", async () => {
  const lightness = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0));
  await page.emulateMedia({ colorScheme: "light" });
  const light = await lightness();
  await page.emulateMedia({ colorScheme: "dark" });
  assert.ok((await lightness()) < light / 2, "the system's dark is not dark");
  await page.emulateMedia({ colorScheme: "light" });
  await by("theme-toggle").click();
  await by("theme-toggle").click();
  assert.ok((await lightness()) < light / 2, "the button's dark is not dark");
  await go("#/runs");
  await by("run-item").first().waitFor();
  await shot("dark");
  await by("theme-toggle").click();
});

check("nothing is wider than a phone", async () => {
  const { items } = await call("GET", "/v1/runs?agent=spend-report");
  const places = ["runs", "threads", "inbox", "start", "start?agent=refund", "agents", "schedules", "usage", "keys", "webhooks", "audit"];
  const tooWide = [];
  await page.setViewportSize({ width: 375, height: 740 });
  try {
    for (const place of [...places, "operator", "people", "limits", `runs/${items[0].run_id}`]) {
      await go(`#/${place}`);
      await drawn();
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (over > 0) tooWide.push(`${place} by ${over} pixels`);
    }
    await by("waterfall").waitFor();
    await shot("phone");
    await by("menu").click();
    await by("nav-inbox").click();
    await by("inbox").or(by("empty")).first().waitFor();
  } finally {
    await page.setViewportSize({ width: 1280, height: 800 });
  }
  assert.deepEqual(tooWide, []);
});

check("the keyboard reaches the main controls", async () => {
  await go("#/start?agent=refund");
  await by("start-submit").waitFor();
  await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
  const reached = new Set();
  for (let pressed = 0; pressed < 60; pressed += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.dataset.test ?? document.activeElement?.dataset.field));
  }
  for (const hook of ["nav-runs", "nav-inbox", "nav-start", "theme-toggle", "sign-out", "/order", "/amount", "start-submit"]) {
    assert.ok(reached.has(hook), `${hook} is not reached: ${[...reached].join(" ")}`);
  }
});

check("whoever signs out leaves no key behind", async () => {
  await by("sign-out").click();
  await by("sign-in-key").waitFor();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert.ok(!kept.includes("insula_"), kept);
});

check("no page has complained or called anybody else", async () => {
  assert.deepEqual(complaints, []);
  assert.deepEqual([...origins].filter((origin) => origin !== url && origin !== "null"), []);
});

let failed = await run();
await browser.close();
if ((await end(server, "SIGTERM")) !== 0) failed += 1;
await rm(folder, { recursive: true });
process.exit(failed ? 1 : 0);
