/**
 * A request that can be sent more than once, if its body allows it.
 */

/**
 * @typedef {object} Replay
 * @property {URL} url as asked
 * @property {RequestInit} init
 * @property {boolean} replayable whether the body can be sent a second time
 * @property {boolean} idempotent whether sending it twice has the effect of sending it once
 */

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Fields of a `Request` that carry over to a request for another address. */
const CARRIED = /** @type {const} */ ([
  'cache', 'credentials', 'integrity', 'keepalive', 'mode', 'redirect', 'referrer',
  'referrerPolicy', 'signal'
]);

/**
 * Reads the two arguments of `fetch`. The body of a `Request` does not tell what it was made from,
 * so it is read into memory here; a stream given as `init.body` stays a stream.
 *
 * @param {RequestInfo | URL} input
 * @param {RequestInit} [init]
 * @returns {Promise<Replay>}
 */
export async function replayOf (input, init) {
  const given = typeof Request !== 'undefined' && input instanceof Request ? input : null;
  const url = new URL(given === null ? String(input) : given.url, baseUrl());
  /** @type {RequestInit} */
  const all = { ...(given === null ? {} : await fieldsOf(given, init)), ...init };
  const method = (all.method ?? 'GET').toUpperCase();
  return {
    url,
    init: all,
    replayable: isReplayable(all.body),
    idempotent: IDEMPOTENT.has(method)
  };
}

/**
 * The same request for another core: all but a `Host` that names the first one.
 *
 * @param {RequestInit} init
 * @returns {RequestInit}
 */
export function withoutHost (init) {
  if (init.headers === undefined) return init;
  const headers = new Headers(init.headers);
  if (!headers.has('host')) return init;
  headers.delete('host');
  return { ...init, headers };
}

/**
 * @param {Request} request
 * @param {RequestInit | undefined} init
 * @returns {Promise<RequestInit>}
 */
async function fieldsOf (request, init) {
  /** @type {RequestInit} */
  const fields = { method: request.method, headers: request.headers };
  for (const name of CARRIED) {
    const value = request[name];
    // A mode of `navigate` and a referrer of `about:client` cannot be given to `fetch` again.
    if (value !== undefined && value !== 'navigate' && value !== 'about:client') {
      Object.assign(fields, { [name]: value });
    }
  }
  if (init?.body === undefined && request.method !== 'GET' && request.method !== 'HEAD') {
    // Not asked by `request.body`: not every browser has it.
    const bytes = await request.arrayBuffer();
    if (bytes.byteLength > 0) fields.body = bytes;
  }
  return fields;
}

/**
 * @param {unknown} body
 * @returns {boolean}
 */
function isReplayable (body) {
  return body === undefined || body === null || typeof body === 'string' ||
    body instanceof URLSearchParams || body instanceof Blob || body instanceof FormData ||
    body instanceof ArrayBuffer || ArrayBuffer.isView(body);
}

/** @returns {string | undefined} what relative addresses are relative to: a page, if there is one */
function baseUrl () {
  return globalThis.location?.href;
}
