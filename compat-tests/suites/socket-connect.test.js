// Group M: joining and leaving namespaces, and what a client may not do, spoken by hand over both transports.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EARLY, createApp } from '../lib/fixture.js';
import { RS } from '../lib/packets.js';
import { freePort } from '../lib/port.js';
import { transports } from '../lib/session.js';
import { pendingAfter } from '../lib/wait.js';

const echo = { on: { message: [{ op: 'emit', args: ['message-back', { $args: true }] }] } };
const namespaces = { '/': echo, '/custom': echo };

/** A test on each transport; body gets (t, {app, session}). */
function both(name, config, body) {
  for (const [transport, open] of transports) {
    test(`${name} (${transport})`, async (t) => {
      const app = await createApp(t, { namespaces, ...config });
      await body(t, { app, session: await open(app), open });
    });
  }
}

const id = /^[A-Za-z0-9_-]{20}$/;

async function assertAlive(session, nsp = '') {
  await session.send(`42${nsp}["message","still here"]`);
  assert.equal(await session.next(), `42${nsp}["message-back","still here"]`);
}

/** The whole connection is closed, without any packet before, and the engine session for this reason. */
async function assertClosed(app, session, reason = 'forced close') {
  assert.deepEqual(await session.expectClosed(), []);
  await app.expectClose(session.sid, reason);
}

