import { test, describe, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';

import { createFetch, createStore, HomecoreError } from '../src/index.js';
import { startCluster, wrongCore } from './fake-cluster.js';

let cluster;
let store;
let fetchHome;
/**
 * The cores asked, in order. Kept here and not at the cores: `fetch` itself repeats a request that
 * was answered 421 once, at the same address (Fetch standard, "HTTP-network-or-cache fetch").
 */
let asked;

beforeEach(async () => {
  cluster = await startCluster({ cores: 2 });
  cluster.addUser('alice', 1);
  store = createStore();
  asked = [];
  fetchHome = createFetch({ store, fetch: counted });
});
afterEach(() => cluster.close());

function counted (url, init) {
  asked.push(cluster.cores.findIndex(core => url.startsWith(core.url)));
  return fetch(url, init);
}

/** What a core was sent last. */
const lastAt = index => cluster.log.findLast(entry => entry.core === index);

describe('a 421', () => {
  test('is followed once, with the same method, path, query, headers and body', async () => {
    const answer = await fetchHome(`${cluster.url(0)}alice/echo?limit=3&x=%20y`, {
      method: 'PUT',
      headers: { Authorization: 'secret', 'X-Mine': 'yes' },
      body: 'hello'
    });
    assert.equal(answer.status, 200);
    const body = await answer.json();
    assert.deepEqual([body.core, body.method, body.search, body.body], [1, 'PUT', '?limit=3&x=%20y', 'hello']);
    const [first, second] = [lastAt(0), lastAt(1)];
    assert.deepEqual(asked, [0, 1]);
    for (const name of ['authorization', 'x-mine', 'content-type', 'content-length']) {
      assert.equal(second.headers[name], first.headers[name], name);
    }
    assert.equal(`http://${second.headers.host}/`, cluster.url(1));
  });

  test('is remembered: the next request goes to the home directly', async () => {
    await fetchHome(`${cluster.url(0)}alice/echo`);
    await fetchHome(`${cluster.url(0)}alice/echo`);
    await fetchHome(`${cluster.url(0)}Alice/echo`).then(answer => answer.text());
    assert.deepEqual(asked, [0, 1, 1, 1]);
  });

  test('is not followed a second time, and a home that denies is not remembered', async () => {
    cluster.before = () => wrongCore(cluster.url(1));
    const answer = await fetchHome(`${cluster.url(0)}alice/echo`);
    assert.equal(answer.status, 421);
    assert.equal((await answer.json()).error.id, 'wrong-core', 'the caller can read the last 421');
    assert.deepEqual(asked, [0, 1]);
    assert.equal(store.size, 0);
  });

  test('of another kind is handed on, readable', async () => {
    for (const body of [
      { error: { id: 'misdirected', coreUrl: cluster.url(1) } },
      { error: { id: 'wrong-core' } },
      'not json',
      '"a text"',
      'null',
      JSON.stringify({ error: { id: 'wrong-core', coreUrl: cluster.url(1), pad: 'x'.repeat(70_000) } })
    ]) {
      asked = [];
      cluster.before = () => ({ status: 421, body });
      const answer = await fetchHome(`${cluster.url(0)}alice/echo`);
      assert.equal(answer.status, 421);
      assert.equal(await answer.text(), typeof body === 'string' ? body : JSON.stringify(body));
      assert.deepEqual(asked, [0]);
    }
  });

  test('about no user is handed on', async () => {
    cluster.before = () => wrongCore(cluster.url(1));
    for (const path of ['', 'reg/cores?username=alice', 'system/admin/cores', 'users', 'bob/echo']) {
      const answer = await fetchHome(cluster.url(0) + path);
      assert.equal(answer.status, 421, path);
    }
    assert.deepEqual(asked, [0, 0, 0, 0, 0]);
  });

  test('keeps users apart', async () => {
    cluster.addUser('bobby', 0);
    await fetchHome(`${cluster.url(0)}alice/echo`);
    const answer = await fetchHome(`${cluster.url(0)}bobby/echo`);
    assert.equal((await answer.json()).core, 0);
  });

  test('keeps users of the same name on other clusters apart', async () => {
    const other = await startCluster({ cores: 1 });
    other.addUser('alice', 0);
    await fetchHome(`${cluster.url(0)}alice/echo`);
    await fetchHome(`${other.url(0)}alice/echo`);
    assert.equal(other.log.length, 1);
    await other.close();
  });
});

describe('a remembered home', () => {
  test('that answers 421 is forgotten, and the first address is asked', async () => {
    const third = await cluster.addCore();
    await fetchHome(`${cluster.url(0)}alice/echo`);
    cluster.users.get('alice').home = third.index;
    asked = [];
    const answer = await fetchHome(`${cluster.url(0)}alice/echo`, { method: 'POST', body: 'x' });
    assert.equal((await answer.json()).core, 2);
    await fetchHome(`${cluster.url(0)}alice/echo`);
    assert.deepEqual(asked, [1, 0, 2, 2], 'and the new home is remembered');
  });

  test('that is gone is forgotten, and the first address is asked', async () => {
    await fetchHome(`${cluster.url(0)}alice/echo`);
    await cluster.stop(1);
    cluster.users.get('alice').home = 0;
    for (const method of ['GET', 'POST']) {
      const answer = await fetchHome(`${cluster.url(0)}alice/echo`, { method, body: method === 'POST' ? 'x' : undefined });
      assert.equal((await answer.json()).core, 0, method);
      assert.equal(store.size, 0);
      await store.set(`${cluster.url(0)}|alice`, cluster.url(1));
    }
  });

  test('that breaks off may have carried the request out: a POST is not sent again, a GET is', async () => {
    await fetchHome(`${cluster.url(0)}alice/echo`);
    cluster.before = request => (request.core === 1 ? { drop: true } : undefined);
    asked = [];
    await assert.rejects(fetchHome(`${cluster.url(0)}alice/echo`, { method: 'POST', body: 'x' }), TypeError);
    assert.deepEqual(asked, [1]);
    assert.equal(store.size, 0, 'but forgotten');

    store.set(`${cluster.url(0)}|alice`, cluster.url(1));
    cluster.users.get('alice').home = 0;
    const answer = await fetchHome(`${cluster.url(0)}alice/echo`);
    assert.equal((await answer.json()).core, 0);
  });

  test('stays remembered when the caller gives up', async () => {
    await fetchHome(`${cluster.url(0)}alice/echo`);
    await assert.rejects(fetchHome(`${cluster.url(0)}alice/echo`, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    assert.equal(store.size, 1);
  });

  test('from a store with rubbish in it is forgotten', async () => {
    store.set(`${cluster.url(0)}|alice`, 'javascript:alert(1)');
    const answer = await fetchHome(`${cluster.url(0)}alice/echo`);
    assert.equal((await answer.json()).core, 1);
  });

  test('may be kept in a store that is async', async () => {
    const homes = new Map();
    const asynchronous = createFetch({
      fetch: counted,
      store: {
        get: async key => homes.get(key),
        set: async (key, value) => { homes.set(key, value); },
        delete: async key => { homes.delete(key); }
      }
    });
    await asynchronous(`${cluster.url(0)}alice/echo`);
    await asynchronous(`${cluster.url(0)}alice/echo`);
    assert.deepEqual(asked, [0, 1, 1]);
  });
});

describe('bodies', () => {
  const form = new FormData();
  form.append('event', '{"type":"picture/attached"}');
  form.append('file', new Blob(['bytes'], { type: 'image/png' }), 'a.png');

  for (const [name, body] of Object.entries({
    'a text': 'text',
    'a buffer': Buffer.from('bytes'),
    'an ArrayBuffer': new TextEncoder().encode('bytes').buffer,
    'a blob': new Blob(['blob']),
    'form fields': new URLSearchParams({ a: '1' }),
    'a form with a file': form
  })) {
    test(`${name} is sent again`, async () => {
      const answer = await fetchHome(`${cluster.url(0)}alice/echo`, { method: 'POST', body });
      const echoed = (await answer.json()).body;
      assert.notEqual(echoed, '');
      const [first, second] = [lastAt(0), lastAt(1)];
      assert.equal(second.body.length, first.body.length);
      if (name === 'a form with a file') {
        assert.match(echoed, /name="file"; filename="a\.png"\r\nContent-Type: image\/png\r\n\r\nbytes/);
        assert.match(second.headers['content-type'], /^multipart\/form-data; boundary=/);
      } else {
        assert.equal(echoed, first.body.toString());
      }
    });
  }

  test('of a Request are sent again, with its headers', async () => {
    const request = new Request(`${cluster.url(0)}alice/echo`, {
      method: 'POST', headers: { Authorization: 't', 'Content-Type': 'application/json' }, body: '[]'
    });
    const answer = await fetchHome(request);
    assert.equal((await answer.json()).body, '[]');
    assert.equal(lastAt(1).headers['content-type'], 'application/json');
    assert.equal(lastAt(1).headers.authorization, 't');
    assert.equal(lastAt(1).method, 'POST');
  });

  test('that are streams are not: the error says so, and the next try goes to the home', async () => {
    const stream = () => ({ method: 'POST', body: Readable.toWeb(Readable.from([Buffer.from('once')])), duplex: 'half' });
    await assert.rejects(fetchHome(`${cluster.url(0)}alice/echo`, stream()), error => {
      assert.ok(error instanceof HomecoreError);
      assert.equal(error.code, 'body-not-replayable');
      assert.equal(error.coreUrl, cluster.url(1));
      assert.equal(error.status, 421);
      return true;
    });
    assert.deepEqual(asked, [0]);
    const answer = await fetchHome(`${cluster.url(0)}alice/echo`, stream());
    assert.deepEqual(await answer.json().then(({ core, body }) => ({ core, body })), { core: 1, body: 'once' });
    assert.deepEqual(asked, [0, 1]);

    const third = await cluster.addCore();
    cluster.users.get('alice').home = third.index;
    await assert.rejects(fetchHome(`${cluster.url(0)}alice/echo`, stream()), { code: 'body-not-replayable', coreUrl: third.url });
    const moved = await fetchHome(`${cluster.url(0)}alice/echo`, stream());
    assert.equal((await moved.json()).core, 2);
  });
});

describe('addresses', () => {
  /** A `fetch` that answers from a table and keeps what was asked. */
  function fake (answers) {
    const asked = [];
    const send = async (url, init) => {
      asked.push({ url, init });
      const { status, body } = answers[asked.length - 1] ?? { status: 200, body: {} };
      return new Response(JSON.stringify(body), { status });
    };
    return { asked, fetch: createFetch({ fetch: send }), send };
  }

  test('over https never lead to http', async () => {
    const { asked, fetch } = fake([wrongCore('http://core-b.example.com/')]);
    await assert.rejects(
      fetch('https://core-a.example.com/alice/events', { headers: { Authorization: 'secret' } }),
      { code: 'insecure-core-url', coreUrl: 'http://core-b.example.com/' }
    );
    assert.equal(asked.length, 1);
  });

  test('over https never lead to http through what was remembered', async () => {
    const kept = createStore();
    kept.set('https://core-a.example.com/|alice', 'http://core-b.example.com/');
    const asked = [];
    const fetch = createFetch({ store: kept, fetch: async url => { asked.push(url); return new Response('{}'); } });
    await fetch('https://core-a.example.com/alice/events');
    assert.deepEqual(asked, ['https://core-a.example.com/alice/events']);
    assert.equal(kept.size, 0);
  });

  test('that are none are refused', async () => {
    for (const coreUrl of ['', 'core-b', 'ftp://core-b/', 'https://eve@core-b/', 'https://core-b/?a=', 7, null, {}]) {
      const { asked, fetch } = fake([wrongCore(coreUrl)]);
      await assert.rejects(fetch('https://core-a/alice/events'), { code: 'invalid-core-url' }, String(coreUrl));
      assert.equal(asked.length, 1);
    }
  });

  for (const [name, prefix, from, coreUrl, to] of [
    ['plain', undefined, 'https://a.example.com/alice/events?x=1', 'https://b.example.com/', 'https://b.example.com/alice/events?x=1'],
    ['without a slash at the end', undefined, 'https://a.example.com/alice/', 'https://b.example.com', 'https://b.example.com/alice/'],
    ['below a prefix', '/api', 'https://a.example.com/api/alice/events', 'https://b.example.com/api/', 'https://b.example.com/api/alice/events'],
    ['of a name', undefined, 'https://alice.example.com/events?limit=1', 'https://core-b.example.com/', 'https://core-b.example.com/alice/events?limit=1'],
    ['of a name, batch', undefined, 'https://alice.example.com/', 'https://core-b.example.com/', 'https://core-b.example.com/alice/'],
    ['of a core with a name like a user', undefined, 'https://core-a.example.com/alice/events', 'https://core-b.example.com/', 'https://core-b.example.com/alice/events'],
    ['from http to https', undefined, 'http://a.example.com/alice/events', 'https://b.example.com/', 'https://b.example.com/alice/events']
  ]) {
    test(`${name} are carried over`, async () => {
      const table = fake([wrongCore(coreUrl)]);
      const fetch = createFetch({ fetch: table.send, prefix });
      await fetch(from);
      assert.deepEqual(table.asked.map(entry => entry.url), [from, to]);
    });
  }

  test('of the platform are never a user', async () => {
    for (const url of ['https://access.example.com/auth/x', 'https://localhost/events', 'https://alice.example.com/reg/cores']) {
      const { asked, fetch } = fake([wrongCore('https://core-b.example.com/')]);
      assert.equal((await fetch(url)).status, 421, url);
      assert.equal(asked.length, 1, url);
    }
  });

  test('in a Host header do not go to another core', async () => {
    const { asked, fetch } = fake([wrongCore('https://b.example.com/')]);
    await fetch('https://a.example.com/alice/events', { headers: { Host: 'a.example.com', Authorization: 't' } });
    const headers = new Headers(asked[1].init.headers);
    assert.equal(headers.get('host'), null);
    assert.equal(headers.get('authorization'), 't');
  });
});

describe('the store', () => {
  test('holds so many and forgets what was unused for longest', () => {
    const small = createStore({ max: 2 });
    small.set('a', '1');
    small.set('b', '2');
    small.get('a');
    small.set('c', '3');
    assert.deepEqual([small.get('a'), small.get('b'), small.get('c'), small.size], ['1', undefined, '3', 2]);
    assert.throws(() => createStore({ max: 0 }), RangeError);
  });
});
