// Group T: what the server's disconnect handlers are told, and in which order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { until } from '../lib/wait.js';
import { encodeFrame } from '../lib/websocket.js';

const namespaces = {
  '/': { onConnection: [{ op: 'join', rooms: ['r'] }], on: { message: [] } },
  '/a': { onConnection: [{ op: 'join', rooms: ['r'] }] },
};

/** An app with one client that has joined / and /a. */
async function open(t, transport, options = {}) {
  const app = await createApp(t, { namespaces, options });
  const session = await transport(app);
  const ids = { '/': (await session.connect('/')).sid, '/a': (await session.connect('/a')).sid };
  for (const nsp of ['/', '/a']) await until('its room', async () => (await app.do({ op: 'rooms', nsp })).r);
  return { app, session, ids };
}

/** The disconnect of one socket: both events with this reason, rooms and state as they must be. */
async function assertDisconnected(app, nsp, id, reason) {
  const after = await app.waitFor({ type: 'disconnect', nsp, id });
  const [before] = await app.entries({ type: 'disconnecting', nsp, id });
  assert.deepEqual([before.reason, after.reason], [reason, reason]);
  assert.ok(before.n < after.n, 'disconnecting comes first');
  assert.deepEqual([before.rooms, before.connected], [[id, 'r'], true]);
  assert.deepEqual([after.rooms, after.connected], [[], false]);
  assert.equal((await app.entries({ type: 'disconnect', nsp, id })).length, 1);
  return after;
}

const [[, polling], [, websocket]] = transports;
const small = { maxHttpBufferSize: 200 };

// [ids, what happens, transport, reason, what to do, options, description]
const endings = [
  ['T03', 'a close packet', polling, 'transport close', ({ session }) => session.post('1')],
  ['T03', 'a close frame', websocket, 'transport close', ({ session }) => session.ws.close()],
  ['T03', 'a close frame with code 1001', websocket, 'transport close', ({ session }) => session.ws.close(1001)],
  ['T03', 'the TCP connection is lost', websocket, 'transport close', ({ session }) => session.ws.destroy()],
  ['T04', 'an aborted poll', polling, 'transport error', async ({ app, session }) => {
    await app.park(session);
    session.endpoint.agent.destroy();
  }, {}, 'poll connection closed prematurely'],
  ['T04', 'overlapping polls', polling, 'transport error', async ({ app, session }) => {
    await app.park(session);
    await session.get();
  }, {}, 'overlap from client'],
  ['T04', 'an octet-stream POST', polling, 'transport error', ({ session }) => session.post('4x', { headers: { 'Content-Type': 'application/octet-stream' } }), {}, 'invalid content'],
  ['T04', 'a ping from the client', polling, 'transport error', ({ session }) => session.post('2'), {}, 'invalid heartbeat direction'],
  ['T04', 'a ping from the client', websocket, 'transport error', ({ session }) => session.send('2'), {}, 'invalid heartbeat direction'],
  ['T04', 'an oversize message', websocket, 'transport error', ({ session }) => session.send(`42["message","${'x'.repeat(200)}"]`), small],
  ['T04', 'an unmasked frame', websocket, 'transport error', ({ session }) => session.ws.frame({ mask: false, payload: '42["message"]' })],
  ['T04', 'invalid UTF-8', websocket, 'transport error', ({ session }) => session.ws.write(encodeFrame({ payload: Buffer.from([0x34, 0xff]) }))],
  ['T05', 'no pong', polling, 'ping timeout', () => {}, { pingInterval: 3000, pingTimeout: 500 }],
  ['T05', 'no pong', websocket, 'ping timeout', () => {}, { pingInterval: 3000, pingTimeout: 500 }],
  ['T06', 'a bad Engine.IO packet', polling, 'parse error', ({ session }) => session.post('abc')],
  ['T06', 'a bad Engine.IO packet', websocket, 'parse error', ({ session }) => session.send('abc')],
  ['T07', 'a bad Socket.IO packet', websocket, 'forced close', ({ session }) => session.send('4abc')],
  ['T07', 'a bad Socket.IO packet', polling, 'forced close', async ({ app, session }) => {
    await app.park(session);
    await session.send('4abc');
  }],
  ['T07', 'an event for a namespace not joined', websocket, 'forced close', ({ session }) => session.send('42/b,["x"]')],
  ['T07', 'an event for a namespace not joined, GET parked', polling, 'forced close', async ({ app, session }) => {
    await app.park(session);
    await session.send('42/b,["x"]');
  }],
  ['T08', 'an event for a namespace not joined, no GET', polling, 'forced server close', ({ session }) => session.send('42/b,["x"]')],
  ['T08', 'a second CONNECT, no GET', polling, 'forced server close', ({ session }) => session.send('40')],
  ['T09', 'the server shuts down', polling, 'server shutting down', ({ app }) => app.do({ op: 'closeServer' })],
  ['T09', 'the server shuts down', websocket, 'server shutting down', ({ app }) => app.do({ op: 'closeServer' })],
  ['T03', 'the engine session is closed', websocket, 'forced close', ({ app, session }) => app.do({ op: 'sessionClose', sid: session.sid })],
  ['T02', 'the server disconnects with close', polling, 'server namespace disconnect', ({ app, ids }) => app.do({ op: 'disconnect', socket: ids['/'], close: true })],
  ['T02', 'the server disconnects with close', websocket, 'server namespace disconnect', ({ app, ids }) => app.do({ op: 'disconnect', socket: ids['/a'], nsp: '/a', close: true })],
];

