// Group P: rooms, broadcasts and who gets what, with official clients over all transports in the same rooms.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, once, plain, way, ways } from '../lib/client.js';
import { bin, createApp } from '../lib/fixture.js';
import { transports as raw } from '../lib/session.js';
import { SOON, sleep, until } from '../lib/wait.js';

const namespaces = { '/': { on: { ask: [{ op: 'ack', args: [{ $args: true }] }] } }, '/other': {} };

/**
 * An app with clients a, b, c… over alternating transports, each in a room of its own name. Returns {app, socket names…,
 * got}: got(...operations) runs them and returns, by name, the events that each client has received because of them.
 */
async function group(t, names = 'abcd', { nsp = '/', rooms = {}, ...config } = {}) {
  const app = await createApp(t, { namespaces, ...config });
  const sockets = {};
  for (const [i, name] of [...names].entries()) {
    sockets[name] = await connect(app, { nsp, ...ways[i % ways.length][1] });
    await app.do({ op: 'join', nsp, socket: sockets[name].id, rooms: [name] });
  }
  for (const [room, members] of Object.entries(rooms)) {
    for (const name of members) await app.do({ op: 'join', nsp, socket: sockets[name].id, rooms: [room] });
  }
  const got = async (...operations) => {
    await app.doAll(...operations);
    return flush(app, sockets, nsp);
  };
  return { app, ...sockets, sockets, got };
}

/** The events that each socket has received before a last one that all of them get. */
async function flush(app, sockets, nsp = '/') {
  const all = {};
  for (const socket of Object.values(sockets)) if (socket.connected) await app.do({ op: 'emit', nsp, socket: socket.id, args: ['flush'] });
  for (const [name, socket] of Object.entries(sockets)) {
    if (!socket.connected) continue;
    const events = await socket.inbox.until('flush');
    if (events.length) all[name] = plain(events);
  }
  return all;
}

/** The names of those that got exactly one event "x", as text; anything else is an error. */
function names(got) {
  for (const [name, events] of Object.entries(got)) assert.deepEqual(events, [['x']], name);
  return Object.keys(got).join('');
}

const emit = (more = {}) => ({ op: 'emit', args: ['x'], ...more });

