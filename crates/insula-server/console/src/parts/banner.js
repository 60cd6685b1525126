// How the live connection is, when it is not simply there.

import { html, useEffect, useSignal, useState } from "../html.js";
import { connection, retryNow } from "../socket.js";
import { Icon } from "./icon.js";

export function Banner() {
  const { state, retryAt = 0, why } = useSignal(connection);
  const seconds = useCountdown(state === "lost" ? retryAt : 0);
  if (state === "back") {
    return html`<div class="banner good" role="status" data-test="banner" data-state="back"><${Icon} name="check" />
      <span>Back. Every thread goes on where it was; nothing is missing.</span></div>`;
  }
  if (state !== "lost") return null;
  return html`<div class="banner" role="status" data-test="banner" data-state="lost">
    <i class="spin" aria-hidden="true"></i>
    <span><b>Reconnecting…</b> ${why ? `${why} ` : ""}
      <span class="faint">What is shown may be old. ${seconds > 1 ? `Next try in ${seconds} s.` : ""}</span></span>
    <button type="button" class="small" onClick=${retryNow}>Try now</button>
  </div>`;
}

/** Whole seconds until then. @param {number} at */
function useCountdown(at) {
  const [, again] = useState(0);
  useEffect(() => {
    if (!at) return undefined;
    const timer = setInterval(() => again((n) => n + 1), 500);
    return () => clearInterval(timer);
  }, [at]);
  return Math.max(0, Math.ceil((at - Date.now()) / 1_000));
}
