// Begins: whoever was signed in goes on, and the page is drawn.

import { App } from "./app.js";
import { effect, html, render } from "./html.js";
import { inbox, refreshInbox } from "./inbox.js";
import { forgetLogs } from "./logs.js";
import { me, resume } from "./session.js";
import { connect, disconnect } from "./socket.js";

effect(() => {
  if (me.value) {
    connect();
    refreshInbox();
  } else {
    disconnect();
    forgetLogs();
    inbox.value = { items: undefined, problem: null };
  }
});

render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
resume();
