// Group I: the heartbeat of Engine.IO v4.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EARLY, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { SOON, sleep } from '../lib/wait.js';

const config = (pingInterval, pingTimeout) => ({
  kind: 'engineio',
  engine: { echo: true },
  options: { pingInterval, pingTimeout },
});

/**
 * Opens a session and answers twelve pings with pong, and again if the machine was so busy that the server got none in time. The
 * server must not have ended any session but for that.
 */
async function keepAlive(app, open, pong) {
  for (let tries = 10; ; tries--) {
    const session = await open(app);
    try {
      for (let i = 0; i < 12; i++) {
        assert.equal(await session.next(), '2');
        await session.send(pong);
      }
      return assert.deepEqual(await app.entries({ type: 'session_close', sid: session.sid }), []);
    } catch (err) {
      const last = (await app.entries({ sid: session.sid })).filter((e) => e.packet === 'ping' || e.packet === 'pong' || e.type === 'session_close').slice(-2);
      const late = last[0]?.packet === 'ping' && last[1]?.reason === 'ping timeout';
      if (!late || tries === 1) throw err;
    }
  }
}

// Deadlines that the tests themselves have to meet are two seconds or more, so that a busy machine does not miss them.
describe('I heartbeat', { concurrency: 12 }, () => {
  for (const [transport, open] of transports) {
    test(`${transport === 'polling' ? 'I01' : 'I02'} the server pings after pingInterval over ${transport}`, async (t) => {
      const app = await createApp(t, { ...config(300, 5000), record: ['packets'] });
      const session = await open(app);
      assert.equal(await session.next(), '2');
      const [{ t: opened }] = await app.entries({ type: 'session' });
      const ping = await app.waitFor({ type: 'packet_create', packet: 'ping' });
      assert.ok(ping.t - opened >= 300 - EARLY, `ping after ${ping.t - opened} ms`);
    });

    test(`I03 ping and pong keep a session over ${transport}`, async (t) => {
      await keepAlive(await createApp(t, { ...config(250, 2500), record: ['packets'] }), open, '3');
    });

    test(`I04 I07 T05 without a pong the session ends after pingInterval + pingTimeout over ${transport}`, async (t) => {
      const app = await createApp(t, config(200, 2000));
      const session = await open(app);
      assert.equal(await session.next(), '2');
      const { t: end } = await app.expectClose(session.sid, 'ping timeout');
      const { t: begin } = await app.waitFor({ type: 'session' });
      assert.ok(end - begin >= 2200 - EARLY, `closed after ${end - begin} ms`);
      assert.ok(end - begin < 20_000, `closed after ${end - begin} ms`);
      assert.deepEqual(await session.expectClosed(), []);
    });

    test(`I08 the next ping is measured from the pong over ${transport}`, async (t) => {
      const app = await createApp(t, { ...config(300, 5000), record: ['packets', 'heartbeat'] });
      const session = await open(app);
      assert.equal(await session.next(), '2');
      await sleep(200);
      await session.send('3');
      assert.equal(await session.next(), '2');
      await app.waitFor({ type: 'heartbeat', sid: session.sid });
      const pong = await app.waitFor({ type: 'packet', packet: 'pong' }); // told before it starts the interval
      const [, second] = await app.entries({ type: 'packet_create', packet: 'ping' });
      assert.ok(second.t - pong.t >= 300 - EARLY, `ping ${second.t - pong.t} ms after the pong`);
    });

    test(`I09 other traffic extends the deadline once over ${transport}`, async (t) => {
      const app = await createApp(t, { ...config(100, 3000), record: ['packets'] });
      let first;
      let end;
      for (let tries = 10; !first; tries--) { // again, if a busy machine let the time pass without a packet
        assert.ok(tries, 'no packet in time');
        const session = await open(app);
        assert.equal(await session.next(), '2');
        // Packets all the time: the first one restarts the pingTimeout, the others do not.
        await sleep(1000);
        end = undefined;
        for (const limit = performance.now() + SOON; !end && performance.now() < limit; await sleep(50)) {
          await session.send('4x').catch(() => {}); // the session may end in between
          [end] = await app.entries({ type: 'session_close', sid: session.sid });
        }
        assert.equal(end?.reason, 'ping timeout');
        [first] = await app.entries({ type: 'packet', packet: 'message', sid: session.sid });
      }
      const lasted = end.t - first.t;
      assert.ok(lasted >= 3000 - EARLY, `closed after ${lasted} ms, as if not extended`);
      assert.ok(lasted < 20_000, `closed after ${lasted} ms, as if extended more than once`);
    });

    test(`I03 the data of a pong is ignored over ${transport}`, async (t) => {
      await keepAlive(await createApp(t, { ...config(250, 2500), record: ['packets'] }), open, '3probe');
    });
  }

  test('I04 the WebSocket is closed with an empty close frame', async (t) => {
    const app = await createApp(t, config(100, 100));
    const session = await app.websocket();
    assert.equal(await session.next(), '2');
    assert.equal((await session.ws.next()).type, 'close');
    assert.equal(await session.ws.code(), 1005);
  });

  test('I05 without a pong over polling the next request → 400 code 1', async (t) => {
    const app = await createApp(t, config(100, 2000));
    const session = await app.polling();
    assert.equal(await session.next(), '2');
    await app.expectClose(session.sid, 'ping timeout');
    await session.expectGone();
    const post = await session.post('3');
    assert.deepEqual([post.status, post.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  });

  test('I05 a client that never polls: the ping waits and its deadline runs', async (t) => {
    const app = await createApp(t, config(100, 100));
    const session = await app.polling();
    await app.expectClose(session.sid, 'ping timeout');
    await session.expectGone();
  });

  test('I06 a GET parked at the time-out receives `1`', async (t) => {
    const app = await createApp(t, config(100, 2500));
    const session = await app.polling();
    assert.equal(await session.next(), '2');
    const { reply } = await app.park(session);
    assert.equal((await reply).text, '1');
    await session.expectGone();
  });

  test('I10 a session outlives an upgrade with a short pingTimeout', async (t) => {
    const app = await createApp(t, config(250, 2500));
    const session = await app.polling();
    session.autoPong = true;
    const ws = await session.probe();
    // A poll, as clients have one, until the server's noop ends it; it may bring pings, which want their pongs.
    for (let packet; packet !== '6'; ) packet = await session.next();
    ws.send('5');
    for (let i = 0; i < 12; i++) {
      assert.equal(await ws.message(), '2');
      ws.send('3');
    }
    assert.deepEqual(await app.entries({ type: 'session_close' }), []);
  });

  test('I03 an unsolicited pong puts the next ping off', async (t) => {
    const app = await createApp(t, { ...config(3000, 5000), record: ['packets', 'heartbeat'] });
    const session = await app.websocket();
    await sleep(500);
    await session.send('3');
    assert.equal(await session.next(), '2');
    await app.waitFor({ type: 'heartbeat' });
    const pong = await app.waitFor({ type: 'packet', packet: 'pong' });
    const ping = await app.waitFor({ type: 'packet_create', packet: 'ping' });
    assert.ok(ping.t - pong.t >= 3000 - EARLY, `ping ${ping.t - pong.t} ms after the pong`);
  });
});