describe('M connecting to namespaces', { concurrency: 8 }, () => {
  both('M01 M02 M27 CONNECT is answered with the id of the socket, and nothing else', {}, async (t, { app, session }) => {
    await session.send('40');
    const reply = await session.next();
    const { sid } = JSON.parse(reply.slice(2));
    assert.equal(reply, `40{"sid":"${sid}"}`);
    assert.match(sid, id);
    assert.notEqual(sid, session.sid);
    const connection = await app.waitFor({ type: 'connection' });
    assert.deepEqual([connection.id, connection.sid, connection.nsp], [sid, session.sid, '/']);
  });

  for (const [sent, want] of [[undefined, {}], [{}, {}], [{ token: '123', nested: { a: [1, null] } }, { token: '123', nested: { a: [1, null] } }]]) {
    both(`M03 the payload ${JSON.stringify(sent)} of CONNECT is the auth`, {}, async (t, { app, session }) => {
      await session.connect('/', sent);
      assert.deepEqual((await app.waitFor({ type: 'connection' })).handshake.auth, want);
    });
  }

  for (const packet of ['40/custom,', '40/custom', '40/custom,{"token":"x"}']) {
    both(`M04 M07 M27 ${packet} joins a custom namespace without /`, {}, async (t, { app, session }) => {
      await session.send(packet);
      const { nsp, data } = await session.nextPacket();
      assert.equal(nsp, '/custom');
      assert.match(data.sid, id);
      await assertAlive(session, '/custom,');
      assert.deepEqual((await app.entries({ type: 'connection' })).map((e) => e.nsp), ['/custom']);
    });
  }

  for (const [nsp, packet] of [['/random', '40/random'], ['/random', '40/random,'], ['/rändom', '40/rändom,{"a":1}']]) {
    both(`M05 ${packet} is answered "Invalid namespace", the connection goes on`, {}, async (t, { session }) => {
      await session.send(packet);
      assert.equal(await session.next(), `44${nsp},{"message":"Invalid namespace"}`);
      await session.connect('/');
      await assertAlive(session);
    });
  }

  both('M28 a ? in the name of a namespace is part of the name', { namespaces: { '/a': echo, '/a?b=1': echo } }, async (t, { app, session }) => {
    await session.send('40/a?b=2,');
    assert.equal(await session.next(), '44/a?b=2,{"message":"Invalid namespace"}');
    await session.connect('/a?b=1');
    assert.deepEqual((await app.waitFor({ type: 'connection', nsp: '/a?b=1' })).handshake.auth, {});
  });

  both('M06 several namespaces on one connection, with ids of their own', {}, async (t, { session }) => {
    const ids = [];
    for (const nsp of ['/', '/custom']) ids.push((await session.connect(nsp)).sid);
    assert.notEqual(ids[0], ids[1]);
    await assertAlive(session);
    await assertAlive(session, '/custom,');
  });

  both('M06 several CONNECT packets in one go', {}, async (t, { session }) => {
    await session.send('40', '40/custom,', '40/none,');
    const replies = [await session.next(), await session.next(), await session.next()];
    assert.deepEqual(replies.map((r) => r.replace(/"sid":"[^"]*"/, 'SID')).sort(), [
      '40/custom,{SID}', '40{SID}', '44/none,{"message":"Invalid namespace"}',
    ]);
  });

  both('M08 two clients of one namespace are two sockets', {}, async (t, { app, session, open }) => {
    const other = await open(app);
    const ids = [(await session.connect('/')).sid, (await other.connect('/')).sid];
    assert.notEqual(ids[0], ids[1]);
    assert.deepEqual((await app.do({ op: 'fetch' })).map((s) => s.id).sort(), ids.sort());
  });

  both('M17 M19 leaving namespaces leaves the others, and the connection, alone', { options: { pingInterval: 400 } }, async (t, { app, session }) => {
    session.autoPong = true;
    await session.connect('/');
    await session.connect('/custom');
    await session.send('41');
    await app.waitFor({ type: 'disconnect', nsp: '/' });
    await assertAlive(session, '/custom,');
    await session.send('41/custom,');
    await app.waitFor({ type: 'disconnect', nsp: '/custom' });
    session.autoPong = false;
    assert.equal(await session.next(), '2');
    assert.deepEqual(await app.entries({ type: 'session_close' }), []);
  });

  both('M18 joining again gives a new id', {}, async (t, { app, session }) => {
    const first = await session.connect('/custom');
    await session.send('41/custom,');
    await app.waitFor({ type: 'disconnect' }); // a CONNECT right behind may still find the socket
    const second = await session.connect('/custom');
    assert.notEqual(first.sid, second.sid);
    await assertAlive(session, '/custom,');
  });

  for (const [nsp, want] of [['/', '41'], ['/custom', '41/custom,']]) {
    both(`M20 the server disconnects a socket of ${nsp}: ${want}, the connection stays`, {}, async (t, { app, session }) => {
      const { sid } = await session.connect(nsp);
      await app.do({ op: 'disconnect', nsp, socket: sid });
      assert.equal(await session.next(), want);
      const again = await session.connect(nsp);
      assert.notEqual(again.sid, sid);
    });
  }

  both('M21 disconnect(true): DISCONNECT for every namespace, then the connection is closed', {}, async (t, { app, session }) => {
    const { sid } = await session.connect('/');
    await session.connect('/custom');
    await app.do({ op: 'disconnect', socket: sid, close: true });
    assert.deepEqual((await session.expectClosed()).sort(), ['41', '41/custom,']);
    await app.expectClose(session.sid, 'forced close');
  });

  both('M23 the shutdown of the server sends no DISCONNECT', {}, async (t, { app, session }) => {
    await session.connect('/');
    await app.do({ op: 'closeServer' });
    if (session.ws) assert.deepEqual(await session.expectClosed(), []);
    await app.waitFor({ type: 'disconnect', reason: 'server shutting down' });
  });

  test('M23 the shutdown of the server answers a parked GET with `1`', async (t) => {
    const app = await createApp(t);
    const session = await app.polling();
    await session.connect('/');
    const { reply } = await app.park(session);
    await app.do({ op: 'closeServer' });
    assert.equal((await reply).text, '1');
  });

  for (const [transport, open] of transports) {
    test(`M24 the port is free after the shutdown (${transport})`, async (t) => {
      const app = await createApp(t, { port: await freePort(), namespaces });
      const session = await open(app);
      await session.connect('/');
      app.release();
      await app.do({ op: 'closeServer' });
      const next = await createApp(t, { port: app.port, namespaces });
      const again = await next.websocket();
      await again.connect('/');
      await assertAlive(again);
    });
  }

  test('M24 the same server serves again on its port', async (t) => {
    const app = await createApp(t, { port: await freePort(), namespaces });
    await (await app.websocket()).connect('/');
    app.release();
    await app.do({ op: 'closeServer' });
    await app.do({ op: 'attach' });
    const again = await app.websocket();
    await again.connect('/');
    await assertAlive(again);
  });
});

