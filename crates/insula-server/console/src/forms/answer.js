// An answer to an open question.

import { path, post } from "../api.js";
import { html, useState } from "../html.js";
import { refreshInbox } from "../inbox.js";
import { Ago, ProblemNote } from "../parts/basics.js";
import { say } from "../parts/toast.js";
import { mayWrite } from "../session.js";
import { InputForm } from "./input.js";

/** @param {{open: Pick<import("../inbox.js").Open, "run_id"|"index"|"question"|"waiting_for"|"expires_at">}} props */
export function AnswerForm({ open }) {
  const { question, run_id: run, index, expires_at: expires } = open;
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const send = async (/** @type {any} */ answer) => {
    setBusy(true);
    setProblem(null);
    try {
      const { answer: came } = await post(path`/v1/runs/${run}/answer`, { answer, question: index });
      say(came === "recorded" ? "Answered" : came === "expired" ? "Too late: the question had expired" : "Somebody has answered before");
      refreshInbox();
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  };
  const choices = question.choices ?? [];
  return html`<div class="answer" data-test="answer-form" data-run=${run} data-index=${index}>
    <p class="question-text">${question.text}</p>
    ${expires && html`<p class="faint small">Expires <${Ago} time=${expires} /></p>`}
    ${!mayWrite() ? html`<p class="faint">This key may only read, so it cannot answer.</p>`
      : choices.length > 0 ? html`<div class="choices" role="group" aria-label="Answers">
        ${choices.map((choice) =>
          html`<button type="button" disabled=${busy} data-test="choice" data-choice=${choice} onClick=${() => send(choice)}>
            ${choice}</button>`)}</div>`
      : html`<${Written} schema=${question.schema} busy=${busy} problem=${problem} send=${send} />`}
    <${ProblemNote} problem=${problem} />
  </div>`;
}

/** @param {{schema: any, busy: boolean, problem: any, send: (answer: any) => void}} props */
function Written({ schema, busy, problem, send }) {
  const [given, setGiven] = useState(/** @type {import("./input.js").Given} */ ({ value: undefined, faults: [] }));
  const [tried, setTried] = useState(false);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    setTried(true);
    if (given.faults.length === 0) send(given.value ?? null);
  };
  return html`<form onSubmit=${submit} noValidate>
    <${InputForm} schema=${schema} onGiven=${setGiven} violations=${problem?.violations} showFaults=${tried} />
    <footer class="form-foot">
      <button type="submit" class="primary" disabled=${busy} data-test="answer-submit">${busy ? "Sending…" : "Answer"}</button></footer>
  </form>`;
}
