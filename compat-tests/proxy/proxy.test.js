// The official client through nginx and HAProxy, with each of the configurations in conf/.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { connect, ended, once, open, plain } from '../lib/client.js';
import { Endpoint } from '../lib/endpoint.js';
import { createApp } from '../lib/fixture.js';
import { freePort } from '../lib/port.js';
import { SOON, until } from '../lib/wait.js';
import { haproxyUnavailable, startHAProxy, startNginx, unavailable } from './nginx.js';

const polling = { transports: ['polling'] };
const websocket = { transports: ['websocket'] };
const upgrade = { transports: ['polling', 'websocket'] };

const namespaces = {
  '/': {
    on: {
      echo: [{ op: 'emit', args: ['echo', { $args: true }] }],
      'echo-ack': [{ op: 'ack', args: [{ $args: true }] }],
      burst: [{ op: 'emit', count: 300, args: ['number', { $i: true }] }],
    },
  },
};

/** A server; options are those of the fixture. Nobody else gets its port, which a proxy goes on asking while it is closed. */
const server = async (t, options = {}) => createApp(t, { options, namespaces, port: await freePort() });

/** nginx, or what start starts, before some servers, as an endpoint for clients. */
async function proxy(t, name, servers, path = '/socket.io/', start = startNginx) {
  const nginx = await start(t, name, ...servers.map((app) => app.port));
  const endpoint = new Endpoint(nginx.port, path);
  t.after(() => endpoint.release());
  return Object.assign(endpoint, { requests: nginx.requests });
}

const transportOf = (socket) => socket.io.engine.transport.name;

/** Text, large and small, and binary, there and back, by events and by acknowledgements of both sides. */
async function exercise(app, socket) {
  const values = [
    [],
    [1, 'é 文字 😀', { a: [null, true] }],
    ['x'.repeat(300_000)],
    [Buffer.from([0, 1, 255]), { nested: [Buffer.alloc(200_000, 'binary')] }],
  ];
  for (const args of values) {
    socket.emit('echo', ...args);
    assert.deepEqual(plain(await socket.inbox.next()), plain(['echo', ...args]));
    const ack = await new Promise((resolve) => socket.emit('echo-ack', ...args, (...got) => resolve(got)));
    assert.deepEqual(plain(ack), plain(args));
  }
  socket.once('question', (text, binary, answer) => answer(text, binary));
  const answer = await app.do({ op: 'emitAck', socket: socket.id, args: ['question', 'why?', { $bin: 'AAEC' }], timeout: SOON });
  assert.deepEqual(answer, ['why?', { $bin: 'AAEC' }]);
  await socket.inbox.next('question');

  socket.emit('burst');
  for (let i = 0; i < 100; i++) socket.emit('echo', i);
  const got = [];
  while (got.length < 400) got.push(await socket.inbox.next());
  const of = (name) => got.filter(([event]) => event === name).map(([, i]) => i);
  assert.deepEqual(of('number'), Array.from({ length: 300 }, (_, i) => i));
  assert.deepEqual(of('echo'), Array.from({ length: 100 }, (_, i) => i));
}

/** How many connections to a local port have been closed by this machine a short while ago. */
function closedConnections(port) {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const TIME_WAIT = '06';
  return readFileSync('/proc/net/tcp', 'utf8').split('\n').filter((line) => {
    const [, , address, state] = line.trim().split(/\s+/);
    return address === remote && state === TIME_WAIT;
  }).length;
}

/** Clients over all servers: each works over any transport, all servers have some, and the death of one moves its clients. */
async function shared(t, name, apps, clientOptions, start) {
  const endpoint = await proxy(t, name, apps, undefined, start);
  const reconnection = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
  const clients = [];
  for (let i = 0; i < 9; i++) {
    clients.push(await connect(endpoint, { ...[polling, websocket, upgrade][i % 3], ...reconnection, ...clientOptions(i) }));
  }
  const whose = async (socket) => {
    const found = await Promise.all(apps.map((app) => app.do({ op: 'socket', socket: socket.id }).then(() => true, () => false)));
    return apps.find((_, i) => found[i]);
  };
  const at = new Map();
  for (const socket of clients) {
    const app = await whose(socket);
    at.set(socket, app);
    await exercise(app, socket);
  }
  for (const app of apps) assert.ok([...at.values()].includes(app), 'a server has no client');
  assert.deepEqual(endpoint.requests().filter((line) => / [45]\d\d /.test(line)), [], 'refused requests');

  const [dying, ...living] = apps;
  const moving = clients.filter((socket) => at.get(socket) === dying);
  const staying = clients.filter((socket) => at.get(socket) !== dying);
  const ids = new Map(staying.map((socket) => [socket, socket.id]));
  await dying.close();
  await Promise.all(moving.map(async (socket) => {
    await ended(socket);
    await until('connected again', () => socket.connected);
    await exercise(await whose(socket), socket);
  }));
  for (const socket of staying) {
    assert.equal(await socket.emitWithAck('echo-ack', 1), 1);
    assert.equal(socket.id, ids.get(socket));
    assert.deepEqual(socket.ends, []);
  }
}

