/**
 * A cluster of fake cores in one process: enough of the wire for the tests of this module and for
 * a run of the `pryv` package. Users have one home; other cores answer 421.
 */
import { createServer } from 'node:http';
import { once } from 'node:events';

/**
 * @param {{ cores?: number }} [options]
 */
export async function startCluster ({ cores = 2 } = {}) {
  const cluster = new FakeCluster();
  for (let i = 0; i < cores; i++) await cluster.addCore();
  return cluster;
}

class FakeCluster {
  cores = [];
  users = new Map();
  /** Every request: `{ core, method, path, headers, body }`. */
  log = [];
  /** Answers before anything else: `(request) => { status, body } | undefined`. */
  before = () => undefined;

  async addCore () {
    const core = { index: this.cores.length, url: '', server: null };
    core.server = createServer((incoming, outgoing) => {
      this.#serve(core, incoming, outgoing).catch(error => {
        outgoing.statusCode = 500;
        outgoing.end(JSON.stringify({ error: { id: 'unexpected-error', message: error.stack } }));
      });
    });
    core.server.listen(0, '127.0.0.1');
    await once(core.server, 'listening');
    core.url = `http://127.0.0.1:${core.server.address().port}/`;
    this.cores.push(core);
    return core;
  }

  addUser (username, home, password = 'secret-pass') {
    this.users.set(username, { home, password, token: `token-${username}`, streams: [], events: [] });
  }

  url (index) {
    return this.cores[index].url;
  }

  requestsAt (index) {
    return this.log.filter(entry => entry.core === index);
  }

  async stop (index) {
    const { server } = this.cores[index];
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  async close () {
    for (const core of this.cores) await this.stop(core.index);
  }

  async #serve (core, incoming, outgoing) {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const request = {
      core: core.index,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
      body: Buffer.concat(chunks)
    };
    this.log.push(request);
    const answer = this.before(request) ?? this.#answer(core, request);
    if (answer.drop) {
      incoming.socket.destroy();
      return;
    }
    outgoing.statusCode = answer.status;
    outgoing.setHeader('Content-Type', 'application/json; charset=utf-8');
    outgoing.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  }

  #answer (core, request) {
    const url = new URL(request.path, core.url);
    const parts = url.pathname.split('/').slice(1);
    if (parts[0] === 'reg') return this.#register(core, request, parts.slice(1), url);
    const user = this.users.get(parts[0]);
    if (user === undefined) return failed(404, 'unknown-resource', `Unknown user "${parts[0]}"`);
    if (user.home !== core.index) return wrongCore(this.url(user.home), parts[0]);
    return this.#user(core, user, parts[0], parts.slice(1).join('/'), request, url);
  }

  #register (core, request, parts, url) {
    const path = parts.join('/');
    if (path === 'service/info') return ok(this.#info(core));
    if (path === 'hostings') {
      const hosting = { name: 'Default', available: true, availableCore: core.url };
      return ok({ regions: { r: { name: 'R', zones: { z: { name: 'Z', hostings: { default: hosting } } } } } });
    }
    if (path === 'cores') {
      const user = this.users.get(url.searchParams.get('username'));
      if (user === undefined) return failed(404, 'unknown-resource', 'Unknown user');
      return ok({ core: { url: this.url(user.home) } });
    }
    if (path === 'users' && request.method === 'POST') {
      const { username, password } = JSON.parse(request.body);
      // The next core, as a cluster would that fills its cores evenly.
      const home = (core.index + 1) % this.cores.length;
      this.addUser(username, home, password);
      const token = this.users.get(username).token;
      return ok({ username, apiEndpoint: this.url(home).replace('//', `//${token}@`) + `${username}/` }, 201);
    }
    if (parts[1] === 'server' && request.method === 'POST') {
      const user = this.users.get(parts[0]);
      if (user === undefined) return failed(404, 'unknown-user', 'Unknown user');
      return ok({ server: this.url(user.home).slice(0, -1), alias: parts[0] });
    }
    return failed(404, 'unknown-resource', 'Unknown user "reg"');
  }

  #info (core) {
    return {
      name: 'fake',
      serial: '1',
      version: '2.0.0',
      api: `${core.url}{username}/`,
      register: `${core.url}reg/`,
      access: `${core.url}reg/access/`
    };
  }

  #user (core, user, username, path, request, url) {
    if (path === 'service/info') return ok(this.#info(core));
    if (path === 'auth/login') {
      const body = JSON.parse(request.body);
      if (body.password !== user.password) return failed(401, 'invalid-credentials', 'wrong');
      return ok({
        token: user.token,
        apiEndpoint: core.url.replace('//', `//${user.token}@`) + `${username}/`
      });
    }
    if (path === 'echo') {
      return ok({ core: core.index, method: request.method, search: url.search, body: request.body.toString() });
    }
    if (request.headers.authorization !== user.token) {
      return failed(403, 'invalid-access-token', 'wrong token');
    }
    if (path === '' && request.method === 'POST') {
      return ok({ results: JSON.parse(request.body).map(call => method(user, call)) });
    }
    if (path === 'events' && request.method === 'GET') {
      const params = Object.fromEntries(url.searchParams);
      return ok(method(user, { method: 'events.get', params: { ...params, streams: url.searchParams.getAll('streams') } }));
    }
    if (path === 'access-info') return ok({ type: 'personal', token: user.token, user: { username } });
    return failed(404, 'unknown-resource', `no ${path}`);
  }
}

function method (user, { method: name, params }) {
  if (name === 'streams.create') {
    user.streams.push(params);
    return { stream: params };
  }
  if (name === 'events.create') {
    const event = { id: `c${String(user.events.length).padStart(23, '0')}`, ...params };
    user.events.push(event);
    return { event };
  }
  if (name === 'events.get') {
    const ids = new Set(params.streams);
    for (const stream of user.streams) if (ids.has(stream.parentId)) ids.add(stream.id);
    const up = String(params.sortAscending) === 'true' ? 1 : -1;
    const events = user.events
      .filter(event => event.streamIds.some(id => ids.has(id)))
      .sort((a, b) => up * (a.time - b.time));
    return { events: events.slice(0, params.limit === undefined ? undefined : Number(params.limit)) };
  }
  return { error: { id: 'invalid-method', message: name } };
}

function ok (body, status = 200) {
  return { status, body: { ...body, meta: { apiVersion: '2.0.0', serverTime: Date.now() / 1000, serial: '1' } } };
}

function failed (status, id, message) {
  return { status, body: { error: { id, message } } };
}

/** The 421 of a core that is not the user's home. */
export function wrongCore (coreUrl, username = 'someone') {
  return { status: 421, body: { error: { id: 'wrong-core', message: `${username} lives elsewhere`, coreUrl } } };
}
