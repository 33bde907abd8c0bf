// Group O: namespace middlewares, what a refused client is told, the handshake, and middlewares of events.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, connected, once, open, plain, plainSpec, refused, ways } from '../lib/client.js';
import { bin, createApp } from '../lib/fixture.js';
import { isTLS } from '../lib/target.js';
import { until } from '../lib/wait.js';

const ask = { ask: [{ op: 'ack', args: [{ $args: true }] }] };
const pass = {};
const fail = (message, ...data) => ({ fail: { message, ...(data.length && { data: data[0] }) } });

for (const [name, transports] of ways) {
  describe(`middlewares over ${name}`, { concurrency: 8 }, () => {
    const start = (t, behaviour, more = {}) => createApp(t, { namespaces: { '/': behaviour, ...more.namespaces } });

    test(`O01 O10 middlewares run in order before the connection, on a socket that is not connected (${name})`, async (t) => {
      const app = await start(t, { middlewares: [pass, pass, pass], on: ask });
      const socket = await connect(app, transports);
      const entries = (await app.entries((e) => ['middleware', 'connection'].includes(e.type))).map((e) => [e.type, e.index, e.connected, e.id]);
      assert.deepEqual(entries, [
        ...[0, 1, 2].map((i) => ['middleware', i, false, socket.id]),
        ['connection', undefined, true, socket.id],
      ]);
    });

    test(`O02 the middlewares of / do not run for another namespace (${name})`, async (t) => {
      const app = await start(t, { middlewares: [fail('no')] }, { namespaces: { '/other': { middlewares: [pass], on: ask } } });
      const other = await connect(app, { ...transports, nsp: '/other' });
      assert.deepEqual((await app.entries({ type: 'middleware' })).map((e) => e.nsp), ['/other']);
      const root = open(app, { on: other });
      assert.equal((await once(root, 'connect_error'))[0].message, 'no');
      assert.equal(await other.emitWithAck('ask', 1), 1);
    });

    for (const [ids, what, data] of [
      ['O05', 'no data', []],
      ['O04', 'data', [{ content: 'Please retry later', list: [1, { a: null }] }]],
      ['O04', 'a text as data', ['text']],
      ['O04', 'zero as data', [0]],
      ['O04', 'null as data', [null]],
    ]) {
      test(`O03 ${ids} a refusal with ${what}: connect_error, later middlewares and the handler do not run (${name})`, async (t) => {
        const app = await start(t, { middlewares: [pass, fail('unauthorized – nö', ...data), pass] });
        const err = await refused(app, transports);
        assert.ok(err instanceof Error);
        assert.equal(err.message, 'unauthorized – nö');
        assert.deepEqual(err.data, data[0]);
        assert.deepEqual((await app.entries({ type: 'middleware' })).map((e) => e.index), [0, 1]);
        assert.deepEqual(await app.entries({ type: 'connection' }), []);
      });
    }

    test(`O03 O13 a refused client tries again with other auth on the same connection (${name})`, async (t) => {
      const app = await start(t, { middlewares: [{ if: { auth: { token: 'bad' } }, ...fail('bad token') }], on: ask }, { namespaces: { '/other': {} } });
      const other = await connect(app, { ...transports, nsp: '/other' }); // else the client would close the connection
      const socket = open(app, { on: other, auth: { token: 'bad' } });
      await once(socket, 'connect_error');
      assert.equal(socket.active, false);
      const { engine } = socket.io;
      socket.auth = { token: 'good' };
      socket.connect();
      await connected(socket);
      assert.ok(socket.io.engine === engine);
      assert.equal(await socket.emitWithAck('ask', 'in'), 'in');
      assert.deepEqual((await app.waitFor({ type: 'connection', nsp: '/' })).handshake.auth, { token: 'good' });
    });

    test(`O06 an asynchronous middleware delays the connection until it is done (${name})`, async (t) => {
      const app = await start(t, { middlewares: [{ actions: [{ op: 'wait', gate: 'go' }] }, pass], on: ask });
      const socket = open(app, transports);
      await app.waitFor({ type: 'middleware' });
      // Whatever else the connection carries meanwhile shows that only this one is held up.
      const [err] = await once(open(app, { on: socket, nsp: '/unknown' }), 'connect_error');
      assert.equal(err.message, 'Invalid namespace');
      assert.equal(socket.connected, false);
      assert.equal((await app.entries({ type: 'connection' })).length, 0);
      await app.do({ op: 'release', gate: 'go' });
      await connected(socket);
      assert.equal(await socket.emitWithAck('ask', 1), 1);
    });

    test(`O07 the client is gone while a middleware is pending: no connection (${name})`, async (t) => {
      const app = await start(t, { middlewares: [{ actions: [{ op: 'wait', gate: 'go' }] }] });
      const socket = open(app, transports);
      const { id } = await app.waitFor({ type: 'middleware' });
      const { sid } = await app.waitFor({ type: 'session' });
      socket.io.disconnect();
      await app.waitFor({ type: 'session_close', sid });
      await app.do({ op: 'release', gate: 'go' });
      const next = open(app, transports);
      await connected(next);
      await app.waitFor({ type: 'connection', id: next.id });
      assert.deepEqual((await app.entries({ type: 'connection' })).map((e) => e.id), [next.id]);
      assert.ok(!(id in (await app.do({ op: 'rooms' }))));
    });

    test(`O08 O09 rooms joined in a middleware are gone when it refuses, kept when it passes (${name})`, async (t) => {
      const join = { actions: [{ op: 'join', rooms: ['r'] }] };
      const app = await start(t, { middlewares: [join, { if: { auth: { bad: true } }, ...fail('no') }] });
      await refused(app, { ...transports, auth: { bad: true } });
      await until('the room to be left', async () => !Object.keys(await app.do({ op: 'rooms' })).length);
      const socket = await connect(app, transports);
      assert.deepEqual((await app.do({ op: 'rooms' })).r, [socket.id]);
      await app.do({ op: 'emit', to: 'r', args: ['to r'] });
      assert.deepEqual(await socket.inbox.next(), ['to r']);
    });

    test(`O11 what the connection handler emits comes after the connection, and is not lost (${name})`, async (t) => {
      const app = await start(t, { onConnection: [{ op: 'emit', args: ['hello', { $i: true }, bin('b')], count: 3 }, { op: 'emit', args: ['all'], server: true }] });
      const socket = open(app, transports);
      const order = [];
      socket.on('connect', () => order.push('connect'));
      socket.onAny((event) => order.push(event));
      await socket.inbox.until('all');
      assert.deepEqual(order, ['connect', 'hello', 'hello', 'hello', 'all']);
    });

    test(`O12 A26 H20 the handshake has query, headers, address, url, time, issued, secure, xdomain (${name})`, async (t) => {
      const app = await start(t, {});
      const before = Date.now();
      await connect(app, { ...transports, query: { name: 'é&=', list: '1' }, extraHeaders: { 'X-Test': 'yes' }, auth: { a: [1] } });
      const { handshake } = await app.waitFor({ type: 'connection' });
      const { query, headers } = handshake;
      assert.deepEqual([query.name, query.list, query.EIO], ['é&=', '1', '4']);
      assert.equal(query.transport, name === 'websocket' ? 'websocket' : 'polling'); // also after an upgrade
      assert.equal(headers['x-test'], 'yes');
      assert.equal(headers.host, `127.0.0.1:${app.port}`);
      assert.match(handshake.address, /^(::ffff:)?127\.0\.0\.1$/);
      assert.ok(handshake.url.startsWith('/socket.io/?'), handshake.url);
      assert.equal(new URL(handshake.url, 'http://x').searchParams.get('name'), 'é&=');
      assert.ok(handshake.issued >= before - 1000 && handshake.issued <= Date.now() + 1000, String(handshake.issued));
      assert.ok(Math.abs(new Date(handshake.time.replace(/ \(.*/, '')) - handshake.issued) <= 1000, handshake.time);
      assert.equal(handshake.secure, isTLS);
      assert.equal(handshake.xdomain, 'origin' in headers);
      assert.deepEqual(handshake.auth, { a: [1] });
    });

    test(`O13 auth per namespace, the query is shared (${name})`, async (t) => {
      const app = await start(t, {}, { namespaces: { '/a': {}, '/b': {} } });
      const root = await connect(app, { ...transports, auth: { in: 'root' }, query: { q: '1' } });
      await connect(app, { on: root, nsp: '/a', auth: { in: 'a' } });
      await connect(app, { on: root, nsp: '/b' });
      const connections = [];
      for (const nsp of ['/', '/a', '/b']) connections.push(await app.waitFor({ type: 'connection', nsp }));
      assert.deepEqual(connections.map((e) => e.handshake.auth), [{ in: 'root' }, { in: 'a' }, {}]);
      assert.deepEqual(connections.map((e) => e.handshake.query.q), ['1', '1', '1']);
      assert.equal(new Set(connections.map((e) => e.sid)).size, 1);
    });

    test(`O14 an event middleware can rewrite the name and the arguments (${name})`, async (t) => {
      const app = await start(t, {
        use: [{ if: { event: 'old' }, rewrite: ['new', 'first', { $args: true }] }, pass],
        on: { new: [{ op: 'ack', args: [{ $args: true }] }], old: [{ op: 'ack', args: ['not rewritten'] }], ...ask },
      });
      const socket = await connect(app, transports);
      const got = await new Promise((resolve) => socket.emit('old', 1, Buffer.from('b'), (...args) => resolve(args)));
      assert.deepEqual(plain(got), ['first', 1, { hex: '62' }]);
      assert.equal(await socket.emitWithAck('ask', 'same'), 'same');
      const entries = (await app.entries({ type: 'socket_middleware' })).map((e) => [e.index, e.event, plainSpec(e.args)]);
      assert.deepEqual(entries, [
        [0, 'old', [1, { hex: '62' }]], [1, 'new', ['first', 1, { hex: '62' }]], [0, 'ask', ['same']], [1, 'ask', ['same']],
      ]);
    });

    test(`O15 an event middleware's error suppresses the handler and is not sent to the client (${name})`, async (t) => {
      const app = await start(t, { use: [{ if: { event: 'bad' }, fail: 'not allowed' }, pass], on: { bad: [{ op: 'emit', args: ['handled'] }], ...ask } });
      const socket = await connect(app, transports);
      let acked = false;
      socket.emit('bad', 1, () => (acked = true));
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
      assert.deepEqual([acked, socket.inbox.size, socket.connected], [false, 0, true]);
      const error = await app.waitFor({ type: 'error' });
      assert.deepEqual([error.id, error.message], [socket.id, 'not allowed']);
      assert.deepEqual((await app.entries({ type: 'event' })).map((e) => e.event), ['ask']);
    });
  });
}

describe('listeners of the server', { concurrency: 8 }, () => {
  test('catch-all listeners on incoming events run before the others, in order, with acknowledgement', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { any: 2, prependAny: true, on: ask } } });
    const socket = await connect(app);
    assert.equal(await socket.emitWithAck('ask', 'x'), 'x');
    socket.emit('nobody listens', Buffer.from('b'));
    assert.equal(await socket.emitWithAck('ask', 'y'), 'y');
    const entries = (await app.entries((e) => ['any', 'event'].includes(e.type))).map((e) => [e.type, e.index, e.event, plainSpec(e.args), e.ack]);
    const any = (event, args, ack) => [-1, 0, 1].map((i) => ['any', i, event, args, ack]);
    assert.deepEqual(entries, [
      ...any('ask', ['x'], true), ['event', undefined, 'ask', ['x'], true],
      ...any('nobody listens', [{ hex: '62' }], false),
      ...any('ask', ['y'], true), ['event', undefined, 'ask', ['y'], true],
    ]);
  });

  test('catch-all listeners on outgoing events see direct emits and broadcasts, not acknowledgements', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { anyOutgoing: 1, on: ask } } });
    const [a, b] = [await connect(app), await connect(app)];
    await app.doAll({ op: 'emit', socket: a.id, args: ['direct', 1] }, { op: 'emit', args: ['all', bin('x')] }, { op: 'emit', socket: a.id, broadcast: true, args: ['others'] });
    assert.equal(await a.emitWithAck('ask', 1), 1);
    await b.inbox.until('others');
    const seen = async (socket) => (await app.entries({ type: 'any_outgoing', id: socket.id })).map((e) => [e.event, plainSpec(e.args)]);
    assert.deepEqual(await seen(a), [['direct', [1]], ['all', [{ hex: '78' }]]]);
    assert.deepEqual(await seen(b), [['all', [{ hex: '78' }]], ['others', []]]);
  });

  test('a listener registered once is called once', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { once: { hello: [{ op: 'emit', args: ['once'] }] }, on: ask } } });
    const socket = await connect(app);
    socket.emit('hello');
    socket.emit('hello');
    assert.equal(await socket.emitWithAck('ask', 1), 1);
    assert.deepEqual(await socket.inbox.until('once'), []);
    assert.equal(socket.inbox.size, 0);
    assert.equal((await app.entries({ type: 'event', event: 'hello' })).length, 1);
  });

  test('data set on the server stays with the socket', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { on: ask } } });
    const [a, b] = [await connect(app), await connect(app)];
    await app.doAll({ op: 'setData', socket: a.id, data: { n: 1 } }, { op: 'setData', socket: a.id, data: { m: [2] } });
    const data = async (socket) => (await app.do({ op: 'socket', socket: socket.id })).data;
    assert.deepEqual([await data(a), await data(b)], [{ n: 1, m: [2] }, {}]);
  });

  test('clients with the msgpack parser exchange every kind of value with a server that has it', async (t) => {
    const { default: parser } = await import('socket.io-msgpack-parser');
    const app = await createApp(t, { options: { parser: 'msgpack' }, namespaces: { '/': { on: ask, middlewares: [{ if: { auth: { bad: 1 } }, ...fail('no', { d: 1 }) }] } } });
    for (const [name, transports] of ways) {
      const socket = await connect(app, { ...transports, parser, auth: { a: 1 } });
      const args = [0, -1, 1.5, 2 ** 40, 'é😀', true, null, [], {}, { a: [{ b: Buffer.from('x') }] }, Buffer.alloc(300, 'b')];
      assert.deepEqual(plain(await new Promise((resolve) => socket.emit('ask', ...args, (...got) => resolve(got)))), plain(args), name);
      socket.on('q', (arg, ack) => ack(arg, Buffer.from('y')));
      assert.deepEqual(await app.do({ op: 'emitAck', socket: socket.id, args: ['q', bin('z')] }), [bin('z'), bin('y')]);
      const err = await refused(app, { ...transports, parser, auth: { bad: 1 } });
      assert.deepEqual([err.message, err.data], ['no', { d: 1 }]);
    }
  });
});