describe('behind nginx', { skip: unavailable, concurrency: 2 }, () => {
  for (const name of ['websocket', 'unbuffered']) {
    for (const [how, options] of Object.entries({ polling, websocket, upgrade })) {
      test(`${name}.conf: everything over ${how}`, async (t) => {
        const app = await server(t);
        const socket = await connect(await proxy(t, name, [app]), options);
        assert.equal(transportOf(socket), how === 'polling' ? 'polling' : 'websocket');
        await exercise(app, socket);
      });
    }
  }

  test('websocket.conf: the server sees what nginx says of the client', async (t) => {
    const app = await server(t);
    const endpoint = await proxy(t, 'websocket', [app]);
    for (const options of [polling, websocket]) {
      const { id } = await connect(endpoint, options);
      const { handshake } = await app.do({ op: 'socket', socket: id });
      assert.equal(handshake.headers['x-forwarded-for'], '127.0.0.1');
      assert.equal(handshake.headers['x-forwarded-proto'], 'http');
    }
  });

  test('websocket.conf: polls share connections to the server', { skip: process.platform !== 'linux' && 'reads /proc' }, async (t) => {
    const app = await server(t);
    const socket = await connect(await proxy(t, 'websocket', [app]), polling);
    for (let i = 0; i < 50; i++) assert.equal(await socket.emitWithAck('echo-ack', i), i);
    assert.ok(closedConnections(app.port) < 10, `${closedConnections(app.port)} connections closed after 100 requests`);
  });

  test('websocket.conf: a heartbeat passes, and what comes late after a silence', async (t) => {
    const app = await server(t, { pingInterval: 300, pingTimeout: 5000 });
    const endpoint = await proxy(t, 'websocket', [app]);
    for (const options of [polling, websocket]) {
      const socket = await connect(endpoint, options);
      for (let i = 0; i < 3; i++) await once(socket.io, 'ping');
      assert.equal(await socket.emitWithAck('echo-ack', 'still'), 'still');
    }
  });

  test('websocket.conf: each side learns that the other has left', async (t) => {
    const app = await server(t);
    const endpoint = await proxy(t, 'websocket', [app]);
    for (const options of [polling, websocket]) {
      const leaving = await connect(endpoint, options);
      const { id } = leaving;
      leaving.disconnect();
      await app.waitFor({ type: 'disconnect', id });
      const kicked = await connect(endpoint, options);
      await app.do({ op: 'disconnect', socket: kicked.id, close: true });
      assert.equal(await ended(kicked), 'io server disconnect');
    }
  });

  test('websocket.conf: a client comes back after the server has been started anew', async (t) => {
    const app = await server(t);
    const endpoint = await proxy(t, 'websocket', [app]);
    for (const options of [polling, websocket]) {
      const socket = await connect(endpoint, { ...options, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
      await app.do({ op: 'closeServer' });
      await ended(socket);
      const back = once(socket, 'connect');
      // While there is no server, nginx answers 502.
      await until('a request that fails', () => endpoint.requests().some((line) => / 502 /.test(line)));
      await app.do({ op: 'attach' });
      await back;
      await exercise(app, socket);
      socket.disconnect();
    }
  });

  test('websocket.conf: connection state recovery', async (t) => {
    const app = await server(t, { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });
    const endpoint = await proxy(t, 'websocket', [app]);
    const socket = await connect(endpoint, { ...upgrade, reconnection: true, reconnectionDelay: 50 });
    const { id } = socket;
    await app.do({ op: 'emit', args: ['before'] });
    assert.equal((await socket.inbox.next())[0], 'before');
    socket.io.engine.close();
    await app.waitFor({ type: 'disconnect', id });
    await app.do({ op: 'emit', args: ['missed'] });
    await until('connected again', () => socket.connected);
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
    assert.equal((await socket.inbox.next())[0], 'missed');
  });

  test('polling-only.conf: clients stay on polling, and all goes well', async (t) => {
    const app = await server(t);
    const endpoint = await proxy(t, 'polling-only', [app]);
    const socket = open(endpoint, upgrade);
    const refused = once(socket.io.engine, 'upgradeError');
    await once(socket, 'connect');
    await refused;
    assert.equal(transportOf(socket), 'polling');
    await exercise(app, socket);
    assert.equal((await app.do({ op: 'socket', socket: socket.id })).transport, 'polling');
    // The attempt has not ended the session.
    assert.equal((await app.entries({ type: 'disconnect' })).length, 0);
  });

  test('polling-only.conf: a client that tries only WebSocket is refused', async (t) => {
    const app = await server(t);
    const socket = open(await proxy(t, 'polling-only', [app]), websocket);
    const [err] = await once(socket, 'connect_error');
    assert.equal(err.message, 'websocket error');
    // It may fall back to polling if it is told to try all.
    const other = open(await proxy(t, 'polling-only', [app]), { transports: ['websocket', 'polling'], tryAllTransports: true });
    await once(other, 'connect');
    await exercise(app, other);
  });

  for (const [prefix, options] of [['/chat', {}], ['/whole', { path: '/whole/socket.io' }]]) {
    test(`prefix.conf: ${prefix}, ${options.path ? 'known to the server' : 'taken off by nginx'}`, async (t) => {
      const app = await server(t, options);
      const endpoint = await proxy(t, 'prefix', [app], `${prefix}/socket.io/`);
      for (const how of [polling, upgrade]) await exercise(app, await connect(endpoint, how));
      const elsewhere = new Endpoint(endpoint.port, '/socket.io/');
      assert.equal((await elsewhere.get()).status, 404);
      elsewhere.release();
    });
  }

  test('sticky-hash.conf: two servers, told apart by the address', async (t) => {
    const apps = [await server(t), await server(t)];
    await shared(t, 'sticky-hash', apps, (i) => ({ extraHeaders: { 'X-Forwarded-For': `10.0.${i}.${7 * i + 1}` } }));
  });

  test('sticky-cookie.conf: two servers, told apart by a cookie of nginx', async (t) => {
    const apps = [await server(t), await server(t)];
    await shared(t, 'sticky-cookie', apps, () => ({ withCredentials: true }));
  });

  test('sticky-session.conf: two servers, told apart by the session id', async (t) => {
    const apps = [await server(t, { generateId: { prefix: 'a' } }), await server(t, { generateId: { prefix: 'b' } })];
    await shared(t, 'sticky-session', apps, () => ({}));
  });

  test("sticky-session.conf: the engine's cookie brings a client back to its server", async (t) => {
    const options = (prefix) => ({ generateId: { prefix }, cookie: true });
    const apps = [await server(t, options('a')), await server(t, options('b'))];
    const endpoint = await proxy(t, 'sticky-session', apps);
    const handshake = async (headers) => {
      const res = await endpoint.get({ headers });
      return { node: JSON.parse(res.text.slice(1)).sid[0], cookie: String(res.headers['set-cookie']).split(';')[0] };
    };
    const nodes = new Set();
    for (let i = 0; i < 4; i++) {
      const { node, cookie } = await handshake();
      assert.match(cookie, /^io=[ab]\d+$/);
      nodes.add(node);
      for (let j = 0; j < 3; j++) assert.equal((await handshake({ cookie })).node, node);
    }
    assert.equal(nodes.size, 2);
  });
});

describe('behind HAProxy', { skip: haproxyUnavailable }, () => {
  test('haproxy-cookie.cfg: three servers, told apart by a cookie of HAProxy', async (t) => {
    const apps = [await server(t), await server(t), await server(t)];
    await shared(t, 'haproxy-cookie', apps, () => ({ withCredentials: true }), startHAProxy);
  });
});

test('docs/scaling.md has the configurations that are tested', () => {
  const text = readFileSync(new URL('../../docs/scaling.md', import.meta.url), 'utf8');
  const lines = (s) => s.split('\n').filter((line) => line.trim() && !line.trim().startsWith('#'));
  for (const [language, file] of [['nginx', 'cluster-hash.conf'], ['haproxy', 'haproxy-cookie.cfg']]) {
    const snippet = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(text)[1];
    const tested = lines(readFileSync(new URL(`conf/${file}`, import.meta.url), 'utf8'));
    // What the tests have beside it is for their log.
    assert.deepEqual(lines(snippet), tested.filter((line) => !/^global|\blog\b/.test(line)), file);
  }
});
