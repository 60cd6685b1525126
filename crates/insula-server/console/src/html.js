// What views are written with, in one import: Preact, htm and signals.

import { useEffect, useReducer, useRef } from "../vendor/htm-preact-standalone.js";
import { effect } from "../vendor/signals-core.js";

export {
  Component, html, render, useCallback, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState,
} from "../vendor/htm-preact-standalone.js";
export { batch, computed, effect, signal } from "../vendor/signals-core.js";

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
