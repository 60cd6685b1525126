// What views are written with, in one import: Preact, htm and signals.

import { effect } from "../vendor/signals-core.js";

export { batch, computed, effect, signal } from "../vendor/signals-core.js";

// Classic scripts have put these there: see `vendor/README.md`.
const { preact, preactHooks, htm } = /** @type {any} */ (globalThis);

export const { Component, render } = preact;
export const { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } = preactHooks;
export const html = htm.bind(preact.h);

/**
 * The signal's value, and the component is drawn again when it changes.
 * @template T
 * @param {{value: T, peek(): T}} of
 * @returns {T}
 */
export function useSignal(of) {
  const [, again] = useReducer((/** @type {number} */ n) => n + 1, 0);
  const drawn = useRef(of.peek());
  drawn.current = of.peek();
  useEffect(() => effect(() => {
    if (of.value !== drawn.current) again(undefined);
  }), [of]);
  return drawn.current;
}

/**
 * Class names of the parts that are not empty.
 * @param {...(string|false|null|undefined)} parts
 */
export const classes = (...parts) => parts.filter(Boolean).join(" ");