describe('M violations', { concurrency: 8 }, () => {
  // [ids, what, packets before, packets]; the packets before are CONNECTs whose answers are awaited.
  const violations = [
    ['M09', 'a second CONNECT', ['/'], ['40']],
    ['M09', 'a second CONNECT to a custom namespace', ['/custom'], ['40/custom,']],
    ['M10', 'EVENT before CONNECT', [], ['42["message"]']],
    ['M10', 'ACK before CONNECT', [], ['430[]']],
    ['M10', 'DISCONNECT before CONNECT', [], ['41']],
    ['M11', 'EVENT for a namespace not joined', ['/'], ['42/custom,["message"]']],
    ['M11', 'EVENT for an unknown namespace', ['/'], ['42/none,["message"]']],
    ['M11', 'DISCONNECT for a namespace not joined', ['/'], ['41/custom,']],
    ['M13', 'CONNECT with an array', [], ['40[]']],
    ['M13', 'CONNECT with a string', [], ['40"x"']],
    ['M13', 'CONNECT with null', [], ['40null']],
    ['M13', 'CONNECT with a boolean', [], ['40true']],
    ['M13', 'CONNECT with garbage', [], ['40{a']],
    ['M13', 'CONNECT with an array for a custom namespace', [], ['40/custom,[]']],
    ['M14', 'CONNECT_ERROR before CONNECT', [], ['44{"message":"x"}']],
    ['M14', 'CONNECT_ERROR after CONNECT', ['/'], ['44{"message":"x"}']],
    ['M14', 'CONNECT_ERROR with a string', ['/'], ['44"x"']],
  ];
  for (const [ids, what, joined, packets] of violations) {
    both(`${ids} ${what} closes the connection`, {}, async (t, { app, session }) => {
      for (const nsp of joined) await session.connect(nsp);
      await session.send(...packets);
      await assertClosed(app, session);
      for (const { reason } of await app.entries({ type: 'disconnect' })) assert.match(reason, /^forced (server )?close$/);
    });
  }

  test('M10 over polling without a parked GET the next one gets `6` and `1`', async (t) => {
    const app = await createApp(t, { namespaces });
    const session = await app.polling();
    await session.send('42["message"]');
    assert.equal((await session.get()).text, `6${RS}1`);
    await session.expectGone();
  });

  test('M10 over polling with a parked GET it gets `1`', async (t) => {
    const app = await createApp(t, { namespaces });
    const session = await app.polling();
    const { reply } = await app.park(session);
    await session.send('42["message"]');
    assert.equal((await reply).text, '1');
    await session.expectGone();
  });

  test('M12 CONNECT and EVENT in one payload close the connection', async (t) => {
    const app = await createApp(t, { namespaces });
    const session = await app.polling();
    await session.send('40', '42["message","too early"]');
    await session.expectClosed();
    assert.deepEqual(await app.entries({ type: 'event' }), []);
  });

  both('M12 EVENT while a middleware is still busy closes the connection', {
    namespaces: { '/': { middlewares: [{ actions: [{ op: 'wait', gate: 'never' }] }], on: { message: [] } } },
  }, async (t, { app, session }) => {
    await session.send('40');
    await app.waitFor({ type: 'middleware' });
    await session.send('42["message"]');
    await assertClosed(app, session);
    assert.deepEqual(await app.entries((e) => e.type === 'event' || e.type === 'connection'), []);
  });

  both('M15 no CONNECT within connectTimeout: closed', { options: { connectTimeout: 300 }, engineMiddlewares: [{}] }, async (t, { app, session }) => {
    await assertClosed(app, session);
    const [{ t: begin }] = await app.entries({ type: 'engine_middleware' }); // before the session is opened
    const [{ t: end }] = await app.entries({ type: 'session_close' });
    assert.ok(end - begin >= 300 - EARLY, `closed after ${end - begin} ms`);
  });

  both('M16 a refused CONNECT does not stop connectTimeout', { options: { connectTimeout: 2500 } }, async (t, { app, session }) => {
    await session.send('40/none,');
    assert.match(await session.next(), /^44\/none,/);
    await assertClosed(app, session);
  });

  both('M16 a hanging middleware does not stop connectTimeout', {
    options: { connectTimeout: 2500 },
    namespaces: { '/': { middlewares: [{ actions: [{ op: 'wait', gate: 'never' }] }] } },
  }, async (t, { app, session }) => {
    await session.send('40');
    await assertClosed(app, session);
    assert.deepEqual(await app.entries({ type: 'connection' }), []);
  });

  both('M15 after one success connectTimeout is gone, also when every namespace is left', { options: { connectTimeout: 2500 } }, async (t, { app, session }) => {
    await session.connect('/');
    await session.send('41');
    const closed = app.waitFor({ type: 'session_close' });
    closed.catch(() => {});
    assert.ok(await pendingAfter(3000, closed));
    await session.connect('/');
    await assertAlive(session);
  });

  both('M26 a packet that cannot be parsed closes the connection without an error packet', {}, async (t, { app, session }) => {
    await session.connect('/');
    await session.send('4abc');
    await assertClosed(app, session);
  });
});
