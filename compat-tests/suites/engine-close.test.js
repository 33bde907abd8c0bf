// Group K: the server closes a session, or itself.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Socket as EngineClient } from 'engine.io-client';
import { Fixture, createApp } from '../lib/fixture.js';
import { RS } from '../lib/packets.js';
import { freePort } from '../lib/port.js';
import { transports } from '../lib/session.js';
import { SOON, until, within } from '../lib/wait.js';

const echo = { kind: 'engineio', engine: { echo: true, log: true } };

const open = async (t, config = {}) => {
  const app = await createApp(t, { ...echo, ...config });
  const session = await app.polling();
  return { app, session, sid: session.sid };
};

describe('K the server closes', { concurrency: 8 }, () => {
  test('K01 gracefully with a parked GET: `1`', async (t) => {
    const { app, session, sid } = await open(t);
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionClose', sid });
    assert.equal((await reply).text, '1');
    await app.expectClose(sid, 'forced close');
    await session.expectGone();
  });

  test('K02 gracefully without a GET: the next one gets `6` and `1`', async (t) => {
    const { app, session, sid } = await open(t);
    await app.do({ op: 'sessionClose', sid });
    assert.equal((await session.get()).text, `6${RS}1`);
    await app.expectClose(sid, 'forced close');
    await session.expectGone();
  });

  test('K03 buffered packets come before the close packet', async (t) => {
    const { app, session, sid } = await open(t);
    await app.doAll({ op: 'sessionSend', sid, data: 'm$i', count: 3 }, { op: 'sessionClose', sid });
    assert.equal((await session.get()).text, `4m0${RS}4m1${RS}4m2`);
    assert.equal((await session.get()).text, `6${RS}1`);
    await app.expectClose(sid, 'forced close');
    await session.expectGone();
  });

  test('K03 a packet sent right before the close takes the parked GET', async (t) => {
    const { app, session, sid } = await open(t);
    const { reply } = await app.park(session);
    await app.doAll({ op: 'sessionSend', sid, data: 'last' }, { op: 'sessionClose', sid });
    assert.equal((await reply).text, '4last');
    assert.equal((await session.get()).text, `6${RS}1`);
    await session.expectGone();
  });

  test('K02 while it closes, POSTs are answered but their packets are dropped', async (t) => {
    const { app, session, sid } = await open(t);
    await app.do({ op: 'sessionClose', sid });
    const post = await session.post('4late');
    assert.deepEqual([post.status, post.text], [200, 'ok']);
    await app.do({ op: 'sessionSend', sid, data: 'late too' });
    assert.equal((await session.get()).text, `6${RS}1`);
    assert.deepEqual(await app.entries({ type: 'message' }), []);
  });

  test('K04 the shutdown of the engine discards what is buffered', async (t) => {
    const { app, session, sid } = await open(t);
    await app.doAll({ op: 'sessionSend', sid, data: 'lost' }, { op: 'closeEngine' });
    await app.expectClose(sid, 'forced close');
    await session.expectGone();
  });

  test('K04 the shutdown of the engine answers a parked GET with `1`', async (t) => {
    const { app, session, sid } = await open(t);
    const { reply } = await app.park(session);
    await app.do({ op: 'closeEngine' });
    assert.equal((await reply).text, '1');
    await app.expectClose(sid, 'forced close');
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  test('K04 the shutdown of the engine closes WebSockets with an empty close frame and refuses new ones', async (t) => {
    const app = await createApp(t, echo);
    const session = await app.websocket();
    await app.do({ op: 'closeEngine' });
    const close = await session.ws.next();
    assert.deepEqual([close.type, close.payload.length], ['close', 0]);
    await app.expectClose(session.sid, 'forced close');
    await assert.rejects(app.ws(), { status: 503 });
  });

  for (const [transport] of transports) {
    test(`K05 the client sees "transport close" after a graceful close over ${transport}`, async (t) => {
      const app = await createApp(t, echo);
      const client = new EngineClient(app.url, { path: app.path, transports: [transport] });
      app.onRelease(() => client.close());
      const closed = within(SOON, 'close of the client', new Promise((resolve) => client.on('close', resolve)));
      await within(SOON, 'the client to be open', new Promise((resolve) => client.on('open', resolve)));
      const sid = client.id;
      await app.do({ op: 'sessionClose', sid });
      assert.equal(await closed, 'transport close');
      await app.expectClose(sid, 'forced close');
    });
  }

  test('K06 a POST in progress is cut when the session is closed', async (t) => {
    const { app, session, sid } = await open(t);
    const post = await app.tcp();
    post.write(`POST ${app.target({ transport: 'polling', sid })} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`);
    assert.equal((await post.readHead()).status, 100);
    post.write('4a');
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionClose', sid });
    assert.equal((await post.readAll()).length, 0);
    assert.equal((await reply).text, '1');
    assert.deepEqual(await app.entries({ type: 'message' }), []);
  });

  test('K07 after the server is closed and serves again on its port, clients can connect', async (t) => {
    const app = await createApp(t, { ...echo, port: await freePort() });
    const session = await app.websocket();
    await app.do({ op: 'closeServer' });
    await session.ws.code();
    await assert.rejects(app.ws());
    await app.do({ op: 'attach' });
    for (const [, openSession] of transports) {
      const again = await openSession(app);
      await again.send('4again');
      assert.equal(await again.next(), '4again');
    }
  });

  // A process of its own: what is left behind by others would count.
  test('K08 V01 nothing is left of closed sessions and servers', async (t) => {
    const fixture = new Fixture();
    t.after(() => fixture.stop());
    const cases = [
      ['untouched', async () => {}],
      ['polling', (app) => app.polling()],
      ['polling, parked', async (app) => app.park(await app.polling())],
      ['websocket', (app) => app.websocket()],
      ['mid-upgrade', async (app) => (await app.polling()).probe()],
      ['upgraded', async (app) => (await app.polling()).upgrade()],
      ['closed by the client', async (app) => (await app.websocket()).close()],
      ['timed out', async (app) => app.expectClose((await app.websocket()).sid, 'ping timeout')],
    ];
    for (const [what, prepare] of cases) {
      const app = await fixture.createApp(t, { ...echo, options: { pingInterval: what === 'timed out' ? 50 : 25000, pingTimeout: 100 } });
      await prepare(app);
      await app.do({ op: 'closeEngine' });
      await until(`${what}: no clients`, async () => (await app.do({ op: 'clientsCount' })) === 0);
      await app.close();
    }
    await until('nothing left', async () => (await fixture.left()) === 0);
    await fixture.stop();
  });
});
