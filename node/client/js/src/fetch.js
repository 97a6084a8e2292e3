/**
 * `createFetch`: a `fetch` that knows that a user lives on one core.
 *
 * A 421 of the kind `wrong-core` is followed once, with the same method, headers and body, and the
 * home it named is remembered: the next request for that user goes there directly. A home that is
 * gone, or that itself answers 421, is forgotten and the address that was asked is tried. No
 * request follows two 421: cores that disagree must not send a client round in circles.
 */
import { addressOf, checkedCoreUrl, withSlash } from './address.js';
import { HomecoreError } from './error.js';
import { replayOf, withoutHost } from './request.js';
import { createStore } from './store.js';

/**
 * @typedef {object} FetchOptions
 * @property {typeof globalThis.fetch} [fetch] what sends the requests; the global one if not said
 * @property {import('./store.js').Store} [store] where homes are remembered
 * @property {string} [prefix] path below which cores are served, `/` if not said
 */

/** A `wrong-core` answer is a few hundred bytes; more is not one. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** Codes of errors that arise before any byte of a request was sent. */
const NOT_SENT = new Set([
  'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'
]);

/**
 * @param {FetchOptions} [options]
 * @returns {typeof globalThis.fetch}
 */
export function createFetch (options = {}) {
  // Called unbound below: a browser's `fetch` refuses any other `this` than the window.
  const send = options.fetch ?? globalThis.fetch.bind(globalThis);
  const store = options.store ?? createStore();
  const prefix = withSlash(options.prefix ?? '/');

  return async function homecoreFetch (input, init) {
    const request = await replayOf(input, init);
    const address = addressOf(request.url, prefix);
    if (address === null) return send(request.url.href, request.init);

    const remembered = await rememberedHome(store, address.key, request.url);
    if (remembered !== undefined) {
      const answer = await askHome(send, store, remembered, request, address);
      if (answer !== null) return answer;
    }
    const answer = await send(request.url.href, request.init);
    const named = await wrongCore(answer);
    if (named === undefined) return answer;
    const home = checkedCoreUrl(named, request.url);
    if (!request.replayable) {
      await store.set(address.key, home);
      throw usedUp(home, answer.status);
    }
    const followed = await send(home + address.rest, withoutHost(request.init));
    if (await wrongCore(followed) === undefined) await store.set(address.key, home);
    return followed;
  };
}

/**
 * Asks the remembered home.
 *
 * @param {typeof globalThis.fetch} send
 * @param {import('./store.js').Store} store
 * @param {string} home
 * @param {import('./request.js').Replay} request
 * @param {import('./address.js').Address} address
 * @returns {Promise<Response | null>} `null` if the home is forgotten and the request may be sent
 *   to the address that was asked
 */
async function askHome (send, store, home, request, address) {
  let answer;
  try {
    answer = await send(home + address.rest, withoutHost(request.init));
  } catch (error) {
    if (request.init.signal?.aborted) throw error;
    await store.delete(address.key);
    // A broken connection does not tell whether the core carried the request out: what must not
    // be done twice is only sent again if it never left.
    if (!request.replayable || !(request.idempotent || notSent(error))) throw error;
    return null;
  }
  const named = await wrongCore(answer);
  if (named === undefined) return answer;
  await store.delete(address.key);
  if (request.replayable) return null;
  const moved = checkedCoreUrl(named, request.url);
  await store.set(address.key, moved);
  throw usedUp(moved, answer.status);
}

/**
 * @param {import('./store.js').Store} store
 * @param {string} key
 * @param {URL} asked
 * @returns {Promise<string | undefined>}
 */
async function rememberedHome (store, key, asked) {
  const home = await store.get(key);
  if (home === undefined || home === null) return undefined;
  try {
    return checkedCoreUrl(home, asked);
  } catch {
    // A store kept outside of this module may hold anything; what is no home is forgotten.
    await store.delete(key);
    return undefined;
  }
}

/**
 * What a `wrong-core` answer names as the user's home; `undefined` for any other answer, which
 * then can still be read by the caller.
 *
 * @param {Response} answer
 * @returns {Promise<unknown>}
 */
async function wrongCore (answer) {
  if (answer.status !== 421 || answer.body === null) return undefined;
  const text = await textUpTo(answer.clone(), ANSWER_BYTES_MAX);
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    return undefined;
  }
  if (error?.id !== 'wrong-core' || error.coreUrl === undefined) return undefined;
  return error.coreUrl;
}

/**
 * @param {Response} answer
 * @param {number} max
 * @returns {Promise<string>} the text, or nothing if it is longer
 */
async function textUpTo (answer, max) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > max) {
      // Not awaited: one half of a cloned body is only cancelled when the other half is.
      reader.cancel().catch(() => {});
      return '';
    }
  }
}

/**
 * @param {unknown} error
 * @returns {boolean}
 */
function notSent (error) {
  const cause = /** @type {{ code?: unknown, errors?: unknown[] } | undefined} */ (
    /** @type {{ cause?: unknown }} */ (error)?.cause);
  if (cause === undefined || cause === null) return false;
  if (typeof cause.code === 'string') return NOT_SENT.has(cause.code);
  // Node tries each address of a name and reports them together.
  return Array.isArray(cause.errors) && cause.errors.length > 0 &&
    cause.errors.every(one => notSent({ cause: one }));
}

/**
 * @param {string} home
 * @param {number} status
 * @returns {HomecoreError}
 */
function usedUp (home, status) {
  return new HomecoreError('body-not-replayable',
    `the user lives at ${home}, and the body was a stream that is used up: send the request again with a new body`,
    { coreUrl: home, status });
}
