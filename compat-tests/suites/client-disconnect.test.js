// Group T and the ends of connections in M, I and K, as both sides tell them: the reason that the official client reports, and
// the one that the server's application gets; and coming back afterwards.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, connected, ended, once, open, upgraded, ways } from '../lib/client.js';
import { createApp } from '../lib/fixture.js';
import { freePort } from '../lib/port.js';
import { until } from '../lib/wait.js';

const ask = { on: { ask: [{ op: 'ack', args: [{ $args: true }] }], message: [{ op: 'emit', args: ['back', { $args: true }] }] } };
const namespaces = { '/': ask, '/a': ask };

/** An app with one connection that is in / and /a. */
async function start(t, transports, { options, port, ...more } = {}) {
  const app = await createApp(t, { namespaces, options, port });
  const root = await connect(app, { ...transports, ...more });
  const a = await connect(app, { on: root, nsp: '/a' });
  await app.waitFor({ type: 'connection', nsp: '/a' });
  return { app, root, a, ids: { '/': root.id, '/a': a.id } };
}

/** The server's reason for the end of a socket, after disconnecting with the same one. */
async function serverReason(app, id) {
  const { reason, n } = await app.waitFor({ type: 'disconnect', id });
  const [before] = await app.entries({ type: 'disconnecting', id });
  assert.ok(before.n < n);
  assert.equal(before.reason, reason);
  return reason;
}

/** Sends an Engine.IO packet that the client would not send by itself. */
async function sendRaw(socket, packet) {
  const { transport } = socket.io.engine;
  await until('the end of the POST before', () => transport.writable);
  transport.send([packet]);
}

const pingless = { pingInterval: 2000, pingTimeout: 4000 };

