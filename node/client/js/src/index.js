/**
 * The client's side of a homecore cluster. Each user lives on one core; any other core answers a
 * request below `/{username}/` with 421 and the address of the user's home. This module finds the
 * home beforehand (`discover`), or follows one 421 and remembers (`createFetch`), so that programs
 * written for one server work with many.
 *
 * No dependencies, Node 20 and later, and browsers. Socket.IO does not go through `fetch`: open
 * sockets at the endpoint that `discover` returns.
 */
export { createFetch } from './fetch.js';
export { createStore } from './store.js';
export { discover } from './discover.js';
export { homeConnection, homeService, installFetch } from './pryv.js';
export { HomecoreError } from './error.js';

/** @typedef {import('./fetch.js').FetchOptions} FetchOptions */
/** @typedef {import('./store.js').Store} Store */
/** @typedef {import('./discover.js').DiscoverOptions} DiscoverOptions */
