// Group L, Socket.IO's part: clients of Socket.IO v1 and v2, spoken by hand and with the official client of v2.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { connect as connectV4, once, plain } from '../lib/client.js';
import { transports3 } from '../lib/eio3.js';
import { bin, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { Queue, SOON, pendingAfter, until } from '../lib/wait.js';

const ioV2 = createRequire(import.meta.url)('socket.io-client-v2');

const start = (t, config = {}) => createApp(t, { ...config, options: { allowEIO3: true, ...config.options } });
const echo = { on: { echo: [{ op: 'emit', args: ['echo', { $args: true }] }], ask: [{ op: 'ack', args: [{ $args: true }] }] } };

describe('L Socket.IO v2: the protocol', { concurrency: 8 }, () => {
  for (const [transport, open] of transports3) {
    test(`L04 the main namespace is joined without a request over ${transport}`, async (t) => {
      const app = await start(t);
      const session = await open(app);
      assert.equal(await session.next(), '40');
      const { nsp, id, sid, protocol, handshake } = await app.waitFor({ type: 'connection' });
      assert.deepEqual([nsp, id, sid, protocol], ['/', session.sid, session.sid, 3]);
      assert.deepEqual(handshake.auth, {});
      assert.equal(handshake.query.EIO, '3');
    });

    test(`L04 middlewares of the main namespace run first over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/': { middlewares: [{ actions: [{ op: 'wait', gate: 'go' }] }] } } });
      const session = await open(app);
      const next = session.next();
      next.catch(() => {});
      await app.waitFor({ type: 'middleware' });
      assert.ok(await pendingAfter(50, next));
      await app.do({ op: 'release', gate: 'go' });
      assert.equal(await next, '40');
    });

    test(`L18 other namespaces answer without a payload over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/chat': {} } });
      const session = await open(app);
      assert.equal(await session.next(), '40');
      await session.send('40/chat,');
      assert.equal(await session.next(), '40/chat,');
      await session.send('42/chat,["a"]');
    });

    test(`L20 ids carry the namespace over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/chat': {} } });
      const session = await open(app);
      await session.next();
      await session.connect('/chat');
      const { id } = await app.waitFor({ type: 'connection', nsp: '/chat' });
      assert.equal(id, `/chat#${session.sid}`);
      assert.deepEqual(await app.do({ op: 'rooms', nsp: '/chat' }), { [id]: [id] });
      await app.do({ op: 'emit', nsp: '/chat', to: id, args: ['direct', 1] });
      assert.equal(await session.next(), '42/chat,["direct",1]');
    });

    test(`L23 events, acknowledgements and binary over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/': echo, '/chat': echo } });
      const session = await open(app);
      await session.next();
      await session.connect('/chat');
      for (const nsp of ['', '/chat,']) {
        await session.send(`42${nsp}["echo",1,"€😀",{"a":[true,null]}]`);
        assert.equal(await session.next(), `42${nsp}["echo",1,"€😀",{"a":[true,null]}]`);
        await session.send(`42${nsp}7["ask","x"]`);
        assert.equal(await session.next(), `43${nsp}7["x"]`);
        const placeholder = '{"_placeholder":true,"num":0}';
        await session.send(`451-${nsp}["echo",${placeholder}]`, Buffer.from([1, 2, 3]));
        assert.deepEqual([await session.next(), await session.next()], [`451-${nsp}["echo",${placeholder}]`, Buffer.from([1, 2, 3])]);
        await session.send(`451-${nsp}0["ask",${placeholder}]`, Buffer.from([4, 5]));
        assert.deepEqual([await session.next(), await session.next()], [`461-${nsp}0[${placeholder}]`, Buffer.from([4, 5])]);
        const where = { nsp: nsp ? '/chat' : '/', socket: nsp ? `/chat#${session.sid}` : session.sid };
        const answer = app.do({ op: 'emitAck', ...where, args: ['question', bin([6])] });
        assert.match(await session.next(), /^451-(\/chat,)?0\["question",/);
        assert.deepEqual(await session.next(), Buffer.from([6]));
        await session.send(`43${nsp}0["answer",2]`);
        assert.deepEqual(await answer, ['answer', 2]);
      }
    });

    test(`L21 the error of a middleware over ${transport}`, async (t) => {
      const refuse = (fail) => ({ middlewares: [{ fail }] });
      const app = await start(t, {
        namespaces: {
          '/text': refuse({ message: 'nope' }),
          '/quoted': refuse({ message: 'a "b" €' }),
          '/object': refuse({ message: 'nope', data: { a: 1, b: ['x'] } }),
          '/string': refuse({ message: 'nope', data: 'raw' }),
          '/number': refuse({ message: 'nope', data: 5 }),
          '/zero': refuse({ message: 'falsy', data: 0 }),
          '/null': refuse({ message: 'falsy', data: null }),
        },
      });
      const session = await open(app);
      await session.next();
      const wants = {
        '/text': '"nope"', '/quoted': '"a \\"b\\" €"', '/object': '{"a":1,"b":["x"]}', '/string': '"raw"', '/number': '5', '/zero': '"falsy"', '/null': '"falsy"',
      };
      for (const [nsp, want] of Object.entries(wants)) {
        await session.send(`40${nsp},`);
        assert.equal(await session.next(), `44${nsp},${want}`);
      }
      assert.deepEqual((await app.entries({ type: 'connection' })).map((e) => e.nsp), ['/']);
    });

    test(`L21 L04 the main namespace refuses over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/': { middlewares: [{ fail: { message: 'closed today' } }] } } });
      const session = await open(app);
      assert.equal(await session.next(), '44"closed today"');
    });

    test(`L22 an unknown namespace over ${transport}`, async (t) => {
      const app = await start(t);
      const session = await open(app);
      await session.next();
      await session.send('40/none,');
      assert.equal(await session.next(), '44/none,{"message":"Invalid namespace"}');
    });

    test(`L18 L23 leaving and joining again, both sides, over ${transport}`, async (t) => {
      const app = await start(t, { namespaces: { '/chat': {} } });
      const session = await open(app);
      await session.next();
      await session.connect('/chat');
      await session.send('41/chat,');
      await app.waitFor({ type: 'disconnect', nsp: '/chat', reason: 'client namespace disconnect' });
      await session.connect('/chat');
      await app.do({ op: 'disconnect', nsp: '/chat' });
      assert.equal(await session.next(), '41/chat,');
      await app.do({ op: 'disconnect' });
      assert.equal(await session.next(), '41');
      await session.connect('/chat');
    });
  }

  // [query of the namespace, auth]
  const queries = [
    ['token=x', { token: 'x' }],
    ['token=x%20y&b=1', { token: 'x y', b: '1' }],
    ['a=1&a=2', { a: '2' }],
    ['a=%E2%82%AC+%26', { a: '€ &' }],
    ['a', { a: '' }],
    ['', {}],
  ];
  for (const [query, auth] of queries) {
    test(`L19 the query "${query}" of a namespace is the auth payload`, async (t) => {
      const app = await start(t, { namespaces: { '/chat': {} } });
      const session = await transports3[1][1](app, { query: { own: 'query' } });
      await session.next();
      await session.connect('/chat', query);
      const { handshake } = await app.waitFor({ type: 'connection', nsp: '/chat' });
      assert.deepEqual(handshake.auth, auth);
      assert.deepEqual([handshake.query.own, handshake.query.token], ['query', undefined]);
    });
  }

  test('L19 middlewares see it', async (t) => {
    const app = await start(t, { namespaces: { '/chat': { middlewares: [{ if: { auth: { token: 'bad' } }, fail: { message: 'no' } }] } } });
    const session = await transports3[1][1](app);
    await session.next();
    await session.send('40/chat?token=bad,');
    assert.equal(await session.next(), '44/chat,"no"');
    await session.connect('/chat', 'token=good');
  });

  test('L14 a bad packet closes the connection', async (t) => {
    for (const bad of ['4abc', '42{}', '49', '42["a"', '451-["a",{"_placeholder":true,"num":1}]']) {
      const app = await start(t);
      const session = await transports3[1][1](app);
      await session.next();
      await session.send(bad);
      if (bad.startsWith('45')) await session.send(Buffer.from([1])).catch(() => {});
      await app.expectClose(session.sid, 'forced close');
    }
  });
});

describe('L clients of both protocols', { concurrency: 6 }, () => {
  const together = {
    onConnection: [{ op: 'join', rooms: ['all'] }],
    on: { shout: [{ op: 'emit', server: true, to: 'all', args: ['heard', { $args: true }] }] },
  };

  /** A session in the main namespace: clients of v2 are taken there by the server. */
  const joinOld = async (open, app) => {
    const session = await open(app);
    assert.equal(await session.next(), '40');
    return session;
  };
  const joinYoung = async (open, app) => {
    const session = await open(app);
    await session.connect();
    return session;
  };

  for (const [name3, open3] of transports3) {
    for (const [name4, open4] of transports) {
      test(`L28 v2 over ${name3} and v4 over ${name4} in one room`, async (t) => {
        const app = await start(t, { namespaces: { '/': together } });
        const [old, young] = [await joinOld(open3, app), await joinYoung(open4, app)];
        await until('both to be in the room', async () => (await app.do({ op: 'rooms' })).all?.length === 2);
        const binary = Buffer.from([1, 2, 3]);
        for (const from of [old, young]) {
          await from.send('42["shout","é😀",{"n":1}]');
          for (const one of [old, young]) assert.equal(await one.next(), '42["heard","é😀",{"n":1}]');
          await from.send('451-["shout",{"_placeholder":true,"num":0}]', binary);
          for (const one of [old, young]) {
            assert.deepEqual([await one.next(), await one.next()], ['451-["heard",{"_placeholder":true,"num":0}]', binary]);
          }
        }
        assert.equal((await app.do({ op: 'rooms' })).all.length, 2);
      });
    }
  }

  test('L28 broadcasts of every kind reach exactly whom they should', async (t) => {
    const app = await start(t, { namespaces: { '/': together } });
    const sessions = [];
    for (const [, open] of transports3) sessions.push(await joinOld(open, app));
    for (const [, open] of transports) sessions.push(await joinYoung(open, app));
    const ids = [];
    for (const { sid } of sessions) ids.push((await app.waitFor({ type: 'connection', sid })).id);
    await until('all to be in the room', async () => (await app.do({ op: 'rooms' })).all?.length === 4);
    for (let i = 0; i < ids.length; i++) {
      await app.do({ op: 'emit', socket: ids[i], to: 'all', args: ['others', i] });
      await app.do({ op: 'emit', except: ids[i], args: ['except', i] });
      await app.do({ op: 'emit', to: ids[i], args: ['one', i] });
      for (const [k, session] of sessions.entries()) {
        const want = k === i ? [`42["one",${i}]`] : [`42["others",${i}]`, `42["except",${i}]`];
        for (const packet of want) assert.equal(await session.next(), packet);
      }
    }
  });

  test('L28 a broadcast with acknowledgements is answered by both', async (t) => {
    const app = await start(t, { namespaces: { '/': together } });
    const sessions = [await joinOld(transports3[0][1], app), await joinOld(transports3[1][1], app), await joinYoung(transports[1][1], app)];
    await until('all to be in the room', async () => (await app.do({ op: 'rooms' })).all?.length === 3);
    const answer = app.do({ op: 'emitAck', to: 'all', timeout: SOON, args: ['question'] });
    for (const [i, session] of sessions.entries()) {
      const { id, data } = await session.nextPacket();
      assert.deepEqual(data, ['question']);
      await session.send(`43${id}[${i}]`);
    }
    assert.deepEqual((await answer).sort(), [0, 1, 2]);
  });
});

describe('L the official client of Socket.IO v2', { concurrency: 4 }, () => {
  const ways = [
    ['polling', { transports: ['polling'] }],
    ['polling with base64', { transports: ['polling'], forceBase64: true }],
    ['websocket', { transports: ['websocket'] }],
    ['upgrade', { transports: ['polling', 'websocket'] }],
  ];

  /** A socket that is connecting, closed with its app. socket.inbox has the events of these names. */
  function open(app, { nsp = '/', events = [], ...options } = {}) {
    const socket = ioV2(`${app.url}${nsp}`, { forceNew: true, reconnection: false, path: app.path, ...options });
    app.onRelease(() => socket.close());
    socket.inbox = new Queue();
    for (const event of events) socket.on(event, (...args) => socket.inbox.push([event, ...args]));
    return socket;
  }

  async function connect(app, options) {
    const socket = open(app, options);
    await once(socket, 'connect');
    if (options.transports.length > 1 && socket.io.engine.transport.name !== 'websocket') await once(socket.io.engine, 'upgrade');
    return socket;
  }

  for (const [name, options] of ways) {
    test(`L01 it connects, and both sides know it by the same id, over ${name}`, async (t) => {
      const app = await start(t);
      const socket = await connect(app, options);
      const { id } = await app.waitFor({ type: 'connection' });
      assert.equal(socket.id, id);
      assert.equal(socket.io.engine.id, id);
    });

    test(`L01 L20 L19 a namespace with a query over ${name}`, async (t) => {
      const app = await start(t, { namespaces: { '/chat': {} } });
      const socket = await connect(app, { nsp: '/chat', query: { token: 'a b' }, ...options });
      const { id, handshake } = await app.waitFor({ type: 'connection', nsp: '/chat' });
      assert.equal(socket.id, id);
      assert.match(id, /^\/chat#/);
      assert.equal(handshake.auth.token, 'a b');
    });

    test(`L02 without the option it is refused over ${name}`, async (t) => {
      const app = await start(t, { options: { allowEIO3: false } });
      const socket = open(app, options);
      await once(socket, 'connect_error');
      assert.equal(socket.connected, false);
      assert.deepEqual(await app.entries({ type: 'connection' }), []);
    });

    test(`L23 events, acknowledgements both ways, and binary, over ${name}`, async (t) => {
      const app = await start(t, { namespaces: { '/': echo } });
      const socket = await connect(app, { events: ['echo'], ...options });
      const values = [1, 'é€😀', [true, null], { deep: [{ bytes: Buffer.from([1, 2, 3]) }] }, Buffer.from([255, 0])];
      socket.emit('echo', ...values);
      assert.deepEqual((await socket.inbox.next()).map(plain), ['echo', ...values].map(plain));
      const answer = await new Promise((resolve) => socket.emit('ask', ...values, (...args) => resolve(args)));
      assert.deepEqual(answer.map(plain), values.map(plain));
      socket.on('question', (a, b, ack) => ack(a, Buffer.from(b), 'done'));
      const reply = await app.do({ op: 'emitAck', socket: socket.id, args: ['question', { x: 1 }, bin([9, 8])] });
      assert.deepEqual(reply, [{ x: 1 }, bin([9, 8]), 'done']);
    });

    test(`L23 many messages in order over ${name}`, async (t) => {
      const app = await start(t, { namespaces: { '/': echo } });
      const socket = open(app, { events: ['echo'], ...options });
      await once(socket, 'connect');
      for (let i = 0; i < 100; i++) socket.emit('echo', i, i % 10 ? `€${i}` : Buffer.from([i]));
      for (let i = 0; i < 100; i++) assert.equal((await socket.inbox.next())[1], i);
    });

    test(`L21 L22 errors over ${name}`, async (t) => {
      const app = await start(t, {
        namespaces: { '/text': { middlewares: [{ fail: { message: 'nope' } }] }, '/data': { middlewares: [{ fail: { message: 'nope', data: { a: 1 } } }] } },
      });
      for (const [nsp, want] of [['/text', 'nope'], ['/data', { a: 1 }], ['/none', { message: 'Invalid namespace' }]]) {
        const socket = open(app, { nsp, ...options });
        const [err] = await once(socket, 'error');
        assert.deepEqual(err, want);
        socket.close();
      }
    });

    test(`L05 L07 it keeps its session alive over ${name}`, async (t) => {
      const app = await start(t, { options: { pingInterval: 200, pingTimeout: 20_000 }, namespaces: { '/': echo }, record: ['heartbeat'] });
      const socket = await connect(app, options);
      await app.waitFor((e) => e.type === 'heartbeat' && e.n > 0);
      const from = (await app.entries()).length;
      await app.waitFor({ type: 'heartbeat' }, { from });
      await app.waitFor({ type: 'heartbeat' }, { from: from + 1 });
      assert.equal(socket.connected, true);
      assert.deepEqual(await app.entries({ type: 'session_close' }), []);
    });

    test(`L17 the reasons of the end over ${name}`, async (t) => {
      const app = await start(t);
      const first = await connect(app, options);
      const reason = once(first, 'disconnect');
      await app.do({ op: 'disconnect', socket: first.id });
      assert.deepEqual(await reason, ['io server disconnect']);
      const second = await connect(app, options);
      const lost = once(second, 'disconnect');
      await app.do({ op: 'sessionClose', socket: second.id });
      assert.deepEqual(await lost, ['transport close']);
      const third = await connect(app, options);
      const { id } = third;
      third.close();
      await app.waitFor((e) => e.type === 'disconnect' && e.id === id && e.reason === 'client namespace disconnect');
    });

    test(`L28 it shares a room with a client of v4 over ${name}`, async (t) => {
      const app = await start(t, {
        namespaces: { '/': { onConnection: [{ op: 'join', rooms: ['all'] }], on: { shout: [{ op: 'emit', broadcast: true, to: 'all', args: ['heard', { $args: true }] }] } } },
      });
      const old = await connect(app, { events: ['heard'], ...options });
      const young = await connectV4(app, { transports: options.transports });
      await until('both to be in the room', async () => (await app.do({ op: 'rooms' })).all?.length === 2);
      old.emit('shout', 'from v2', Buffer.from([1]));
      assert.deepEqual((await young.inbox.next()).map(plain), ['heard', 'from v2', { hex: '01' }]);
      young.emit('shout', 'from v4', Buffer.from([2]));
      assert.deepEqual((await old.inbox.next()).map(plain), ['heard', 'from v4', { hex: '02' }]);
    });
  }
});
