// Group J: from polling to WebSocket.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '../lib/fixture.js';
import { RS, decodePayload } from '../lib/packets.js';
import { pendingAfter, until } from '../lib/wait.js';

const echo = { kind: 'engineio', engine: { echo: true, log: true } };

const open = async (t, config = {}) => {
  const app = await createApp(t, { ...echo, ...config });
  return { app, session: await app.polling() };
};

const numbers = (prefix, n, from = 0) => Array.from({ length: n }, (_, i) => `4${prefix}${from + i}`);

/** The session still works over polling. */
async function assertPolls(session, text = '4still here') {
  await session.send(text);
  assert.equal(await session.next(), text);
}

async function assertEchoes(ws, text = '4still here') {
  ws.send(text);
  assert.equal(await ws.message(), text);
}

describe('J upgrade', { concurrency: 8 }, () => {
  test('J01 2probe is answered 3probe, again if repeated', async (t) => {
    const { session } = await open(t);
    const ws = await session.probe();
    ws.send('2probe');
    assert.equal(await ws.message(), '3probe');
    await assertPolls(session);
  });

  test('J02 GETs parked after the probe are answered `6`, one after the other', async (t) => {
    const { app, session } = await open(t);
    await session.probe();
    for (let i = 0; i < 3; i++) {
      const { reply } = await app.park(session);
      assert.equal((await reply).text, '6');
    }
  });

  test('J02 a GET that was parked before the probe is answered `6`, not before the probe', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    const ws = await app.ws({ query: { sid: session.sid } });
    assert.ok(await pendingAfter(250, reply));
    ws.send('2probe');
    assert.equal(await ws.message(), '3probe');
    assert.equal((await reply).text, '6');
  });

  test('J03 J04 after `5` everything goes over the WebSocket and polling requests → 400', async (t) => {
    const { app, session } = await open(t);
    const upgraded = await session.upgrade();
    await upgraded.send('4a', Buffer.from([1, 2]));
    assert.equal(await upgraded.next(), '4a');
    assert.deepEqual(await upgraded.next(), Buffer.from([1, 2]));
    await app.waitFor({ type: 'upgrade', sid: session.sid, transport: 'websocket' });
    for (const res of [await session.get(), await session.post('4x')]) {
      assert.deepEqual([res.status, res.text], [400, '{"code":3,"message":"Bad request"}']);
    }
    await assertEchoes(upgraded.ws);
    assert.equal(await app.do({ op: 'clientsCount' }), 1);
  });

  test('J03 `5` without a probe completes the upgrade', async (t) => {
    const { app, session } = await open(t);
    const ws = await app.ws({ query: { sid: session.sid } });
    ws.send('5');
    await app.waitFor({ type: 'upgrade' });
    await assertEchoes(ws);
  });

  test('J05 a second WebSocket after the upgrade is closed, the first goes on', async (t) => {
    const { app, session } = await open(t);
    const upgraded = await session.upgrade();
    const second = await app.ws({ query: { sid: session.sid } });
    assert.equal(await second.code(), 1005);
    await assertEchoes(upgraded.ws);
  });

  test('J06 a second WebSocket during the upgrade is closed, the first goes on', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    const second = await app.ws({ query: { sid: session.sid } });
    assert.equal(await second.code(), 1005);
    const { reply } = await app.park(session);
    assert.equal((await reply).text, '6');
    ws.send('5');
    await assertEchoes(ws);
  });

  for (const packet of ['4hello', '2', '3', '6', 'garbage', '', Buffer.from([1])]) {
    test(`J07 ${JSON.stringify(packet)} instead of a probe closes the WebSocket, polling goes on`, async (t) => {
      const { app, session } = await open(t);
      const ws = await app.ws({ query: { sid: session.sid } });
      ws.send(packet);
      assert.equal(await ws.code(), 1005);
      await assertPolls(session);
      assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['still here']);
      const upgraded = await session.upgrade();
      await assertEchoes(upgraded.ws, '4after the retry');
    });
  }

  const losses = [
    ['a close frame', (ws) => ws.close()],
    ['a lost connection', (ws) => ws.destroy()],
    ['a violation of RFC 6455', (ws) => ws.frame({ rsv: 7, payload: 'x' })],
  ];
  for (const [what, lose] of losses) {
    for (const when of ['before', 'after']) {
      test(`J08 ${what} ${when} the probe: polling goes on and a retry works`, async (t) => {
        const { session } = await open(t);
        const ws = when === 'after' ? await session.probe() : await session.endpoint.ws({ query: { sid: session.sid } });
        lose(ws);
        await ws.code();
        await assertPolls(session);
        // The server may hear of the loss only after our next attempt, which it then refuses.
        const next = await until('a probe', () => session.probe().catch(() => undefined));
        for (let packet; packet !== '6'; ) packet = await session.next();
        next.send('5');
        await assertEchoes(next);
      });
    }
  }

  for (const probed of [false, true]) {
    test(`J09 upgradeTimeout ${probed ? 'after the probe' : 'without a probe'} closes the WebSocket only`, async (t) => {
      const { session } = await open(t, { options: { upgradeTimeout: 3000 } });
      const ws = probed ? await session.probe() : await session.endpoint.ws({ query: { sid: session.sid } });
      assert.equal(await ws.code(), 1005);
      await assertPolls(session);
      await assertEchoes((await session.upgrade()).ws);
    });
  }

  test('J10 messages emitted during the probe arrive once and in order', async (t) => {
    const { app, session } = await open(t);
    const send = (i) => app.do({ op: 'sessionSend', sid: session.sid, data: `m${i}` });
    const got = [];
    const poll = async () => got.push(...decodePayload((await session.get()).text));
    await send(0);
    const ws = await session.probe();
    await send(1);
    await poll();
    const { reply } = await app.park(session);
    await send(2); // goes out on the parked GET, or behind the noop that has answered it
    got.push(...decodePayload((await reply).text));
    await send(3);
    await poll();
    ws.send('5');
    await app.waitFor({ type: 'upgrade' });
    await send(4);
    for (let left = 5 - got.filter((p) => p[0] === '4').length; left > 0; left--) got.push(await ws.message());
    assert.deepEqual(got.filter((p) => p !== '6'), numbers('m', 5));
    await assertEchoes(ws, '4end');
  });

  test('J10 while a GET is parked during the probe, a message goes out on it', async (t) => {
    const { app, session } = await open(t);
    await app.ws({ query: { sid: session.sid } });
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'over polling' });
    assert.equal((await reply).text, '4over polling');
  });

  test('J11 50 messages each way across an upgrade', async (t) => {
    const { app, session } = await open(t, { engine: { log: true } });
    const send = (from) => app.do({ op: 'sessionSend', sid: session.sid, data: `s$i`, count: from });
    await session.send(...numbers('c', 20));
    await send(20);
    const ws = await session.probe();
    await session.send(...numbers('c', 10, 20));
    await send(10);
    const got = [];
    for (let packets; packets?.[0] !== '6'; ) {
      packets = decodePayload((await session.get()).text);
      got.push(...packets.filter((p) => p !== '6'));
    }
    ws.send('5');
    for (const m of numbers('c', 20, 30)) ws.send(m);
    await send(20);
    while (got.length < 50) got.push(await ws.message());
    assert.deepEqual(got, [...numbers('s', 20), ...numbers('s', 10), ...numbers('s', 20)]);
    await app.waitFor({ type: 'message', data: 'c49' });
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => `4${e.data}`), numbers('c', 50));
  });

  test('J12 a GET that is parked when `5` arrives is answered', async (t) => {
    const { app, session } = await open(t);
    const ws = await app.ws({ query: { sid: session.sid } });
    const { reply } = await app.park(session);
    ws.send('5');
    assert.equal((await reply).text, '1');
    await assertEchoes(ws);
  });

  test('J12 a POST that is being received when `5` arrives is cut', async (t) => {
    const { app, session } = await open(t);
    const ws = await app.ws({ query: { sid: session.sid } });
    const post = await app.tcp();
    const target = app.target({ transport: 'polling', sid: session.sid });
    post.write(`POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`);
    assert.equal((await post.readHead()).status, 100);
    post.write('4a');
    ws.send('5');
    assert.equal((await post.readAll()).length, 0);
    await assertEchoes(ws);
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['still here']);
  });

  test('J13 packets buffered before `5` are flushed over the WebSocket in order', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'm$i', count: 50 });
    ws.send('5');
    for (const m of numbers('m', 50)) assert.equal(await ws.message(), m);
  });

  test('J14 the handshake still describes the first request after the upgrade', async (t) => {
    const app = await createApp(t);
    const session = await app.polling({ headers: { 'x-first': '1' } });
    const ws = await session.probe({ headers: { 'x-second': '2' } });
    const { reply } = await app.park(session);
    await reply;
    ws.send('5');
    ws.send('40');
    assert.match(await ws.message(), /^40\{/);
    const { handshake, transport } = await app.waitFor({ type: 'connection' });
    assert.equal(transport, 'websocket');
    assert.deepEqual([handshake.query.transport, handshake.query.sid], ['polling', undefined]);
    assert.deepEqual([handshake.headers['x-first'], handshake.headers['x-second']], ['1', undefined]);
  });

  test('J15 a client that leaves right after the handshake, during the upgrade, does not hurt the server', async (t) => {
    const { app, session } = await open(t);
    const ws = await app.ws({ query: { sid: session.sid } });
    ws.send('2probe');
    const post = session.post('1');
    ws.send('5');
    ws.destroy();
    await post.catch(() => {}); // cut, if the upgrade is faster
    await app.expectClose(session.sid, 'transport close');
    await assertPolls(await app.polling());
    assert.equal(await app.do({ op: 'clientsCount' }), 1);
  });

  test('J16 a session that ends during the upgrade takes the new WebSocket with it', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    await app.do({ op: 'sessionClose', sid: session.sid, discard: true });
    assert.equal(await ws.code(), 1005);
    await app.expectClose(session.sid, 'forced close');
  });

  test('J16 a graceful close that no GET fetches ends with `5`', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    await app.do({ op: 'sessionClose', sid: session.sid });
    ws.send('5');
    assert.equal(await ws.code(), 1005);
    await app.expectClose(session.sid, 'forced close');
  });

  test('J17 a second engine on another path of the same HTTP server', async (t) => {
    const app = await createApp(t, { ...echo, http: { engines: [{ path: '/second' }] } });
    const session = await app.polling();
    const upgraded = await session.upgrade();
    const other = await app.ws({ path: app.target({ transport: 'websocket' }, '/second/') });
    assert.equal((await other.message())[0], '0');
    // Longer than the time after which upgrades on foreign paths are dropped.
    assert.ok(await pendingAfter(1300, Promise.race([other.closed, upgraded.ws.closed])));
    await assertEchoes(other, '4second');
    await assertEchoes(upgraded.ws, '4first');
  });

  test('J18 an upgrade is served even when it is not advertised', async (t) => {
    const { session } = await open(t, { options: { allowUpgrades: false } });
    assert.deepEqual(session.open.upgrades, []);
    await assertEchoes((await session.upgrade()).ws);
  });

  test('J11 POSTs during the probe are delivered before what follows on the WebSocket', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    await session.post(`4a${RS}4b`);
    ws.send('5');
    ws.send('4c');
    await app.waitFor({ type: 'message', data: 'c' });
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['a', 'b', 'c']);
  });
});