for (const [name, transports] of ways) {
  const websocket = !name.startsWith('polling');
  // [ids, what, what to do, client's reason, server's reason]
  const both = [
    ['T03', 'the client closes its connection', ({ root }) => root.io.engine.close(), ['forced close'], 'transport close'],
    ['T02 M21 M22', 'the server disconnects a socket and closes', ({ app, ids }) => app.do({ op: 'disconnect', socket: ids['/'], close: true }), ['io server disconnect'], 'server namespace disconnect'],
    ['T02 M21 M22 P22', 'the server disconnects all of a namespace and closes', ({ app }) => app.do({ op: 'disconnect', nsp: '/a', close: true }), ['io server disconnect'], 'server namespace disconnect'],
    ['T09 M23 K05', 'the server shuts down', ({ app }) => app.do({ op: 'closeServer' }), websocket ? ['transport close'] : ['transport close', 'transport error'], 'server shutting down'],
    ['K05', 'the engine is closed', ({ app }) => app.do({ op: 'closeEngine' }), websocket ? ['transport close'] : ['transport close', 'transport error'], 'forced close'],
    ['K05 T03', 'the engine session is closed', ({ app, root }) => app.do({ op: 'sessionClose', sid: root.io.engine.id }), ['transport close'], 'forced close'],
    ['T06', 'the client sends a broken Engine.IO packet', ({ root }) => sendRaw(root, { type: 'nonsense', data: 'x' }), websocket ? ['transport close'] : ['transport close', 'transport error'], 'parse error'],
    ['T07 M26', 'the client sends a broken Socket.IO packet', ({ root }) => root.io.engine.send('9'), ['transport close'], 'forced close'],
    ['T04 H13', 'the client sends a ping', ({ root }) => sendRaw(root, { type: 'ping' }), websocket ? ['transport close'] : ['transport close', 'transport error'], 'transport error'],
    ['T05 I04 I05', 'the client does not answer pings', ({ root }) => {
      root.io.engine._sendPacket = () => {};
    }, websocket ? ['transport close'] : ['transport close', 'transport error'], 'ping timeout', pingless],
  ];

  describe(`disconnection over ${name}`, { concurrency: 8 }, () => {
    for (const [ids, what, act, clientReasons, wanted, options] of both) {
      test(`${ids} T10 T11 ${what}: all its namespaces are told, on both sides (${name})`, async (t) => {
        const s = await start(t, transports, { options });
        await act(s);
        for (const [socket, nsp] of [[s.root, '/'], [s.a, '/a']]) {
          const reason = await ended(socket);
          assert.ok(clientReasons.includes(reason), `client: ${reason}`);
          assert.equal(await serverReason(s.app, s.ids[nsp]), wanted);
        }
        assert.deepEqual([s.root.ends.length, s.a.ends.length], [1, 1]);
        await until('no session left', async () => (await s.app.do({ op: 'clientsCount' })) === 0);
      });
    }

    test(`T01 M18 M19 the client leaves a namespace: the other stays, and it can come back with a new id (${name})`, async (t) => {
      const { app, root, a, ids } = await start(t, transports);
      a.disconnect();
      assert.equal(await ended(a), 'io client disconnect');
      assert.equal(await serverReason(app, ids['/a']), 'client namespace disconnect');
      assert.equal(await root.emitWithAck('ask', 'alive'), 'alive');
      a.connect();
      await connected(a);
      assert.notEqual(a.id, ids['/a']);
      assert.equal(await a.emitWithAck('ask', 'back'), 'back');
      assert.deepEqual(await app.entries({ type: 'disconnect', id: ids['/'] }), []);
    });

    test(`T02 M19 M20 M22 the server disconnects one socket: the other stays, the client may come back (${name})`, async (t) => {
      const { app, root, a, ids } = await start(t, transports);
      await app.doAll({ op: 'emit', nsp: '/a', socket: ids['/a'], args: ['last words'] }, { op: 'disconnect', nsp: '/a', socket: ids['/a'] });
      assert.deepEqual(await a.inbox.next(), ['last words']);
      assert.equal(await ended(a), 'io server disconnect');
      assert.equal(await serverReason(app, ids['/a']), 'server namespace disconnect');
      assert.equal(await root.emitWithAck('ask', 'alive'), 'alive');
      assert.equal(a.active, false);
      a.connect();
      await connected(a);
      assert.equal(await a.emitWithAck('ask', 'back'), 'back');
    });

    test(`H18 K03 what was emitted right before a disconnect with close arrives first (${name})`, async (t) => {
      const { app, root } = await start(t, transports);
      await app.doAll({ op: 'emit', socket: root.id, args: ['n', { $i: true }], count: 200 }, { op: 'disconnect', socket: root.id, close: true });
      assert.equal(await ended(root), 'io server disconnect');
      for (let i = 0; i < 200; i++) assert.deepEqual(await root.inbox.next(), ['n', i]);
    });

    test(`M23 M24 M25 the client comes back by itself after a shutdown, and what it emitted meanwhile arrives (${name})`, async (t) => {
      const { app, root } = await start(t, transports, { port: await freePort(), reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
      const { id } = root;
      const attempts = [];
      root.io.on('reconnect_attempt', (n) => attempts.push(n));
      await app.do({ op: 'closeServer' });
      await ended(root);
      assert.equal(root.active, true);
      root.emit('message', 'meanwhile');
      await app.do({ op: 'attach' });
      await until('the client to be back', () => root.connected);
      assert.notEqual(root.id, id);
      assert.ok(attempts.length > 0);
      assert.deepEqual(await root.inbox.next(), ['back', 'meanwhile']);
      assert.equal((await app.waitFor({ type: 'connection', id: root.id })).recovered, false);
    });

    test(`M22 a client that the server has disconnected does not come back by itself (${name})`, async (t) => {
      const { app, root } = await start(t, transports, { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 10 });
      await app.do({ op: 'disconnect', socket: root.id, close: true });
      assert.equal(await ended(root), 'io server disconnect');
      assert.equal(root.active, false);
      // Another client that is told to come back does so meanwhile.
      const other = await connect(app, { ...transports, reconnection: true, reconnectionDelay: 20 });
      const { id } = other;
      await app.do({ op: 'sessionClose', sid: other.io.engine.id });
      await until('the other client to be back', () => other.connected && other.id !== id);
      assert.equal(root.connected, false);
    });

    test(`I01 I02 I03 the connection lives through several heartbeats without any traffic (${name})`, async (t) => {
      const { root } = await start(t, transports, { options: { pingInterval: 100, pingTimeout: 20_000 } });
      for (let i = 0; i < 4; i++) await once(root.io, 'ping');
      assert.deepEqual(root.ends, []);
      assert.equal(await root.emitWithAck('ask', 'alive'), 'alive');
    });

    test(`O07 M15 a client that joins no namespace is closed after connectTimeout (${name})`, async (t) => {
      const app = await createApp(t, { options: { connectTimeout: 2500 }, namespaces: { '/': { middlewares: [{ actions: [{ op: 'wait', gate: 'never' }] }] } } });
      const socket = open(app, transports);
      const [reason] = await once(socket.io, 'close');
      assert.ok(['transport close', 'transport error'].includes(reason), reason);
      assert.equal(socket.connected, false);
      assert.equal((await app.waitFor({ type: 'session_close' })).reason, 'forced close');
    });
  });
}

describe('T both sides silent', () => {
  test('I11 T05 both sides report ping timeout when no heartbeat gets through', async (t) => {
    const app = await createApp(t, { namespaces, options: pingless });
    const socket = await connect(app, { transports: ['websocket'] });
    const { id } = socket;
    // Neither direction gets anything from here on, as on a broken line.
    socket.io.engine._sendPacket = () => {};
    const { transport } = socket.io.engine;
    transport.doClose = () => {};
    transport.ws.pause();
    t.after(() => transport.ws.terminate());
    assert.equal(await serverReason(app, id), 'ping timeout');
    assert.equal(await ended(socket), 'ping timeout');
  });

  test('J15 a client that leaves in the middle of an upgrade is noticed, again and again', async (t) => {
    const app = await createApp(t, { namespaces });
    for (let i = 0; i < 20; i++) {
      const socket = open(app);
      await once(socket.io, 'open');
      if (i % 2) await once(socket, 'connect');
      socket.io.disconnect();
    }
    await until('no session left', async () => (await app.do({ op: 'clientsCount' })) === 0);
    const socket = await connect(app);
    await upgraded(socket);
    assert.equal(await socket.emitWithAck('ask', 1), 1);
  });

  test('V01 the count of clients follows them', async (t) => {
    const app = await createApp(t, { namespaces });
    const sockets = [];
    for (const [, transports] of ways) sockets.push(await connect(app, transports));
    assert.equal(await app.do({ op: 'clientsCount' }), ways.length);
    for (const [i, socket] of sockets.entries()) {
      if (i % 2) socket.disconnect();
      else socket.io.engine.close();
      await until('one less', async () => (await app.do({ op: 'clientsCount' })) === ways.length - 1 - i);
    }
  });
});
