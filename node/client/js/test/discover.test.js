import { test, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';

import { discover } from '../src/index.js';
import { startCluster } from './fake-cluster.js';

let cluster;
beforeEach(async () => {
  cluster = await startCluster({ cores: 2 });
  cluster.addUser('alice', 1);
});
afterEach(() => cluster.close());

test('any core tells, by its own address or its service info', async () => {
  const expected = `${cluster.url(1)}alice/`;
  for (const from of [cluster.url(0), cluster.url(0).slice(0, -1), new URL(cluster.url(1)), `${cluster.url(0)}reg/service/info`]) {
    assert.equal(await discover(from, 'Alice'), expected, String(from));
  }
});

test('falls back to the older look-up', async () => {
  for (const status of [404, 410]) {
    cluster.before = request => (request.path.startsWith('/reg/cores') ? { status, body: { error: { id: 'unknown-resource', message: 'no' } } } : undefined);
    assert.equal(await discover(cluster.url(0), 'alice'), `${cluster.url(1)}alice/`);
  }
});

test('understands a register that tells the address of the user', async () => {
  for (const url of ['https://alice.example.com/', 'https://example.com/alice/']) {
    cluster.before = () => ({ status: 200, body: { core: { url } } });
    assert.equal(await discover(cluster.url(0), 'alice'), url);
  }
});

test('says which went wrong: no such user, or no answer', async () => {
  await assert.rejects(discover(cluster.url(0), 'nobody'), { code: 'unknown-user', status: 404 });

  cluster.before = () => ({ status: 503, body: { error: { id: 'api-unavailable', message: 'no quorum' } } });
  await assert.rejects(discover(cluster.url(0), 'alice'), { code: 'discovery-failed', status: 503, message: /no quorum/ });

  cluster.before = () => ({ status: 200, body: 'not json' });
  await assert.rejects(discover(cluster.url(0), 'alice'), { code: 'discovery-failed', status: 200 });

  const url = cluster.url(0);
  await cluster.close();
  await assert.rejects(discover(url, 'alice'), error => error.code === 'discovery-failed' && error.cause !== undefined);
});

test('gives up after its time', async () => {
  const never = (url, { signal }) => new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
  const started = performance.now();
  const keepAlive = setInterval(() => {}, 1000);
  await assert.rejects(discover('https://core-a/', 'alice', { fetch: never, timeoutMs: 50 }), { code: 'discovery-failed' });
  clearInterval(keepAlive);
  assert.ok(performance.now() - started < 5_000);
});
