// Engine.IO alone, with its official client: what groups A to D and G to K promise to a client library.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Socket } from 'engine.io-client';
import { once, ways } from '../lib/client.js';
import { createApp } from '../lib/fixture.js';
import { Queue, until } from '../lib/wait.js';

/** An engine client that is opening; client.inbox holds the messages. */
function dial(app, options = {}) {
  const client = new Socket(app.url, { path: app.path, ...options });
  client.inbox = new Queue();
  client.on('message', (data) => client.inbox.push(data));
  client.on('error', () => {});
  app.onRelease(() => client.close());
  return client;
}

async function connect(app, options) {
  const client = dial(app, options);
  await once(client, 'open');
  if (options?.transports?.length > 1) await once(client, 'upgrade');
  return client;
}

const echo = (t, config) => createApp(t, { kind: 'engineio', engine: { echo: true }, ...config });

for (const [name, transports] of ways) {
  describe(`engine client over ${name}`, { concurrency: 8 }, () => {
    test(`G01 G03 G04 G05 H01 H02 text and binary come back as they were (${name})`, async (t) => {
      const client = await connect(await echo(t), transports);
      for (const data of ['', 'a', 'é文字😀\u2028', 'b', 'x'.repeat(500_000), Buffer.from([0, 4, 255]), Buffer.alloc(0), Buffer.alloc(500_000, 'b')]) {
        client.send(data);
        const got = await client.inbox.next();
        // The client hands on the empty text as no value at all.
        assert.deepEqual(typeof data === 'string' ? got ?? '' : Buffer.from(got), data);
      }
    });

    test(`G02 G09 N20 500 messages in one go come back in order, text and binary mixed (${name})`, async (t) => {
      const client = await connect(await echo(t), transports);
      for (let i = 0; i < 500; i++) client.send(i % 3 ? `${i}` : Buffer.from(`${i}`));
      for (let i = 0; i < 500; i++) assert.equal(String(await client.inbox.next()), `${i}`);
    });

    test(`H20 A26 D20 custom headers and query reach the server, headers of a middleware do no harm (${name})`, async (t) => {
      const app = await createApp(t, {
        kind: 'engineio', engine: { echo: true },
        engineMiddlewares: [{ if: { header: { 'x-pass': 'yes' }, query: { q: 'é' } }, setHeaders: { 'X-Out': '1' } }, {}],
        options: { allowRequest: { reject: true, if: { header: { 'x-pass': 'no' } } } },
      });
      const client = await connect(app, { ...transports, extraHeaders: { 'X-Pass': 'yes' }, query: { q: 'é' } });
      client.send('in');
      assert.equal(await client.inbox.next(), 'in');
      const refusedClient = dial(app, { ...transports, extraHeaders: { 'X-Pass': 'no' } });
      await once(refusedClient, 'error');
    });

    test(`C03 C04 the client is told the intervals and the limit (${name})`, async (t) => {
      const app = await echo(t, { options: { pingInterval: 1234, pingTimeout: 4321, maxHttpBufferSize: 98765 } });
      const client = dial(app, transports);
      const [open] = await once(client, 'handshake');
      assert.deepEqual([open.pingInterval, open.pingTimeout, open.maxPayload], [1234, 4321, 98765]);
      assert.deepEqual(open.upgrades, name.startsWith('polling') || name === 'upgrade' ? ['websocket'] : []);
    });

    test(`K05 the server closes the session: transport close (${name})`, async (t) => {
      const app = await echo(t);
      const client = await connect(app, transports);
      const { id } = client;
      const closed = once(client, 'close');
      await app.do({ op: 'sessionClose', sid: id });
      assert.equal((await closed)[0], 'transport close');
      await app.expectClose(id, 'forced close');
    });

    test(`H18 K03 a thousand messages before a close arrive (${name})`, async (t) => {
      const app = await echo(t);
      const client = await connect(app, transports);
      const closed = once(client, 'close');
      await app.doAll({ op: 'sessionSend', sid: client.id, data: 'n$i', count: 1000 }, { op: 'sessionClose', sid: client.id });
      await closed;
      for (let i = 0; i < 1000; i++) assert.equal(await client.inbox.next(), `n${i}`);
    });

    test(`I01 I02 I03 I08 pings come, and are answered (${name})`, async (t) => {
      const app = await echo(t, { options: { pingInterval: 100, pingTimeout: 20_000 }, record: ['heartbeat'] });
      const client = await connect(app, transports);
      for (let i = 0; i < 3; i++) await once(client, 'ping');
      await until('heartbeats', async () => (await app.entries({ type: 'heartbeat', sid: client.id })).length >= 3);
      client.send('alive');
      assert.equal(await client.inbox.next(), 'alive');
    });

    for (const [ids, what, options] of [
      ['A29 B03', 'allowRequest refuses', { options: { allowRequest: { reject: 'no entry' } } }],
      ['A34 B06', 'an id cannot be made', { options: { generateId: { fail: 'no id' } } }],
      ['D25', 'a middleware fails', { engineMiddlewares: [{ fail: 'broken' }] }],
      ['D23 D24', 'a middleware ends the request', { engineMiddlewares: [{ end: { status: 503, body: 'busy' } }] }],
    ]) {
      test(`${ids} ${what}: the client gets an error, and there is no session (${name})`, async (t) => {
        const app = await echo(t, options);
        await once(dial(app, transports), 'error');
        assert.equal(await app.do({ op: 'clientsCount' }), 0);
      });
    }
  });
}

