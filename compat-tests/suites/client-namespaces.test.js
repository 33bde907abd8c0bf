// Group Q: namespaces that are made on demand; and many namespaces on one connection (M).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, connected, ended, open, plain, refused, ways } from '../lib/client.js';
import { bin, createApp } from '../lib/fixture.js';
import { until } from '../lib/wait.js';

const ask = { ask: [{ op: 'ack', args: [{ $args: true }] }] };
const echo = { on: ask };
const dynamic = [{ regexp: '^/dynamic-\\d+$', ...echo }];

const existing = (app) => app.do({ op: 'namespaces' });

for (const [name, transports] of ways) {
  describe(`namespaces over ${name}`, { concurrency: 8 }, () => {
    test(`M06 M08 M19 fifty namespaces share one connection, each with its own id (${name})`, async (t) => {
      const names = Array.from({ length: 50 }, (_, i) => `/n${i}`);
      const app = await createApp(t, { namespaces: Object.fromEntries(names.map((n) => [n, echo])) });
      const first = open(app, { ...transports, nsp: names[0] });
      const sockets = [first, ...names.slice(1).map((nsp) => open(app, { on: first, nsp, auth: { nsp } }))];
      await Promise.all(sockets.map(connected));
      assert.equal(new Set(sockets.map((s) => s.id)).size, 50);
      assert.equal((await app.do({ op: 'sessions' })).length, 1);
      assert.deepEqual(plain(await Promise.all(sockets.map((s, i) => s.emitWithAck('ask', { i, b: Buffer.from([i]) })))),
        plain(names.map((_, i) => ({ i, b: Buffer.from([i]) }))));
      await app.doAll(...names.map((nsp, i) => ({ op: 'emit', nsp, args: ['n', i] })));
      for (const [i, socket] of sockets.entries()) assert.deepEqual(await socket.inbox.next(), ['n', i]);
      // Every other one leaves; the rest go on.
      for (let i = 0; i < 50; i += 2) sockets[i].disconnect();
      for (let i = 0; i < 50; i += 2) assert.equal(await ended(sockets[i]), 'io client disconnect');
      for (let i = 1; i < 50; i += 2) assert.equal(await sockets[i].emitWithAck('ask', i), i);
      await until('25 to be gone', async () => (await app.entries({ type: 'disconnect', reason: 'client namespace disconnect' })).length === 25);
    });

    test(`Q01 a name that matches the pattern is accepted, others are not (${name})`, async (t) => {
      const app = await createApp(t, { dynamic });
      const socket = await connect(app, { ...transports, nsp: '/dynamic-101' });
      assert.equal(await socket.emitWithAck('ask', 'x'), 'x');
      assert.equal((await app.waitFor({ type: 'connection' })).nsp, '/dynamic-101');
      const err = await refused(app, { ...transports, nsp: '/dynamic-abc' });
      assert.equal(err.message, 'Invalid namespace');
      assert.deepEqual((await app.entries({ type: 'new_namespace' })).map((e) => e.name), ['/dynamic-101']);
      assert.deepEqual((await existing(app)).slice().sort(), ['/', '/dynamic-101']);
    });

    test(`Q02 a function decides, with the auth payload, and may take its time (${name})`, async (t) => {
      const app = await createApp(t, { dynamic: [{ allow: { auth: { token: 'good' }, delay: 30 }, ...echo }] });
      const socket = await connect(app, { ...transports, nsp: '/room', auth: { token: 'good', more: [1] } });
      assert.equal(await socket.emitWithAck('ask', 1), 1);
      assert.equal((await refused(app, { ...transports, nsp: '/other', auth: { token: 'bad' } })).message, 'Invalid namespace');
      assert.deepEqual((await app.entries({ type: 'namespace_check' })).map((e) => [e.name, e.auth]), [
        ['/room', { token: 'good', more: [1] }], ['/other', { token: 'bad' }],
      ]);
    });

    test(`Q06 concurrent first connections create one namespace, both are connected (${name})`, async (t) => {
      const app = await createApp(t, { dynamic: [{ allow: { delay: 50 }, ...echo }] });
      const sockets = await Promise.all(Array.from({ length: 6 }, () => connect(app, { ...transports, nsp: '/new' })));
      assert.equal((await app.entries({ type: 'new_namespace' })).length, 1);
      await app.do({ op: 'emit', nsp: '/new', args: ['all'] });
      for (const socket of sockets) assert.deepEqual(await socket.inbox.next(), ['all']);
      assert.equal((await app.do({ op: 'fetch', nsp: '/new' })).length, 6);
    });
  });
}

