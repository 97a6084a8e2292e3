/**
 * Where homes are remembered: a bounded map that forgets the entry unused for longest. Anything
 * with the same three methods will do (they may be async), for instance one over `localStorage`.
 * A store must not throw: what it holds is a short cut, never needed.
 *
 * @typedef {object} Store
 * @property {(key: string) => string | undefined | Promise<string | undefined>} get
 * @property {(key: string, coreUrl: string) => unknown} set
 * @property {(key: string) => unknown} delete
 */

/**
 * @param {{ max?: number }} [options] how many homes are remembered, 1000 if not said
 * @returns {Store & { readonly size: number }}
 */
export function createStore ({ max = 1000 } = {}) {
  if (!Number.isInteger(max) || max < 1) {
    throw new RangeError(`a store holds at least one home: max is ${max}`);
  }
  // A Map lists its keys in the order of insertion: the first one is the oldest.
  /** @type {Map<string, string>} */
  const homes = new Map();
  return {
    get size () {
      return homes.size;
    },
    get (key) {
      const coreUrl = homes.get(key);
      if (coreUrl !== undefined) {
        homes.delete(key);
        homes.set(key, coreUrl);
      }
      return coreUrl;
    },
    set (key, coreUrl) {
      homes.delete(key);
      homes.set(key, coreUrl);
      for (const oldest of homes.keys()) {
        if (homes.size <= max) break;
        homes.delete(oldest);
      }
    },
    delete (key) {
      homes.delete(key);
    }
  };
}
