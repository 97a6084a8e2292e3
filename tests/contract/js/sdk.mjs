/**
 * The official `pryv` package against a cluster of cores.
 *
 * For each core: registers a user there, then, starting at a core that is not the user's home,
 * does a day's work through the homecore client (which follows the 421), and does it again at the
 * home with the package alone. The work: log in, create streams, write a recording of a heart in
 * batches, read it back in every way the package knows, and compare. Between the two it shows that
 * the package alone, at a wrong core, does get the 421.
 *
 * Takes one JSON object, as argument or in HOMECORE_SDK:
 *   { "cores": [url, url, url], "serviceInfo": url, "csv": path }
 * Prints one JSON object; ends with 1 if anything differed.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import pryv from 'pryv';
import { discover, homeConnection, homeService, installFetch } from 'homecore-client';

import { APP, PASSWORD, describe, register, run, serviceAt } from './support.mjs';

/** In milliseconds: the platform keeps whole ones. */
const RECORDED_AT = 1_600_000_000_000;
const BATCH = 250;

await run('sdk.mjs', main);

async function main ({ cores, serviceInfo, csv }) {
  const samples = await readRecording(csv);
  const info = await new pryv.Service(serviceInfo).info();
  const runs = [];
  for (const start of cores) runs.push(await from(cores, start, samples));
  return { ok: true, sdk: pryv.version, platform: info.name, samples: samples.length, runs };
}

async function from (cores, start, samples) {
  const { username, registered } = await register(start);
  const endpoint = await discover(start, username);
  for (const core of cores) {
    assert.equal(await discover(core, username), endpoint, `${core} tells another home`);
    assert.equal(await discover(`${core}reg/service/info`, username), endpoint);
  }
  const home = cores.find(core => endpoint === `${core}${username}/`);
  assert.ok(home, `the home of ${username} is at none of the cores: ${endpoint}`);
  const wrong = start === home ? cores.find(core => core !== home) : start;

  const refused = await refusedAtWrongCore(wrong, home, username);
  const followed = await throughClient(wrong, home, username, samples);
  const direct = await alone(wrong, home, username, samples);
  return { start, username, registered, home, wrong, refused, followed, direct };
}

/** The package alone at a wrong core: it reports the 421 and goes nowhere. */
async function refusedAtWrongCore (wrong, home, username) {
  const error = await serviceAt(wrong).login(username, PASSWORD, APP).then(
    () => assert.fail(`${wrong} let ${username} log in, whose home is ${home}`),
    error => error
  );
  assert.equal(error.status, 421, describe(error));
  assert.equal(error.id, 'wrong-core');
  assert.equal(error.response.body.error.coreUrl, home);
  return { status: error.status, id: error.id };
}

/** Starts at a wrong core; the client follows and remembers. */
async function throughClient (wrong, home, username, samples) {
  const asked = [];
  const plain = globalThis.fetch;
  globalThis.fetch = (url, init) => {
    asked.push(String(url));
    return plain(url, init);
  };
  const uninstall = installFetch();
  try {
    const connection = await serviceAt(wrong).login(username, PASSWORD, APP);
    assert.ok(connection.endpoint.startsWith(wrong), 'the package believes in the wrong core');
    const work = await workWith(connection, 'followed', samples, username);
    const atWrong = asked.filter(url => url.startsWith(`${wrong}${username}/`));
    const atHome = asked.filter(url => url.startsWith(`${home}${username}/`));
    assert.deepEqual(atWrong, [`${wrong}${username}/auth/login`], 'one request went wrong, then it was known');
    assert.ok(atHome.length > samples.length / BATCH);
    return { ...work, atWrong: atWrong.length, atHome: atHome.length };
  } finally {
    uninstall();
    globalThis.fetch = plain;
  }
}

/** At the home, without the client but for finding it. */
async function alone (wrong, home, username, samples) {
  const service = await homeService(pryv, wrong, username);
  const connection = await service.login(username, PASSWORD, APP);
  assert.equal(connection.endpoint, `${home}${username}/`);
  const again = await homeConnection(pryv, wrong, username, connection.token);
  assert.equal(again.apiEndpoint, connection.apiEndpoint);
  const work = await workWith(again, 'direct', samples, username);
  // What was written through the client is the same as seen from here.
  await readBack(again, 'followed', samples);
  return work;
}

async function workWith (connection, name, samples, username) {
  assert.equal(await connection.username(), username);
  const streams = await connection.api([
    { method: 'streams.create', params: { id: name, name: `Body, ${name}` } },
    { method: 'streams.create', params: { id: `${name}-heart`, name: 'Heart', parentId: name } }
  ]);
  streams.forEach(({ stream, error }) => assert.ok(stream, JSON.stringify(error)));

  connection.options.chunkSize = BATCH;
  const progress = [];
  const created = await connection.api(
    samples.map(sample => ({ method: 'events.create', params: eventOf(sample, name) })),
    percent => progress.push(percent)
  );
  assert.equal(created.length, samples.length);
  created.forEach(({ event, error }, i) => {
    assert.ok(event, `event ${i}: ${JSON.stringify(error)}`);
    compare(event, samples[i], name);
  });
  assert.equal(new Set(created.map(({ event }) => event.id)).size, samples.length);
  assert.equal(progress.at(-1), 100);
  const read = await readBack(connection, name, samples);
  return { batches: progress.length, created: created.length, ...read };
}

/** Reads the recording in the package's three ways; all must give the same. */
async function readBack (connection, name, samples) {
  const window = {
    streams: [`${name}-heart`],
    fromTime: timeOf(samples[0]),
    toTime: timeOf(samples.at(-1)),
    sortAscending: true
  };
  const batched = await connection.apiOne('events.get', window, 'events');
  const plain = (await connection.get('events', window)).events;
  const streamed = [];
  const end = await connection.getEventsStreamed(window, event => streamed.push(event));
  assert.equal(end.eventsCount, samples.length);
  for (const events of [batched, plain, streamed]) {
    assert.equal(events.length, samples.length);
    events.forEach((event, i) => compare(event, samples[i], name));
  }
  assert.deepEqual(plain, batched);
  assert.deepEqual(streamed, batched);
  // By the parent, only the last ones: streams have their children's events.
  const last = await connection.apiOne('events.get', { streams: [name], limit: 10 }, 'events');
  assert.deepEqual(last, batched.slice(-10).reverse());
  return { readBack: batched.length };
}

function eventOf (sample, name) {
  return {
    streamIds: [`${name}-heart`],
    type: 'count/generic',
    time: timeOf(sample),
    content: sample.hr,
    clientData: { 'homecore-contract': { timer: sample.timer } }
  };
}

function compare (event, sample, name) {
  const { streamIds, type, time, content, clientData } = event;
  assert.deepEqual({ streamIds, type, time, content, clientData }, eventOf(sample, name));
}

/** Seconds, on a whole millisecond. */
function timeOf (sample) {
  return (RECORDED_AT + Math.round(sample.timer)) / 1000;
}

async function readRecording (csv) {
  const [head, ...lines] = (await readFile(csv, 'utf8')).trimEnd().split(/\r?\n/);
  assert.equal(head, 'timer,hr');
  assert.ok(lines.length >= 2);
  return lines.map(line => {
    const [timer, hr] = line.split(',').map(Number);
    assert.ok(Number.isFinite(timer) && Number.isFinite(hr), line);
    return { timer, hr };
  });
}