describe('Q dynamic namespaces', { concurrency: 8 }, () => {
  test('Q02 a function that fails refuses', async (t) => {
    const app = await createApp(t, { dynamic: [{ allow: { fail: 'broken' } }] });
    assert.equal((await refused(app, { nsp: '/any' })).message, 'Invalid namespace');
  });

  test('Q03 a static namespace takes precedence', async (t) => {
    const app = await createApp(t, { namespaces: { '/dynamic-1': { onConnection: [{ op: 'emit', args: ['static'] }] } }, dynamic: [{ allow: {}, onConnection: [{ op: 'emit', args: ['dynamic'] }] }] });
    assert.deepEqual(await (await connect(app, { nsp: '/dynamic-1' })).inbox.next(), ['static']);
    assert.deepEqual(await (await connect(app, { nsp: '/dynamic-2' })).inbox.next(), ['dynamic']);
    assert.deepEqual((await app.entries({ type: 'namespace_check' })).map((e) => e.name), ['/dynamic-2']);
  });

  test('Q04 the parent\'s middlewares and connection handlers apply to its children', async (t) => {
    const app = await createApp(t, { dynamic: [{ ...dynamic[0], middlewares: [{}, { if: { auth: { bad: 1 } }, fail: { message: 'no', data: { a: 1 } } }], onConnection: [{ op: 'emit', args: ['hello'] }] }] });
    for (const nsp of ['/dynamic-1', '/dynamic-2']) {
      assert.deepEqual(await (await connect(app, { nsp })).inbox.next(), ['hello']);
      const err = await refused(app, { nsp, auth: { bad: 1 } });
      assert.deepEqual([err.message, err.data], ['no', { a: 1 }]);
    }
    assert.deepEqual((await app.entries({ type: 'middleware', nsp: '/dynamic-2' })).map((e) => e.index), [0, 1, 0, 1]);
  });

  test('Q05 the parent emits to all its children, also with a room filter', async (t) => {
    const app = await createApp(t, { namespaces: { '/static': {} }, dynamic });
    const [a, b, c] = await Promise.all(['/dynamic-1', '/dynamic-2', '/dynamic-2'].map((nsp) => connect(app, { nsp })));
    const outside = await connect(app, { nsp: '/static' });
    await app.doAll(
      { op: 'join', nsp: '/dynamic-1', socket: a.id, rooms: ['r'] },
      { op: 'join', nsp: '/dynamic-2', socket: b.id, rooms: ['r'] },
      { op: 'emit', parent: 0, args: ['all', bin('x')] },
      { op: 'emit', parent: 0, to: 'r', args: ['room'] },
      { op: 'emit', parent: 0, except: 'r', args: ['not room'] },
      { op: 'emit', parent: 0, args: ['end'] },
      { op: 'emit', nsp: '/static', args: ['end'] },
    );
    const events = async (socket) => (await socket.inbox.until('end')).map(([event]) => event);
    assert.deepEqual(await Promise.all([a, b, c, outside].map(events)), [['all', 'room'], ['all', 'room'], ['all', 'not room'], []]);
  });

  test('Q07 several patterns: the first that allows wins', async (t) => {
    const hello = (from) => ({ onConnection: [{ op: 'emit', args: ['from', from] }] });
    const app = await createApp(t, { dynamic: [
      { regexp: '^/nothing$', ...hello(0) },
      { allow: { names: ['/other', '/both'], delay: 20 }, ...hello(1) },
      { allow: { fail: 'broken' }, ...hello(2) },
      { regexp: '^/(both|last)$', ...hello(3) },
      { regexp: '.*', ...hello(4) },
    ] });
    for (const [nsp, from] of [['/both', 1], ['/last', 3], ['/whatever', 4], ['/other', 1]]) {
      assert.deepEqual(await (await connect(app, { nsp })).inbox.next(), ['from', from], nsp);
    }
  });

  test('Q08 with the option an empty child is removed, and can be made again', async (t) => {
    const app = await createApp(t, { options: { cleanupEmptyChildNamespaces: true }, dynamic, namespaces: { '/static': {} } });
    const [a, b] = [await connect(app, { nsp: '/dynamic-1' }), await connect(app, { nsp: '/dynamic-1' })];
    a.disconnect();
    await app.waitFor({ type: 'disconnect' });
    assert.ok((await existing(app)).includes('/dynamic-1'), 'the second socket keeps it');
    assert.equal(await b.emitWithAck('ask', 1), 1);
    b.disconnect();
    await until('the removal', async () => !(await existing(app)).includes('/dynamic-1'));
    const again = await connect(app, { nsp: '/dynamic-1' });
    assert.equal(await again.emitWithAck('ask', 2), 2);
    await app.do({ op: 'emit', nsp: '/dynamic-1', args: ['x'] });
    assert.deepEqual(await again.inbox.next(), ['x']);
    assert.equal((await app.entries({ type: 'new_namespace', name: '/dynamic-1' })).length, 2);
  });

  test('Q09 cleanup after a refusal by a middleware, but not while others are connected', async (t) => {
    const app = await createApp(t, { options: { cleanupEmptyChildNamespaces: true }, dynamic: [{ ...dynamic[0], middlewares: [{ if: { auth: { bad: 1 } }, fail: { message: 'no' } }] }] });
    await refused(app, { nsp: '/dynamic-1', auth: { bad: 1 } });
    await until('the removal', async () => !(await existing(app)).includes('/dynamic-1'));
    const socket = await connect(app, { nsp: '/dynamic-2' });
    await refused(app, { nsp: '/dynamic-2', auth: { bad: 1 } });
    assert.equal(await socket.emitWithAck('ask', 1), 1);
    assert.ok((await existing(app)).includes('/dynamic-2'));
  });

  test('Q10 without the option empty children stay, and static ones stay anyway', async (t) => {
    for (const cleanup of [false, true]) {
      const app = await createApp(t, { options: { cleanupEmptyChildNamespaces: cleanup }, dynamic, namespaces: { '/static': echo } });
      const child = await connect(app, { nsp: '/dynamic-1' });
      const fixed = await connect(app, { nsp: '/static' });
      child.disconnect();
      fixed.disconnect();
      for (const nsp of ['/dynamic-1', '/static']) await app.waitFor({ type: 'disconnect', nsp });
      if (cleanup) await until('the removal', async () => !(await existing(app)).includes('/dynamic-1'));
      const want = cleanup ? ['/', '/static'] : ['/', '/dynamic-1', '/static'];
      assert.deepEqual((await existing(app)).slice().sort(), want);
    }
  });

  test('Q11 explicit creation attaches to a matching regexp parent', async (t) => {
    const app = await createApp(t, { dynamic: [{ ...dynamic[0], onConnection: [{ op: 'emit', args: ['from parent'] }] }] });
    await app.do({ op: 'createNamespace', name: '/dynamic-7' });
    assert.ok((await existing(app)).includes('/dynamic-7'));
    const socket = await connect(app, { nsp: '/dynamic-7' });
    assert.deepEqual(await socket.inbox.next(), ['from parent']);
    await app.do({ op: 'emit', parent: 0, args: ['to children'] });
    assert.deepEqual(await socket.inbox.next(), ['to children']);
  });

  test('a namespace created while the server runs is there at once', async (t) => {
    const app = await createApp(t);
    assert.equal((await refused(app, { nsp: '/late' })).message, 'Invalid namespace');
    await app.do({ op: 'createNamespace', name: '/late', behaviour: echo });
    assert.equal(await (await connect(app, { nsp: '/late' })).emitWithAck('ask', 1), 1);
    assert.deepEqual((await app.entries({ type: 'new_namespace' })).map((e) => e.name), ['/late']);
  });

  test('server-side events are refused under reserved names', async (t) => {
    const app = await createApp(t);
    for (const event of ['connect', 'connection', 'new_namespace']) {
      await assert.rejects(app.do({ op: 'serverSideEmit', args: [event] }), { name: 'Error' }, event);
    }
  });
});
