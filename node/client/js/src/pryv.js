/**
 * Helpers for the official `pryv` package, which does not follow a 421. It calls the global
 * `fetch`, looked up at each call, and has no setting for another one. So there are two ways:
 *
 * - `homeConnection` and `homeService` find the user's home first. The package then only ever
 *   talks to the right core and needs nothing of this module afterwards. Take these if you can.
 * - `installFetch` puts a `fetch` that follows in the place of the global one, for code that you
 *   cannot change, or whose users may be moved while it runs.
 *
 * The package is handed in, so that this module depends on no version of it.
 */
import { discover } from './discover.js';
import { createFetch } from './fetch.js';

/**
 * @typedef {object} Pryv what is used of the package
 * @property {new (serviceInfoUrl: string, customizations?: any) => any} Service
 * @property {new (apiEndpoint: string, service?: any) => any} Connection
 */

/**
 * A `pryv.Service` at the home core of a user: `login` and everything after it go to that core.
 *
 * @param {Pryv} pryv the package
 * @param {string | URL} from any core, or its service info
 * @param {string} username
 * @param {import('./discover.js').DiscoverOptions & { customizations?: object }} [options]
 * @returns {Promise<any>}
 */
export async function homeService (pryv, from, username, options = {}) {
  const endpoint = await discover(from, username, options);
  // The service info below the user's own path is answered by the home core alone, but it may name
  // the platform's addresses; the user's address is the one that was found.
  return new pryv.Service(`${endpoint}service/info`, {
    ...options.customizations,
    api: template(endpoint, username.toLowerCase())
  });
}

/**
 * A `pryv.Connection` at the home core of a user.
 *
 * @param {Pryv} pryv the package
 * @param {string | URL} from any core, or its service info
 * @param {string} username
 * @param {string} token
 * @param {import('./discover.js').DiscoverOptions} [options]
 * @returns {Promise<any>}
 */
export async function homeConnection (pryv, from, username, token, options = {}) {
  const endpoint = new URL(await discover(from, username, options));
  endpoint.username = token;
  return new pryv.Connection(endpoint.href);
}

/**
 * Replaces the global `fetch` by one that follows a 421 once and remembers.
 *
 * @param {import('./fetch.js').FetchOptions & { target?: { fetch: typeof globalThis.fetch } }} [options]
 *   `target` is where `fetch` is replaced, the global object if not said
 * @returns {() => void} puts back what was there, unless someone else replaced it since
 */
export function installFetch ({ target = globalThis, ...options } = {}) {
  const before = target.fetch;
  const following = createFetch({ fetch: before.bind(target), ...options });
  target.fetch = following;
  return () => {
    if (target.fetch === following) target.fetch = before;
  };
}

/**
 * @param {string} endpoint
 * @param {string} username
 * @returns {string}
 */
function template (endpoint, username) {
  const url = new URL(endpoint);
  return url.pathname.endsWith(`/${username}/`)
    ? `${endpoint.slice(0, -username.length - 1)}{username}/`
    : endpoint.replace(`//${username}.`, '//{username}.');
}