describe('P rooms and broadcasts', { concurrency: 8 }, () => {
  test('P01 P28 emit to all in a namespace, not to others', async (t) => {
    const { app, a, sockets, got } = await group(t);
    const other = await connect(app, { on: a, nsp: '/other' });
    assert.equal(names(await got(emit())), 'abcd');
    assert.deepEqual(await flush(app, { other }, '/other'), {});
    await app.do(emit({ nsp: '/other' }));
    assert.deepEqual(await flush(app, { other }, '/other'), { other: [['x']] });
    assert.deepEqual(await flush(app, sockets), {});
  });

  test('P02 binary broadcast, nested and several', async (t) => {
    const { got } = await group(t);
    const args = ['x', bin('one'), { a: [bin('two'), bin('')] }];
    const want = [['x', { hex: '6f6e65' }, { a: [{ hex: '74776f' }, { hex: '' }] }]];
    assert.deepEqual(await got({ op: 'emit', args }), { a: want, b: want, c: want, d: want });
  });

  test('P03 socket broadcast excludes the sender', async (t) => {
    const { a, d, got } = await group(t);
    assert.equal(names(await got(emit({ socket: a.id, broadcast: true }))), 'bcd');
    assert.equal(names(await got(emit({ socket: d.id, broadcast: true }))), 'abc');
  });

  // [name, operation of a or of the server, who gets it]; rooms: r has a and b, s has b and c, and each client is in its own
  const rooms = { r: ['a', 'b'], s: ['b', 'c'] };
  const table = [
    ['P04 emit to a room', {}, { to: 'r' }, 'ab'],
    ['P04 emit to a room that nobody is in', {}, { to: 'none' }, ''],
    ['P05 P06 union of rooms in an array, each socket once', {}, { to: ['r', 's'] }, 'abc'],
    ['P07 socket-to-room excludes the sender', { socket: 'a' }, { to: 'r' }, 'b'],
    ['P07 socket to a room that it is not in', { socket: 'd' }, { to: 'r' }, 'ab'],
    ['P07 P05 socket to several rooms', { socket: 'b' }, { to: ['r', 's', 'd'] }, 'acd'],
    ['P08 except by room', {}, { except: 'r' }, 'cd'],
    ['P08 except several rooms', {}, { except: ['r', 'c'] }, 'd'],
    ['P08 a room except another', {}, { to: 's', except: 'r' }, 'c'],
    ['P08 except by socket id', {}, { exceptIDs: 'ad' }, 'bc'],
    ['P08 except a room that nobody is in', {}, { except: 'none' }, 'abcd'],
    ['P09 socket.broadcast.except combines', { socket: 'd' }, { broadcast: true, except: 's' }, 'a'],
    ['P09 socket.to(room).except(room) combines', { socket: 'a' }, { to: ['r', 's', 'd'], except: 'c' }, 'bd'],
    ['P10 direct message by id from the server', {}, { toIDs: 'c' }, 'c'],
    ['P10 direct messages by id from a socket', { socket: 'a' }, { toIDs: 'bd' }, 'bd'],
    ['P10 P07 a socket does not reach itself by its id', { socket: 'a' }, { toIDs: 'a' }, ''],
    ['P10 a socket is emitted to directly', { socket: 'b' }, {}, 'b'],
    ['P01 local and compress change nothing on one node', {}, { local: true, compress: false }, 'abcd'],
    ['P03 local of a socket excludes the sender', { socket: 'a' }, { local: true }, 'bcd'],
  ];
  for (const [name, { socket }, { exceptIDs, toIDs, ...modifiers }, want] of table) {
    test(name, async (t) => {
      const { sockets, got } = await group(t, 'abcd', { rooms });
      const ids = (list) => [...list].map((n) => sockets[n].id);
      const operation = emit({ ...modifiers, ...(toIDs && { to: ids(toIDs) }), ...(exceptIDs && { except: ids(exceptIDs) }), ...(socket && { socket: sockets[socket].id }) });
      assert.equal(names(await got(operation)), want);
    });
  }

  test('P11 the same room name in two namespaces is independent', async (t) => {
    const { app, a, b, sockets } = await group(t, 'ab');
    const other = await connect(app, { on: b, nsp: '/other' });
    await app.doAll({ op: 'join', socket: a.id, rooms: ['r'] }, { op: 'join', nsp: '/other', socket: other.id, rooms: ['r'] });
    await app.doAll(emit({ to: 'r' }));
    assert.equal(names(await flush(app, sockets)), 'a');
    assert.deepEqual(await flush(app, { other }, '/other'), {});
    await app.do(emit({ nsp: '/other', to: 'r' }));
    assert.deepEqual(await flush(app, { other }, '/other'), { other: [['x']] });
    assert.deepEqual(await flush(app, sockets), {});
  });

  test('P12 P13 leaving a room stops delivery, empty rooms vanish, unknown ones are harmless', async (t) => {
    const { app, a, got } = await group(t, 'ab', { rooms: { r: ['a', 'b'], only: ['a'] } });
    assert.deepEqual((await app.do({ op: 'rooms' })).only, [a.id]);
    await app.do({ op: 'leave', socket: a.id, rooms: ['r', 'only', 'unknown', 'only'] });
    const { r, ...rest } = await app.do({ op: 'rooms' });
    assert.equal(r.length, 1);
    assert.ok(!('only' in rest));
    assert.equal(names(await got(emit({ to: 'r' }))), 'b');
    assert.equal(names(await got(emit({ to: 'only' }))), '');
  });

  test('P14 joining several rooms at once', async (t) => {
    const { app, a, got } = await group(t, 'ab');
    await app.do({ op: 'join', socket: a.id, rooms: ['x1', 'x2', 'x3'] });
    assert.deepEqual((await app.do({ op: 'socket', socket: a.id })).rooms.slice().sort(), [a.id, 'a', 'x1', 'x2', 'x3'].sort());
    for (const to of ['x1', 'x2', 'x3']) assert.equal(names(await got(emit({ to }))), 'a');
  });

  test('P15 P16 no rooms after disconnect, and joining afterwards is ignored', async (t) => {
    const leaving = [{ op: 'join', rooms: ['late'] }];
    const { app, a } = await group(t, 'ab', { rooms: { r: ['a'] }, namespaces: { '/': { onDisconnect: leaving } } });
    const { id } = a;
    a.disconnect();
    const [before, after] = [await app.waitFor({ type: 'disconnecting' }), await app.waitFor({ type: 'disconnect' })];
    assert.deepEqual([before.rooms, after.rooms], [[id, 'a', 'r'], []]);
    assert.deepEqual(Object.keys(await app.do({ op: 'rooms' })).filter((room) => ['a', 'r', 'late', id].includes(room)), []);
  });

  test('P17 derived operators do not alter the original', async (t) => {
    // Each operation derives its operator from the same server or socket.
    const { a, sockets, got } = await group(t, 'abcd', { rooms });
    const results = await got(
      emit({ to: 'r', args: ['to r'] }), emit({ args: ['all'] }), emit({ except: 'r', args: ['not r'] }), emit({ args: ['all again'] }),
      emit({ socket: a.id, to: 's', args: ['a to s'] }), emit({ socket: a.id, args: ['a'] }),
    );
    const by = (event) => Object.keys(sockets).filter((n) => results[n]?.some(([e]) => e === event)).join('');
    assert.deepEqual(
      ['to r', 'all', 'not r', 'all again', 'a to s', 'a'].map(by),
      ['ab', 'abcd', 'cd', 'abcd', 'bc', 'a'],
    );
  });

  test('P18 broadcast with acks collects one response per client', async (t) => {
    const { app, sockets } = await group(t, 'abcd', { rooms });
    for (const [name, socket] of Object.entries(sockets)) socket.on('q', (arg, ack) => ack(`${name}${arg}`, 'ignored'));
    const ask = async (more) => (await app.do({ op: 'emitAck', args: ['q', 1], timeout: SOON, ...more })).sort();
    assert.deepEqual(await ask({}), ['a1', 'b1', 'c1', 'd1']);
    assert.deepEqual(await ask({ to: ['r', 's'] }), ['a1', 'b1', 'c1']);
    assert.deepEqual(await ask({ to: 's', except: 'b' }), ['c1']);
    assert.deepEqual(await ask({ socket: sockets.a.id, broadcast: true }), ['b1', 'c1', 'd1']);
    assert.deepEqual((await app.do({ op: 'emitPromise', args: ['q', 2], timeout: SOON, to: 'r' })).sort(), ['a2', 'b2']);
  });

  test('P18 P02 broadcast with acks, binary both ways', async (t) => {
    const { app, sockets } = await group(t, 'abc');
    for (const socket of Object.values(sockets)) socket.on('q', (arg, ack) => ack({ back: Buffer.concat([arg, Buffer.from('!')]) }));
    const replies = await app.do({ op: 'emitAck', args: ['q', bin('hi')], timeout: SOON });
    assert.deepEqual(replies, Array(3).fill({ back: bin('hi!') }));
  });

  test('P19 a missing ack gives an error and the responses so far', async (t) => {
    const { app, sockets } = await group(t, 'abc');
    for (const name of 'ab') sockets[name].on('q', (ack) => ack(name));
    for (const op of ['emitAck', 'emitPromise']) {
      await assert.rejects(app.do({ op, args: ['q'], timeout: 4000 }), (err) => {
        assert.equal(err.message, 'operation has timed out');
        assert.deepEqual(err.responses.sort(), ['a', 'b']);
        return true;
      });
    }
  });

  test('P19 a client that disconnects is awaited until the time-out', async (t) => {
    const { app, sockets } = await group(t, 'ab');
    sockets.a.on('q', (ack) => ack('a'));
    sockets.b.on('q', () => sockets.b.disconnect());
    await assert.rejects(app.do({ op: 'emitAck', args: ['q'], timeout: 4000 }), (err) => {
      assert.deepEqual([err.message, err.responses], ['operation has timed out', ['a']]);
      return true;
    });
  });

  test('P20 zero recipients: an empty result long before the time-out', async (t) => {
    const { app } = await group(t, 'a');
    const start = performance.now();
    assert.deepEqual(await app.do({ op: 'emitAck', args: ['q'], to: 'nobody', timeout: 2 * SOON }), []);
    assert.ok(performance.now() - start < SOON);
  });

  test('P21 broadcast ack without timeout fails at once', async (t) => {
    const { app } = await group(t, 'ab');
    await assert.rejects(app.do({ op: 'emitAck', args: ['q'], to: ['a', 'b'] }), { name: 'Error' });
  });

  test('P22 remote join, leave, disconnect and fetch honour filters', async (t) => {
    const { app, sockets, got } = await group(t, 'abcd', { rooms });
    const byID = Object.fromEntries(Object.entries(sockets).map(([name, { id }]) => [id, name]));
    const fetch = async (more) => (await app.do({ op: 'fetch', ...more })).map(({ id }) => byID[id]).sort().join('');
    assert.equal(await fetch({}), 'abcd');
    assert.equal(await fetch({ to: 'r' }), 'ab');
    assert.equal(await fetch({ to: ['r', 's'], except: 'b' }), 'ac');
    assert.equal(await fetch({ socket: sockets.a.id, broadcast: true }), 'bcd');
    await app.do({ op: 'join', to: 's', rooms: ['n1', 'n2'] });
    assert.equal(names(await got(emit({ to: 'n1' }))), 'bc');
    await app.do({ op: 'join', except: 's', rooms: ['n3'] });
    assert.equal(names(await got(emit({ to: 'n3' }))), 'ad');
    await app.do({ op: 'leave', to: 'r', rooms: ['n1', 'n3'] });
    assert.equal(names(await got(emit({ to: ['n1', 'n3'] }))), 'cd');
    const left = once(sockets.c, 'disconnect');
    await app.do({ op: 'disconnect', to: 's', except: 'r' });
    assert.equal((await left)[0], 'io server disconnect');
    assert.equal(await fetch({}), 'abd');
    await app.do({ op: 'disconnect', close: true });
    for (const name of 'abd') await until(`${name} disconnected`, () => sockets[name].ends[0] === 'io server disconnect');
    assert.equal(await fetch({}), '');
  });

  test('P23 fetched sockets expose id, rooms, data, handshake', async (t) => {
    const app = await createApp(t, { namespaces });
    const socket = await connect(app, { transports: ['websocket'], auth: { token: 'x' }, query: { q: 'y' } });
    await app.doAll({ op: 'join', socket: socket.id, rooms: ['r'] }, { op: 'setData', socket: socket.id, data: { name: 'n', list: [1] } });
    const [fetched, ...others] = await app.do({ op: 'fetch' });
    assert.deepEqual(others, []);
    assert.deepEqual([fetched.id, [...fetched.rooms].sort(), fetched.data], [socket.id, [socket.id, 'r'].sort(), { name: 'n', list: [1] }]);
    assert.deepEqual([fetched.handshake.auth, fetched.handshake.query.q], [{ token: 'x' }, 'y']);
  });

  test('P24 volatile is dropped over polling without a parked GET', async (t) => {
    const app = await createApp(t, { namespaces });
    const session = await raw[0][1](app);
    const { sid } = await session.connect();
    await app.doAll({ op: 'emit', socket: sid, volatile: true, args: ['lost'] }, { op: 'emit', volatile: true, args: ['lost too'] }, { op: 'emit', socket: sid, args: ['kept'] });
    assert.equal(await session.next(), '42["kept"]');
    const { reply } = await app.park(session);
    await app.do({ op: 'emit', socket: sid, volatile: true, args: ['v'] });
    assert.equal((await reply).text, '42["v"]');
  });

  test('P25 P28 a volatile broadcast reaches clients that wait, on every transport', async (t) => {
    const { app, sockets } = await group(t, 'abcd');
    for (const [name, socket] of Object.entries(sockets)) {
      let event;
      for (let i = 0; i < 30 && event?.[0] !== 'v'; i++) {
        await app.do({ op: 'emit', volatile: true, args: ['v', bin('x')] });
        event = await socket.inbox.next('v', 50 + 10 * i).catch(() => undefined);
      }
      assert.deepEqual(plain(event), ['v', { hex: '78' }], name);
    }
  });

  test('P25 the volatile broadcasts of many clients all reach one that listens', async (t) => {
    const on = { position: [{ op: 'emit', broadcast: true, volatile: true, args: ['position', { $args: true }] }], ask: [{ op: 'ack' }] };
    const app = await createApp(t, { namespaces: { '/': { on } } });
    const listener = await connect(app, way('websocket'));
    const senders = [];
    for (let i = 0; i < 10; i++) senders.push(await connect(app, way('websocket')));
    // Until a round is found in which the machine, which may be busy, has kept none waiting for another.
    const each = 20;
    await until('all of them', async () => {
      await Promise.all(senders.map(async (socket, i) => {
        await sleep(5 * i);
        for (let n = 0; n < each; n++) {
          socket.emit('position', n);
          await sleep(50);
        }
        await socket.emitWithAck('ask');
      }));
      await app.do({ op: 'emit', socket: listener.id, args: ['end'] });
      return (await listener.inbox.until('end')).length === senders.length * each;
    });
  });

  test('P26 P27 of two volatile broadcasts of one listener only the first reaches its client', async (t) => {
    const volatile = (i) => ({ op: 'emit', nsp: '/', volatile: true, args: ['v', i] });
    const two = [volatile(0), volatile(1), { op: 'emit', nsp: '/', args: ['end'] }];
    const app = await createApp(t, { namespaces: { '/': { on: { two } } } });
    const socket = await connect(app, way('websocket'));
    // A moment at which nothing is on its way before the first.
    await until('such a moment', async () => {
      socket.emit('two');
      const events = await socket.inbox.until('end');
      return events.length === 1 && events[0][1] === 0;
    });
  });

  test('P29 room events come in the order create, join, leave, delete', async (t) => {
    const app = await createApp(t, { namespaces, record: ['rooms'] });
    const kinds = ['create-room', 'join-room', 'leave-room', 'delete-room'];
    const events = async () => (await app.entries((e) => kinds.includes(e.type))).map(({ type, room, id }) => [type, room, id]);
    const a = await connect(app, way('websocket'));
    const { id } = a;
    const b = await connect(app, way('websocket'));
    await app.doAll(
      { op: 'join', socket: id, rooms: ['r'] },
      { op: 'join', socket: id, rooms: ['r'] },
      { op: 'join', socket: b.id, rooms: ['r'] },
      { op: 'leave', socket: b.id, rooms: ['r'] },
      { op: 'leave', socket: b.id, rooms: ['r', 'unknown'] },
    );
    a.disconnect();
    await app.waitFor({ type: 'disconnect', id });
    assert.deepEqual(await events(), [
      ['create-room', id, undefined], ['join-room', id, id],
      ['create-room', b.id, undefined], ['join-room', b.id, b.id],
      ['create-room', 'r', undefined], ['join-room', 'r', id], ['join-room', 'r', b.id], ['leave-room', 'r', b.id],
      ['leave-room', id, id], ['delete-room', id, undefined], ['leave-room', 'r', id], ['delete-room', 'r', undefined],
    ]);
  });

  test('P28 five hundred broadcasts reach ten clients of all kinds complete and in order', async (t) => {
    const { app, sockets } = await group(t, 'abcdefghij');
    await app.do({ op: 'emit', args: ['n', { $i: true }], count: 500 });
    const got = await flush(app, sockets);
    const want = Array.from({ length: 500 }, (_, i) => ['n', i]);
    for (const name of Object.keys(sockets)) assert.deepEqual(got[name], want, name);
  });
});
