import { test, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';

import { homeConnection, homeService, installFetch } from '../src/index.js';
import { startCluster } from './fake-cluster.js';

/** What the helpers use of the `pryv` package. The package itself is run in tests/contract/js. */
const pryv = {
  Service: class {
    constructor (url, customizations) { Object.assign(this, { url, customizations }); }
  },
  Connection: class {
    constructor (apiEndpoint) { this.apiEndpoint = apiEndpoint; }
  }
};

let cluster;
beforeEach(async () => {
  cluster = await startCluster({ cores: 2 });
  cluster.addUser('alice', 1);
});
afterEach(() => cluster.close());

test('a service and a connection are made at the home', async () => {
  const service = await homeService(pryv, cluster.url(0), 'alice', { customizations: { name: 'mine' } });
  assert.equal(service.url, `${cluster.url(1)}alice/service/info`);
  assert.deepEqual(service.customizations, { name: 'mine', api: `${cluster.url(1)}{username}/` });
  const connection = await homeConnection(pryv, cluster.url(0), 'alice', 'tok');
  assert.equal(connection.apiEndpoint, `${cluster.url(1).replace('//', '//tok@')}alice/`);
});

test('a user with an own host name keeps it', async () => {
  cluster.before = () => ({ status: 200, body: { core: { url: 'https://alice.example.com/' } } });
  const service = await homeService(pryv, cluster.url(0), 'alice');
  assert.equal(service.customizations.api, 'https://{username}.example.com/');
});

test('the global fetch is replaced and put back', async () => {
  const before = globalThis.fetch;
  const uninstall = installFetch();
  const answer = await fetch(`${cluster.url(0)}alice/echo`);
  assert.equal((await answer.json()).core, 1);
  uninstall();
  assert.equal(globalThis.fetch, before);
  assert.equal((await fetch(`${cluster.url(0)}alice/echo`)).status, 421);
});

test('what someone else put there since is left alone', () => {
  const target = { fetch: async () => new Response('{}') };
  const uninstall = installFetch({ target });
  const theirs = async () => new Response('{}');
  target.fetch = theirs;
  uninstall();
  assert.equal(target.fetch, theirs);
});
