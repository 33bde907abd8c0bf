// What an application can watch of a session: its packets, when they are flushed and drained, heartbeats; and in which order. The ids are those
// of what is watched.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bin, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';

const start = (t, record, config = {}) =>
  createApp(t, { kind: 'engineio', engine: { echo: true }, record, ...config });

/** The entries of these types from an index on, as [type, packet, data] or [type]. */
const seen = async (app, types, from = 0) =>
  (await app.entries((e) => types.includes(e.type) && e.n >= from)).map(({ type, packet, data }) => (packet ? [type, packet, data] : [type]));

describe('hooks of the engine', { concurrency: 8 }, () => {
  for (const [transport, open] of transports) {
    test(`G01 H01 H02 each message is seen when it comes and before it goes, over ${transport}`, async (t) => {
      const app = await start(t, ['packets']);
      const session = await open(app);
      await session.send('4hello', Buffer.from([1, 2]));
      assert.deepEqual([await session.next(), await session.next()], ['4hello', Buffer.from([1, 2])]);
      const all = await seen(app, ['packet', 'packet_create']);
      const of = (type) => all.filter((e) => e[0] === type).map(([, packet, data]) => [packet, data]);
      const messages = [['message', 'hello'], ['message', bin([1, 2])]];
      assert.deepEqual([of('packet'), of('packet_create')], [messages, messages]);
      assert.deepEqual(all[0], ['packet', 'message', 'hello']);
    });

    test(`I03 heartbeats are seen: the ping, the pong, and the event, in each round over ${transport}`, async (t) => {
      const app = await start(t, ['packets', 'heartbeat'], { options: { pingInterval: 1000, pingTimeout: 5000 } });
      const session = await open(app);
      for (let i = 0; i < 3; i++) {
        assert.equal(await session.next(), '2');
        await session.send('3');
      }
      await app.waitForAll({ type: 'heartbeat' }, 3);
      const rounds = await seen(app, ['packet', 'packet_create', 'heartbeat']);
      const order = rounds.slice(0, 9).map(([type, packet]) => packet ?? type);
      // The packet and the heartbeat are one moment; which is told first is of no matter.
      assert.deepEqual(order.map((e) => (e === 'pong' ? 'heartbeat' : e)), Array(3).fill(['ping', 'heartbeat', 'heartbeat']).flat());
    });

    test(`H12 I03 packets that are ignored are seen too, over ${transport}`, async (t) => {
      const app = await start(t, ['packets']);
      const session = await open(app);
      await session.send('6', '0', '5', '4after');
      assert.equal(await session.next(), '4after');
      const packets = await seen(app, ['packet']);
      assert.deepEqual(packets.map((e) => e[1]), ['noop', 'open', 'upgrade', 'message']);
    });

    test(`K03 H18 nothing is seen of a session that has ended, over ${transport}`, async (t) => {
      const app = await start(t, ['packets', 'flush', 'heartbeat'], { options: { pingInterval: 100, pingTimeout: 100 } });
      const session = await open(app);
      const { n } = await app.expectClose(session.sid, 'ping timeout');
      const other = await open(app);
      await app.waitFor({ type: 'packet_create', sid: other.sid });
      const late = await app.entries((e) => e.n > n && e.sid === session.sid);
      assert.deepEqual(late.filter((e) => e.type !== 'drain'), []);
    });

    test(`G09 H01 flush and drain follow each other over ${transport}`, async (t) => {
      const app = await start(t, ['flush', 'packets']);
      const session = await open(app);
      for (let i = 0; i < 3; i++) {
        await session.send(`4${i}`);
        assert.equal(await session.next(), `4${i}`);
        const created = await app.waitFor({ type: 'packet_create', data: `${i}` });
        const flush = await app.waitFor({ type: 'flush', sid: session.sid }, { from: created.n });
        await app.waitFor({ type: 'drain', sid: session.sid }, { from: flush.n });
      }
    });
  }

  test('G09 what finds no poll is flushed once, with the next one', async (t) => {
    const app = await start(t, ['flush', 'packets']);
    const session = await app.polling();
    await session.send('4first');
    assert.equal(await session.next(), '4first');
    const created = await app.waitFor({ type: 'packet_create', data: 'first' });
    const { n: from } = await app.waitFor({ type: 'drain' }, { from: created.n });
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'm$i', count: 3 });
    await app.waitFor({ type: 'packet_create', data: 'm2' });
    assert.deepEqual((await seen(app, ['flush'], from + 1)), []);
    for (let i = 0; i < 3; i++) assert.equal(await session.next(), `4m${i}`);
    await app.waitFor({ type: 'drain' }, { from: from + 1 });
    assert.deepEqual(await seen(app, ['flush', 'drain'], from + 1), [['flush'], ['drain']]);
  });

  test('J13 G09 the packets of a session are seen across its upgrade', async (t) => {
    const app = await start(t, ['packets', 'flush']);
    const session = await app.polling();
    const ws = await session.probe();
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'm$i', count: 2 });
    ws.send('5');
    assert.deepEqual([await ws.message(), await ws.message()], ['4m0', '4m1']);
    ws.send('4up');
    assert.equal(await ws.message(), '4up');
    const all = await seen(app, ['packet', 'packet_create', 'upgrade']);
    // Probe and upgrade belong to the transports.
    assert.deepEqual(all.map(([type, , data]) => (type === 'upgrade' ? type : data)), ['m0', 'm1', 'upgrade', 'up', 'up']);
    const upgrade = await app.waitFor({ type: 'upgrade' });
    await app.waitFor({ type: 'flush' }, { from: upgrade.n });
  });

  test('L05 heartbeats of v3 are those of the client', async (t) => {
    const app = await start(t, ['packets', 'heartbeat'], { options: { allowEIO3: true } });
    const ws = await app.ws({ query: { EIO: '3' } });
    await ws.message();
    ws.send('2');
    assert.equal(await ws.message(), '3');
    await app.waitFor({ type: 'heartbeat' });
    const all = await seen(app, ['packet', 'packet_create', 'heartbeat']);
    assert.deepEqual(all.map(([type, packet]) => packet ?? type).sort(), ['heartbeat', 'ping', 'pong']);
  });

  test('D17 J14 hooks of an upgraded session still name its first request', async (t) => {
    const app = await start(t, ['packets']);
    const session = await app.polling({ query: { tag: 'first' } });
    await session.upgrade();
    const { url, transport } = await app.waitFor({ type: 'session', sid: session.sid });
    assert.match(url, /transport=polling/);
    assert.match(url, /tag=first/);
    assert.equal(transport, 'polling');
    assert.equal((await app.waitFor({ type: 'upgrade', sid: session.sid })).transport, 'websocket');
  });
});
