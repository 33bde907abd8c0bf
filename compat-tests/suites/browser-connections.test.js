// Connections of a page: their ends as both sides tell them, coming back, cookies and origins.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { echo, test, usePages } from '../lib/browser.js';
import { createApp } from '../lib/fixture.js';
import { freePort } from '../lib/port.js';
import { startServer } from '../lib/server.js';
import { until } from '../lib/wait.js';

describe('browser connections', { concurrency: 3 }, () => {
  const { openPage, start } = usePages();

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const name = transports.join(' then ');

    test(`T01 T02 T03 M22 K05 every end of a connection: the reason on both sides (${name})`, async (t) => {
      const { app, page, connect } = await start(t);
      // [what, what to do, the page's reason, the server's reason]
      const ends = [
        ['the page disconnects', () => page.evaluate(() => void window.socket.disconnect()), 'io client disconnect', 'client namespace disconnect'],
        ['the server disconnects', (id) => app.do({ op: 'disconnect', socket: id }), 'io server disconnect', 'server namespace disconnect'],
        ['the server disconnects and closes', (id) => app.do({ op: 'disconnect', socket: id, close: true }), 'io server disconnect', 'server namespace disconnect'],
        ['the server closes the session', (id) => app.do({ op: 'sessionClose', socket: id, nsp: '/' }), 'transport close', 'forced close'],
        ['the page closes its connection', () => page.evaluate(() => void window.socket.io.engine.close()), 'forced close', 'transport close'],
      ];
      for (const [what, act, clientReason, serverReason] of ends) {
        const { id } = await connect({ transports });
        if (transports.length > 1) await page.evaluate(() => upgraded());
        await act(id);
        assert.equal((await app.waitFor({ type: 'disconnect', id })).reason, serverReason, what);
        await page.waitForFunction(() => window.ends.length);
        assert.deepEqual(await page.evaluate(() => window.ends), [clientReason], what);
      }
    });

    for (const how of name === 'websocket' ? ['is closed'] : ['is closed', 'goes to another address']) {
      test(`T03 the page ${how}: the server sees the transport close or break off (${name})`, async (t) => {
        const { app, page, connect } = await start(t);
        const { id } = await connect({ transports });
        if (transports.length > 1) await page.evaluate(() => upgraded());
        if (how === 'is closed') await page.close();
        else await page.goto('about:blank');
        const { reason } = await app.waitFor({ type: 'disconnect', id });
        // A poll that waits is broken off by the browser; a WebSocket is closed properly.
        const wanted = transports.includes('websocket') ? ['transport close'] : ['transport close', 'transport error'];
        assert.ok(wanted.includes(reason), reason);
        await until('no session left', async () => (await app.do({ op: 'clientsCount' })) === 0);
      });
    }

    test(`M23 M25 the page comes back after the server has been restarted (${name})`, async (t) => {
      // A process of its own, because a browser keeps spare connections that a server alone would wait for.
      const server = await startServer(t, { addr: `127.0.0.1:${await freePort()}` });
      const { app, page } = await start(t);
      const options = { transports, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
      await page.evaluate(([from, url, opts]) => connect(`${from}/socket.io/socket.io.min.js`, url, opts), [app.url, server.socket.url, options]);
      const id = await page.evaluate(() => window.socket.id);
      // A client whose server goes while it upgrades finds out when no ping comes.
      if (transports.length > 1) await page.evaluate(() => upgraded());
      await server.stop();
      await page.waitForFunction(() => window.ends.length);
      await page.evaluate(() => void window.socket.emit('message', 'meanwhile'));
      await startServer(t, { addr: `127.0.0.1:${server.port}` });
      await page.waitForFunction(() => window.socket.connected);
      await page.waitForFunction(() => window.events.some(([event]) => event === 'message-back'));
      assert.deepEqual(await page.evaluate(() => window.events.filter(([event]) => event === 'message-back')), [['message-back', 'meanwhile']]);
      assert.notEqual(await page.evaluate(() => window.socket.id), id);
    });

    test(`E11 D05 credentials: the cookie of the server comes back with the page's requests (${name})`, async (t) => {
      const { app, page, connect } = await start(t, { options: { cookie: { name: 'compat', sameSite: 'lax' } } });
      await connect({ transports: ['polling'], withCredentials: true });
      const { sid } = await app.waitFor({ type: 'connection' });
      await page.evaluate(() => void window.socket.disconnect());
      await page.evaluate(([url, opts]) => connect(`${url}/socket.io/socket.io.min.js`, url, opts), [app.url, { transports, withCredentials: true }]);
      const second = await app.waitFor((e) => e.type === 'connection' && e.sid !== sid);
      assert.match(second.handshake.headers.cookie ?? '', new RegExp(`compat=${sid}`));
    });

    test(`E05 E17 a page of another origin than the allowed one (${name})`, async (t) => {
      const app = await createApp(t, { namespaces: { '/': echo }, options: { cors: { origin: ['http://other.example'] } } });
      const helper = await createApp(t, { options: { cors: { origin: '*' } } });
      const page = await openPage(t);
      const outcome = await page.evaluate(
        ([bundle, url, opts]) => connect(bundle, url, opts).then(() => 'connected', (err) => err.message),
        [`${helper.url}/socket.io/socket.io.min.js`, app.url, { transports }],
      );
      // WebSocket connections are not refused by CORS, by neither server nor browser.
      assert.equal(outcome, transports[0] === 'websocket' ? 'connected' : 'xhr poll error');
    });
  }

  test('E06 E08 E10 a page that sends headers of its own needs, and gets, the preflight', async (t) => {
    const { app, connect } = await start(t);
    await connect({ transports: ['polling'], extraHeaders: { 'X-Page': 'yes' } });
    assert.equal((await app.waitFor({ type: 'connection' })).handshake.headers['x-page'], 'yes');
  });

  test('R07 R11 a page that loses its connection gets what it missed', async (t) => {
    const { app, page, connect } = await start(t, { options: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } } });
    const { id } = await connect({ reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300, randomizationFactor: 0 });
    await app.do({ op: 'emit', args: ['first'] });
    await page.waitForFunction(() => window.events.length === 1);
    await page.evaluate(() => void window.socket.io.engine.close());
    await app.waitFor({ type: 'disconnect', id });
    await app.do({ op: 'emit', args: ['missed', 1] });
    await page.waitForFunction(() => window.events.length === 2);
    const got = await page.evaluate(() => [window.socket.recovered, window.socket.id, window.events[1].slice(0, 2)]);
    assert.deepEqual(got, [true, id, ['missed', 1]]);
  });

  test('I02 I03 a page lives through heartbeats, and three pages do not disturb each other', async (t) => {
    const { app, page, connect } = await start(t, { options: { pingInterval: 200, pingTimeout: 20_000 } });
    await connect();
    const others = await Promise.all(Array.from({ length: 2 }, () => openPage(t)));
    await Promise.all(others.map((other) => other.evaluate(([url]) => connect(`${url}/socket.io/socket.io.min.js`, url), [app.url])));
    await page.evaluate(async () => {
      for (let i = 0; i < 4; i++) await once(window.socket.io, 'ping');
    });
    assert.equal(await app.do({ op: 'clientsCount' }), 3);
    await app.do({ op: 'emit', args: ['all'] });
    for (const each of [page, ...others]) await each.waitForFunction(() => window.events.length === 1);
  });
});