describe('T disconnect reasons', { concurrency: 8 }, () => {
  for (const [id, what, transport, reason, act, options, description] of endings) {
    test(`${id} T10 T11 ${what} over ${transport === polling ? 'polling' : 'websocket'}: ${reason}`, async (t) => {
      const client = await open(t, transport, options);
      await act(client);
      const entries = [];
      for (const nsp of ['/', '/a']) entries.push(await assertDisconnected(client.app, nsp, client.ids[nsp], reason));
      if (description !== undefined) assert.deepEqual(entries.map((e) => e.description), [description, description]);
    });
  }

  for (const [name, transport] of transports) {
    test(`T01 T10 the client leaves a namespace over ${name}: only its socket is told`, async (t) => {
      const { app, session, ids } = await open(t, transport);
      await session.send('41/a,');
      await assertDisconnected(app, '/a', ids['/a'], 'client namespace disconnect');
      await session.send('42["message"]');
      await app.waitFor({ type: 'event', nsp: '/' });
      assert.deepEqual(await app.entries({ type: 'disconnect', nsp: '/' }), []);
    });

    test(`T02 T10 the server disconnects a socket over ${name}: only that one is told`, async (t) => {
      const { app, session, ids } = await open(t, transport);
      await app.do({ op: 'disconnect', socket: ids['/'] });
      await assertDisconnected(app, '/', ids['/'], 'server namespace disconnect');
      assert.equal(await session.next(), '41');
      assert.deepEqual(await app.entries({ type: 'disconnect', nsp: '/a' }), []);
      assert.deepEqual((await app.do({ op: 'fetch', nsp: '/a' })).map((s) => s.id), [ids['/a']]);
    });

    test(`T07 a bad Socket.IO packet over ${name}: an error event on every socket comes first`, async (t) => {
      const { app, session, ids } = await open(t, transport);
      if (name === 'polling') await app.park(session);
      await session.send('4abc');
      for (const nsp of ['/', '/a']) {
        const gone = await assertDisconnected(app, nsp, ids[nsp], 'forced close');
        const [error] = await app.entries({ type: 'error', nsp, id: ids[nsp] });
        assert.ok(error && error.n < gone.n, 'error before disconnect');
      }
    });
  }

  test('T04 an oversize POST', async (t) => {
    const { app, session, ids } = await open(t, polling, small);
    assert.equal((await session.post('4'.repeat(201))).status, 413);
    await assertDisconnected(app, '/', ids['/'], 'transport error');
  });
});
