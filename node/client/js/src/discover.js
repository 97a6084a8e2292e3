/**
 * `discover`: where a user lives, asked before the first request, so that nothing is ever sent to
 * a wrong core. Any core of the cluster can tell.
 */
import { withSlash } from './address.js';
import { HomecoreError } from './error.js';

/**
 * @typedef {object} DiscoverOptions
 * @property {typeof globalThis.fetch} [fetch] the global one if not said
 * @property {number} [timeoutMs] for each of at most three requests, 10000 if not said
 */

/** Answers of a register that has no such look-up. */
const NOT_THERE = new Set([404, 405, 410, 501]);

/**
 * The API endpoint of a user, without token: `{home}{username}/`.
 *
 * @param {string | URL} from the address of any core, or of its service info
 *   (`…/reg/service/info`)
 * @param {string} username
 * @param {DiscoverOptions} [options]
 * @returns {Promise<string>}
 */
export async function discover (from, username, options = {}) {
  const name = username.toLowerCase();
  const register = await registerOf(String(from), options);
  const asked = `${register}cores?username=${encodeURIComponent(name)}`;
  const cores = await ask(asked, {}, options);
  if (cores.ok && typeof cores.body?.core?.url === 'string') {
    return endpoint(cores.body.core.url, name);
  }
  // A register of the older kind knows the second look-up only, and answers both "no such user"
  // and "no such route" with 404: so a 404 is believed from that one alone.
  if (!NOT_THERE.has(cores.status)) throw failed(asked, cores);
  const second = `${register}${encodeURIComponent(name)}/server`;
  const server = await ask(second, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{}'
  }, options);
  if (server.ok && typeof server.body?.server === 'string') {
    return endpoint(server.body.server, name);
  }
  if (server.status === 404) {
    throw new HomecoreError('unknown-user', `the platform knows no user ${JSON.stringify(name)}`, { status: 404 });
  }
  throw failed(second, server);
}

/**
 * @param {string} from
 * @param {DiscoverOptions} options
 * @returns {Promise<string>} where look-ups begin, with a slash at its end
 */
async function registerOf (from, options) {
  const url = new URL(from);
  if (!/\/service\/infos?\/?$/.test(url.pathname)) return `${withSlash(url.origin + url.pathname)}reg/`;
  const info = await ask(from, {}, options);
  if (!info.ok || typeof info.body?.register !== 'string') throw failed(from, info);
  return withSlash(info.body.register);
}

/**
 * A register tells the core, or (a single core does) the user's address itself.
 *
 * @param {string} told
 * @param {string} username
 * @returns {string}
 */
function endpoint (told, username) {
  const url = new URL(told);
  const base = withSlash(url.origin + url.pathname);
  const isUsers = base.endsWith(`/${username}/`) || url.hostname.startsWith(`${username}.`);
  return isUsers ? base : `${base}${username}/`;
}

/**
 * @param {string} url
 * @param {RequestInit} init
 * @param {DiscoverOptions} options
 * @returns {Promise<{ ok: boolean, status: number, body: any }>}
 */
async function ask (url, init, { fetch: send = globalThis.fetch.bind(globalThis), timeoutMs = 10_000 }) {
  let answer;
  try {
    answer = await send(url, {
      ...init,
      headers: { Accept: 'application/json', ...init.headers },
      signal: AbortSignal.timeout(timeoutMs)
    });
    const text = await answer.text();
    return { ok: answer.ok, status: answer.status, body: parsed(text) };
  } catch (cause) {
    throw new HomecoreError('discovery-failed', `${url} did not answer`, { cause });
  }
}

/**
 * @param {string} text
 * @returns {any} `undefined` if the text is not JSON
 */
function parsed (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {string} url
 * @param {{ status: number, body: any }} answer
 * @returns {HomecoreError}
 */
function failed (url, { status, body }) {
  const said = body?.error?.message;
  return new HomecoreError('discovery-failed',
    `${url} was answered ${status}${typeof said === 'string' ? `: ${said}` : ' and tells no home'}`,
    { status });
}
