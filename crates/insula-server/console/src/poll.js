// Answers that are asked for again and again while somebody looks, and lists that grow by pages.

import { get, query } from "./api.js";
import { useEffect, useRef, useState } from "./html.js";

/**
 * @template T
 * @typedef {{data: T|undefined, problem: any, refresh: () => Promise<void>}} Polled
 */

/**
 * What `load` answers, now and every so many milliseconds (never again when 0).
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {number|((data: T|undefined) => number)} every
 * @param {any[]} deps when one changes, it begins from nothing
 * @returns {Polled<T>}
 */
export function usePolled(load, every, deps) {
  const [state, set] = useState(/** @type {{data: any, problem: any}} */ ({ data: undefined, problem: null }));
  const round = useRef(async () => {});
  useEffect(() => {
    const gone = new AbortController();
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    let timer;
    /** @type {T|undefined} */
    let data;
    const ask = async () => {
      try {
        data = await load(gone.signal);
        if (!gone.signal.aborted) set({ data, problem: null });
      } catch (problem) {
        if (!gone.signal.aborted) set((before) => ({ ...before, problem }));
      }
    };
    round.current = async () => {
      clearTimeout(timer);
      await ask();
      again();
    };
    const again = () => {
      const pause = typeof every === "function" ? every(data) : every;
      clearTimeout(timer);
      if (pause && !gone.signal.aborted) timer = setTimeout(() => (document.hidden ? again() : round.current()), pause);
    };
    set({ data: undefined, problem: null });
    round.current();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, deps);
  return { ...state, refresh: () => round.current() };
}

/** How many items a list holds before it asks for a narrower filter instead. */
export const MOST_ITEMS = 1_000;

/**
 * A list, newest first: its first page is kept fresh, the following ones come when asked for.
 * @param {string} where
 * @param {Record<string, any>} filters
 * @param {{id: (item: any) => string, every?: number|((page: any) => number), limit?: number}} options
 */
export function usePages(where, filters, { id, every = 0, limit = 50 }) {
  const search = query({ ...filters, limit });
  const first = usePolled((signal) => get(where + search, { signal }), every, [where, search]);
  const [rest, setRest] = useState(/** @type {{of: string, items: any[], next: string|null, loading: boolean, problem?: any}|null} */
    (null));
  const further = rest && rest.of === where + search ? rest : null;
  const next = further ? further.next : first.data?.next;
  const more = async () => {
    // The first page as it is now is kept as well: what new items push off it would be missing otherwise.
    const before = further ?? { of: where + search, items: first.data?.items ?? [], next, loading: true };
    setRest({ ...before, loading: true, problem: null });
    try {
      const page = await get(where + query({ ...filters, limit, cursor: next }));
      setRest({ ...before, items: [...before.items, ...page.items], next: page.next ?? null, loading: false });
    } catch (problem) {
      setRest({ ...before, loading: false, problem });
    }
  };
  return { ...first, problem: first.problem ?? further?.problem, items: first.data && joined(first.data.items, further?.items ?? [], id),
    next, more, loadingMore: further?.loading ?? false };
}

/** @param {any[]} fresh @param {any[]} older @param {(item: any) => string} id */
function joined(fresh, older, id) {
  if (older.length === 0) return fresh;
  const there = new Set(fresh.map(id));
  return [...fresh, ...older.filter((item) => !there.has(id(item)))];
}