describe('engine client', { concurrency: 8 }, () => {
  test('J11 J14 50 messages each way while the connection is upgraded', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true, onSession: [{ op: 'sessionSend', data: 's$i', count: 50 }] } });
    const client = dial(app);
    await once(client, 'open');
    for (let i = 0; i < 50; i++) client.send(`c${i}`);
    const upgrade = once(client, 'upgrade');
    const got = [];
    while (got.length < 100) got.push(await client.inbox.next());
    await upgrade;
    for (const side of ['s', 'c']) {
      assert.deepEqual(got.filter((m) => m[0] === side), Array.from({ length: 50 }, (_, i) => `${side}${i}`));
    }
    assert.equal(client.transport.name, 'websocket');
  });

  test('C08 a client that is not offered an upgrade stays on polling', async (t) => {
    const client = dial(await echo(t, { options: { allowUpgrades: false } }));
    await once(client, 'open');
    client.send('x');
    assert.equal(await client.inbox.next(), 'x');
    assert.equal(client.transport.name, 'polling');
  });

  test('B15 C07 a client that wants WebSocket from a server with polling only gets an error', async (t) => {
    const app = await echo(t, { options: { transports: ['polling'] } });
    await once(dial(app, { transports: ['websocket'] }), 'error');
    const client = await connect(app, { transports: ['polling'] });
    client.send('x');
    assert.equal(await client.inbox.next(), 'x');
  });

  test('B16 a client that tries all transports finds the one that the server has', async (t) => {
    const app = await echo(t, { options: { transports: ['websocket'] } });
    const client = dial(app, { transports: ['polling', 'websocket'], tryAllTransports: true });
    await once(client, 'open');
    assert.equal(client.transport.name, 'websocket');
  });

  test('J17 two engines on one HTTP server, each with its clients', async (t) => {
    const app = await echo(t, { http: { engines: [{ path: '/second' }] } });
    const clients = await Promise.all(['/second/', app.path].map((path) => connect(app, { path, transports: ['polling', 'websocket'] })));
    for (const client of clients) {
      client.send('x');
      assert.equal(await client.inbox.next(), 'x');
    }
    assert.equal(await app.do({ op: 'clientsCount' }), 1);
  });

  test('H16 permessage-deflate is negotiated with the client, and data stays intact', async (t) => {
    const app = await echo(t, { options: { perMessageDeflate: { threshold: 0 } } });
    const client = await connect(app, { transports: ['websocket'], perMessageDeflate: { threshold: 0 } });
    assert.match(client.transport.ws.extensions, /permessage-deflate/);
    for (const data of ['x'.repeat(100_000), 'é'.repeat(3), Buffer.alloc(100_000, 'abc')]) {
      client.send(data);
      const got = await client.inbox.next();
      assert.deepEqual(typeof data === 'string' ? got : Buffer.from(got), data);
    }
  });

  test('V01 the count of clients is zero after they have left in every way', async (t) => {
    const app = await echo(t);
    const clients = [];
    for (const [, transports] of ways) for (let i = 0; i < 2; i++) clients.push(await connect(app, transports));
    assert.equal(await app.do({ op: 'clientsCount' }), clients.length);
    for (const [i, client] of clients.entries()) {
      if (i % 2) client.close();
      else await app.do({ op: 'sessionClose', sid: client.id, discard: true });
    }
    await until('no client left', async () => (await app.do({ op: 'clientsCount' })) === 0);
  });
});

// What a client remembers is shared by all clients of a process, so nothing else may run meanwhile.
describe('engine client with a memory', () => {
  test('a client that remembers its upgrade starts with WebSocket', async (t) => {
    const app = await echo(t);
    const first = dial(app, { transports: ['polling', 'websocket'], rememberUpgrade: true });
    await until('the upgrade', () => first.transport?.name === 'websocket' && first.transport.writable);
    const again = dial(app, { transports: ['polling', 'websocket'], rememberUpgrade: true });
    await once(again, 'open');
    assert.equal(again.transport.name, 'websocket');
  });
});
