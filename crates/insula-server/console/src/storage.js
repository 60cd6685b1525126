// What the browser keeps. Storage may be forbidden or full: the console works without it.

/** @param {() => Storage} which */
const kept = (which) => ({
  /** @param {string} name @returns {string|null} */
  read(name) {
    try {
      return which().getItem(`insula.${name}`);
    } catch {
      return null;
    }
  },
  /** @param {string} name @param {string|null} value */
  write(name, value) {
    try {
      if (value === null) which().removeItem(`insula.${name}`);
      else which().setItem(`insula.${name}`, value);
    } catch {
      // Nothing is kept then.
    }
  },
});

/** Until the tab is closed. */
export const tab = kept(() => sessionStorage);
/** On this device. */
export const device = kept(() => localStorage);
