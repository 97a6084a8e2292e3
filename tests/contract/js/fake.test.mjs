/**
 * `sdk.mjs` against a cluster of fake cores: shows that the script itself works, and that it fails
 * when something differs. The run against real cores is in ../tests/it.
 */
import { test, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { startCluster } from '../../../node/client/js/test/fake-cluster.js';

const csv = fileURLToPath(new URL('../../golden/heart-rate-100hz.csv', import.meta.url));
const script = fileURLToPath(new URL('sdk.mjs', import.meta.url));

let cluster;
beforeEach(async () => { cluster = await startCluster({ cores: 3 }); });
afterEach(() => cluster.close());

async function runScript () {
  const cores = cluster.cores.map(core => core.url);
  const child = spawn(process.execPath, [script, JSON.stringify({ cores, serviceInfo: `${cores[0]}reg/service/info`, csv })],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', chunk => { printed += chunk; });
  const [code] = await once(child, 'close');
  return { code, result: JSON.parse(printed) };
}

test('every core is a start, and each sample comes back', async () => {
  const { code, result } = await runScript();
  assert.equal(code, 0, result.error);
  assert.deepEqual(result.runs.map(run => run.start), cluster.cores.map(core => core.url));
  for (const run of result.runs) {
    assert.notEqual(run.wrong, run.home);
    assert.deepEqual([run.followed.created, run.followed.readBack], [1000, 1000]);
    assert.deepEqual([run.direct.created, run.direct.readBack], [1000, 1000]);
  }
});

test('one sample that differs is found', async () => {
  let created = 0;
  cluster.before = request => {
    if (request.method === 'POST' && request.body.includes('events.create')) {
      created += 1;
      // The second batch of the second part of the work.
      if (created === 6) request.body = Buffer.from(request.body.toString().replace('"content":5', '"content":6'));
    }
    return undefined;
  };
  const { code, result } = await runScript();
  assert.equal(code, 1);
  assert.equal(result.ok, false);
  assert.match(result.error, /AssertionError/);
});
