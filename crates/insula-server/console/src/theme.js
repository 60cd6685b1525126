// Light, dark, or as the system is.

import { signal } from "./html.js";
import { device } from "./storage.js";

const ORDER = ["system", "light", "dark"];

/** @type {{value: string, peek(): string}} */
export const theme = signal(ORDER.includes(device.read("theme") ?? "") ? device.read("theme") : "system");

/** The next of the three. */
export function turnTheme() {
  const next = ORDER[(ORDER.indexOf(theme.peek()) + 1) % ORDER.length];
  theme.value = next;
  device.write("theme", next === "system" ? null : next);
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}
