// Order under load: many events in both directions at once arrive complete and in order, over every transport and while the
// connection moves from polling to WebSocket.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, once, open, upgraded, ways } from '../lib/client.js';
import { createApp } from '../lib/fixture.js';
import { until } from '../lib/wait.js';

const COUNT = 10_000;
const LONG = 120_000;

const namespaces = { '/': { on: { seq: [{ op: 'emit', args: ['back', { $args: true }] }] } } };

/** The numbers an event arrives with on a socket, checked as they come: each must be one more than the last. */
function sequence(socket, event) {
  const got = { count: 0, wrong: undefined };
  socket.on(event, (n, payload) => {
    if (n !== got.count || payload === undefined) got.wrong ??= `${n} after ${got.count - 1}`;
    got.count++;
  });
  return got;
}

async function complete(got, count) {
  await until(`${count} events`, () => got.count >= count || got.wrong, LONG).catch((err) => {
    throw new Error(`${err.message}: ${got.count}`);
  });
  assert.equal(got.wrong, undefined);
  assert.equal(got.count, count);
}

describe('order of events', { concurrency: 2 }, () => {
  for (const [name, transports] of ways) {
    test(`N20 ${COUNT} events each way, every one answered (${name})`, async (t) => {
      const app = await createApp(t, { namespaces });
      const socket = await connect(app, transports);
      const got = sequence(socket, 'back');
      for (let i = 0; i < COUNT; i++) socket.emit('seq', i, 'x');
      await complete(got, COUNT);
    });

    test(`N20 G09 ${COUNT} events from the server at once, some of them binary (${name})`, async (t) => {
      const app = await createApp(t, { namespaces });
      const socket = await connect(app, transports);
      const got = sequence(socket, 'from server');
      let binary = 0;
      socket.on('from server', (n, payload) => (binary += Buffer.isBuffer(payload)));
      await app.do({ op: 'emit', socket: socket.id, args: ['from server', { $i: true }, 'x'], count: COUNT / 2 });
      await complete(got, COUNT / 2);
      got.count = 0;
      await app.do({ op: 'emit', args: ['from server', { $i: true }, { $bin: 'AAEC' }], count: COUNT / 2 });
      await complete(got, COUNT / 2);
      assert.equal(binary, COUNT / 2);
    });
  }

  test('J10 J11 N20 events each way while the connection is upgraded', async (t) => {
    const batch = 250;
    const app = await createApp(t, {
      engineMiddlewares: [{ if: { query: { transport: 'websocket' } }, delay: 2500 }], // so that there is traffic before
      namespaces: { '/': { ...namespaces['/'], onConnection: [{ op: 'emit', args: ['from server', { $i: true }, 'x'], count: COUNT / 2 }] } },
    });
    const socket = open(app, { transports: ['polling', 'websocket'] });
    const back = sequence(socket, 'back');
    const fromServer = sequence(socket, 'from server');
    let sent = 0;
    let onPolling = 0;
    let receivedOnPolling = 0;
    await once(socket, 'connect');
    const { engine } = socket.io;
    assert.equal(engine.transport.name, 'polling');
    engine.on('upgrade', () => {
      onPolling = sent;
      receivedOnPolling = back.count + fromServer.count;
    });
    // Batches without a pause, so that both sides always have something to send when the transports change.
    while (engine.transport.name !== 'websocket' || sent < onPolling + COUNT / 2) {
      for (let end = sent + batch; sent < end; sent++) socket.emit('seq', sent, 'x');
      const target = sent - 4 * batch;
      await until('answers', () => back.count >= target || back.wrong || socket.ends.length, LONG);
      assert.deepEqual([back.wrong, socket.ends], [undefined, []]);
    }
    await upgraded(socket);
    await complete(back, sent);
    await complete(fromServer, COUNT / 2);
    assert.ok(onPolling > 0 && receivedOnPolling > 0, `${onPolling} events sent, ${receivedOnPolling} received before the upgrade`);
    assert.ok(sent - onPolling >= COUNT / 2);
  });

  test('J10 J11 J13 fifty clients upgrade while the server emits to each of them', async (t) => {
    const app = await createApp(t, { namespaces });
    const count = 40;
    const sockets = await Promise.all(Array.from({ length: 50 }, async () => {
      const socket = open(app, { transports: ['polling', 'websocket'] });
      const got = sequence(socket, 'tick');
      await once(socket, 'connect');
      return { socket, got };
    }));
    for (let i = 0; i < count; i++) await app.do({ op: 'emit', args: ['tick', i, 'x'] });
    await Promise.all(sockets.map(({ socket }) => upgraded(socket)));
    for (let i = count; i < 2 * count; i++) await app.do({ op: 'emit', args: ['tick', i, 'x'] });
    for (const { got } of sockets) {
      await until('the first tick', () => got.count);
      // A client that connects late misses nothing after its connection.
      await complete(got, 2 * count);
    }
  });

  test('N20 H17 a hundred events of 100 kB each way, small ones between them', async (t) => {
    const app = await createApp(t, { namespaces, options: { pingInterval: 200, pingTimeout: 20_000 } });
    const big = 'b'.repeat(100_000);
    for (const [, transports] of ways) {
      const socket = await connect(app, transports);
      const got = sequence(socket, 'back');
      for (let i = 0; i < 100; i++) socket.emit('seq', i, i % 2 ? 'small' : big);
      await complete(got, 100);
      assert.deepEqual(socket.ends, []);
    }
  });
});
