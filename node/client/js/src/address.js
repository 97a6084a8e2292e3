/**
 * Addresses: whom a URL is about, and what the same request is called at another core.
 */
import { HomecoreError } from './error.js';

/** The grammar of usernames (spec/pryv-api §1.1). Servers lower-case paths before they look. */
const USERNAME = /^[a-z0-9][a-z0-9-]{3,58}[a-z0-9]$/;

/** First path segments that any core answers for the whole cluster: never a user's. */
const CLUSTER_SEGMENTS = new Set([
  'access', 'apps', 'favicon.ico', 'healthz', 'livez', 'metrics', 'oauth2', 'readyz', 'reg',
  'socket.io', 'socket.io2', 'system', 'users', 'www'
]);

/** First path segments of a user's API: where the path begins so, the user is in the host name. */
const USER_SEGMENTS = new Set([
  '', 'access-info', 'accesses', 'account', 'audit', 'auth', 'events', 'mfa', 'profile', 'series',
  'service', 'shared-secrets', 'streams', 'webhooks'
]);

/** Host labels of the platform's own. */
const CLUSTER_LABELS = new Set(['access', 'mfa', 'reg']);

/**
 * @typedef {object} Address
 * @property {string} key under which the user's home is remembered. It holds the address that was
 *   asked besides the username: another cluster may have a user of the same name.
 * @property {string} rest path below a core's URL, with the query: `{username}/…`
 */

/**
 * Whom a request is about; `null` if it is about no user. Both forms of addresses are read,
 * `{core}/{username}/events` and `{username}.{domain}/events`; a core is always asked by path.
 *
 * @param {URL} url
 * @param {string} prefix path below which cores are served
 * @returns {Address | null}
 */
export function addressOf (url, prefix) {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
  if (!url.pathname.startsWith(prefix)) return null;
  const path = url.pathname.slice(prefix.length);
  const first = path.split('/', 1)[0].toLowerCase();
  if (CLUSTER_SEGMENTS.has(first)) return null;
  const inHost = USER_SEGMENTS.has(first);
  const username = inHost ? labelOf(url.hostname) : first;
  if (username === null || !USERNAME.test(username)) return null;
  return {
    key: `${url.origin}${prefix}|${username}`,
    rest: (inHost ? `${username}/` : '') + path + url.search
  };
}

/**
 * @param {string} hostname
 * @returns {string | null} the first of several labels
 */
function labelOf (hostname) {
  const dot = hostname.indexOf('.');
  const label = dot < 0 ? '' : hostname.slice(0, dot);
  return label === '' || CLUSTER_LABELS.has(label) ? null : label;
}

/**
 * Checks a core's address as a 421 or a store gave it. Credentials must not leave https: a request
 * that came in over https is never sent on over http.
 *
 * @param {unknown} coreUrl
 * @param {URL} asked
 * @returns {string} the address, with a slash at its end
 */
export function checkedCoreUrl (coreUrl, asked) {
  const url = parse(coreUrl);
  if (url === null) {
    throw new HomecoreError('invalid-core-url',
      `${asked.origin} answered that the user lives elsewhere, but named no usable address: ${JSON.stringify(coreUrl)}`);
  }
  if (asked.protocol === 'https:' && url.protocol !== 'https:') {
    throw new HomecoreError('insecure-core-url',
      `${asked.origin} answered that the user lives at ${url.origin}, which is not https: the request was not sent there`,
      { coreUrl: url.href });
  }
  return withSlash(url.href);
}

/**
 * @param {unknown} coreUrl
 * @returns {URL | null}
 */
function parse (coreUrl) {
  if (typeof coreUrl !== 'string') return null;
  let url;
  try {
    url = new URL(coreUrl);
  } catch {
    return null;
  }
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return plain && (url.protocol === 'http:' || url.protocol === 'https:') ? url : null;
}

/**
 * @param {string} text
 * @returns {string}
 */
export function withSlash (text) {
  return text.endsWith('/') ? text : `${text}/`;
}
