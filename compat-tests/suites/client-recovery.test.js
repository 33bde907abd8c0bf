// Group R: connection state recovery, with the official client, and by hand where the bytes matter.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, connected, ended, once, plain, ways } from '../lib/client.js';
import { bin, createApp } from '../lib/fixture.js';
import { parsePacket } from '../lib/packets.js';
import { transports as rawTransports } from '../lib/session.js';
import { SOON, sleep, until } from '../lib/wait.js';

const ask = { ask: [{ op: 'ack', args: [{ $args: true }] }] };
const recovery = (more = {}) => ({ connectionStateRecovery: { maxDisconnectionDuration: 60_000, ...more } });

const start = (t, { options = recovery(), behaviour, ...more } = {}) =>
  createApp(t, { options, namespaces: { '/': { on: ask, ...behaviour }, '/other': { on: ask } }, ...more });

/** Loses the connection as by an accident, and waits until the server has noticed. */
async function drop(app, socket) {
  const { id } = socket;
  const from = (await app.entries()).length;
  const noticed = ended(socket);
  socket.io.engine.close();
  await noticed;
  await app.waitFor({ type: 'disconnect', id }, { from });
}

/** Comes back after drop. */
async function back(socket) {
  socket.ends.length = 0;
  socket.connect();
  await connected(socket);
}

/** What an event carries, without the offset behind it. */
const content = (event) => plain(event).slice(0, -1);

for (const [name, transports] of ways) {
  describe(`recovery over ${name}`, { concurrency: 8 }, () => {
    test(`R07 R09 R11 R12 R18 after a loss the missed events arrive, id, rooms and data are the same (${name})`, async (t) => {
      const app = await start(t);
      const socket = await connect(app, transports);
      const other = await connect(app, transports);
      const { id } = socket;
      await app.doAll(
        { op: 'join', socket: id, rooms: ['r'] },
        { op: 'setData', socket: id, data: { name: 'n', list: [1, { a: null }] } },
        { op: 'emit', args: ['first'] },
      );
      await socket.inbox.next();
      await drop(app, socket);
      await app.doAll(
        { op: 'emit', args: ['all', 1] },
        { op: 'emit', to: 'r', args: ['room', bin('x'), { b: bin('') }] },
        { op: 'emit', to: id, args: ['direct'] },
        { op: 'emit', socket: other.id, broadcast: true, args: ['from other'] },
        { op: 'emit', to: 'unknown', args: ['not for it'] },
        { op: 'emit', socket: other.id, args: ['for other'] },
        { op: 'emit', except: 'r', args: ['not for r'] },
      );
      const seen = [];
      socket.once('connect', () => seen.push(socket.inbox.size));
      await back(socket);
      assert.deepEqual([socket.recovered, socket.id, seen], [true, id, [4]]); // what was missed comes before the connection
      await app.do({ op: 'emit', args: ['live'] });
      const events = await socket.inbox.until('live');
      assert.deepEqual(events.map(content), [['all', 1], ['room', { hex: '78' }, { b: { hex: '' } }], ['direct'], ['from other']]);
      const [, , again] = await app.waitForAll({ type: 'connection' }, 3);
      assert.deepEqual([again.id, again.recovered, [...again.rooms].sort(), again.data], [id, true, [id, 'r'].sort(), { name: 'n', list: [1, { a: null }] }]);
      await app.do({ op: 'emit', to: 'r', args: ['to r'] });
      assert.deepEqual(content(await socket.inbox.next()), ['to r']);
      assert.equal(await socket.emitWithAck('ask', 1), 1);
    });

    test(`R07 several losses in a row lose and repeat nothing (${name})`, async (t) => {
      const app = await start(t);
      const socket = await connect(app, transports);
      const { id } = socket;
      const got = [];
      socket.on('n', (n) => got.push(n));
      let n = 0;
      const emit = async (count) => {
        for (let i = 0; i < count; i++) await app.do({ op: 'emit', args: ['n', n++] });
      };
      await emit(3);
      for (let round = 0; round < 3; round++) {
        await until('all so far', () => got.length === n);
        await drop(app, socket);
        await emit(4);
        await back(socket);
        assert.deepEqual([socket.recovered, socket.id], [true, id]);
        await emit(2);
      }
      await until('all', () => got.length >= n);
      assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
    });

    test(`R17 a disconnect by the client or the server cannot be recovered (${name})`, async (t) => {
      const app = await start(t);
      const socket = await connect(app, transports);
      for (const leave of [() => socket.disconnect(), () => app.do({ op: 'disconnect', socket: socket.id })]) {
        await app.do({ op: 'emit', args: ['x'] });
        await socket.inbox.next();
        const { id } = socket;
        const left = once(socket, 'disconnect');
        await leave();
        await left;
        await app.waitFor({ type: 'disconnect', id });
        await back(socket);
        assert.equal(socket.recovered, false);
        assert.notEqual(socket.id, id);
      }
    });

    test(`R15 a session that is away too long is not recovered (${name})`, async (t) => {
      const app = await start(t, { options: recovery({ maxDisconnectionDuration: 50 }) });
      const socket = await connect(app, transports);
      await app.do({ op: 'emit', args: ['x'] });
      await socket.inbox.next();
      const { id } = socket;
      await drop(app, socket);
      await sleep(150); // the time that the test is about
      await back(socket);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
    });

    for (const [ids, skip, want] of [['R19', undefined, 1], ['R19', true, 1], ['R20', false, 2]]) {
      test(`${ids} with skipMiddlewares ${skip} middlewares run ${want} times for a connection and its recovery (${name})`, async (t) => {
        const app = await start(t, { options: recovery(skip === undefined ? {} : { skipMiddlewares: skip }), behaviour: { middlewares: [{}] } });
        const socket = await connect(app, transports);
        await app.do({ op: 'emit', args: ['x'] });
        await socket.inbox.next();
        await drop(app, socket);
        await back(socket);
        assert.equal(socket.recovered, true);
        assert.equal((await app.entries({ type: 'middleware' })).length, want);
      });
    }

    test(`R01 without the option a loss gives a new socket (${name})`, async (t) => {
      const app = await start(t, { options: {} });
      const socket = await connect(app, transports);
      const { id } = socket;
      await app.do({ op: 'emit', args: ['x', 1] });
      assert.deepEqual(await socket.inbox.next(), ['x', 1]);
      await drop(app, socket);
      await app.do({ op: 'emit', args: ['missed'] });
      await back(socket);
      assert.ok(!socket.recovered);
      assert.notEqual(socket.id, id);
      assert.equal(await socket.emitWithAck('ask', 1), 1);
      assert.equal(socket.inbox.size, 0);
    });

    test(`R11 a recovered socket is in its namespace only, beside a new one (${name})`, async (t) => {
      const app = await start(t);
      const root = await connect(app, transports);
      const other = await connect(app, { on: root, nsp: '/other' });
      const ids = [root.id, other.id];
      await app.do({ op: 'emit', args: ['x'] }); // only / gets an offset
      await root.inbox.next();
      const otherEnded = ended(other);
      await drop(app, root);
      await otherEnded;
      await app.doAll({ op: 'emit', args: ['in root'] }, { op: 'emit', nsp: '/other', args: ['in other'] });
      other.connect();
      await back(root);
      await connected(other);
      assert.deepEqual([root.recovered, root.id], [true, ids[0]]);
      assert.equal(other.recovered, false);
      assert.notEqual(other.id, ids[1]);
      assert.deepEqual(content(await root.inbox.next()), ['in root']);
      assert.equal(await other.emitWithAck('ask', 1), 1);
      assert.equal(other.inbox.size, 0);
    });
  });
}

/** Joins / by hand; returns {reply, events}: the payload of the reply and the packets before it. */
async function join(session, auth) {
  await session.send(`40${JSON.stringify(auth)}`);
  const events = [];
  for (;;) {
    const packet = await session.next();
    if (Buffer.isBuffer(packet)) events.push(packet);
    else if (packet.startsWith('40')) return { reply: JSON.parse(packet.slice(2)), events };
    else events.push(packet);
  }
}

for (const [name, openSession] of rawTransports) {
  describe(`recovery by hand over ${name}`, { concurrency: 8 }, () => {
    /** An app, and a client that has got one event and then lost its connection. */
    const lost = async (t, config) => {
      const app = await start(t, config);
      const session = await openSession(app);
      const { sid, pid } = await session.connect();
      await app.do({ op: 'emit', args: ['x'] });
      const offset = (await session.nextPacket()).data.at(-1);
      await session.close();
      await app.waitFor({ type: 'disconnect', id: sid });
      return { app, sid, pid, offset };
    };

    test(`R02 R03 the reply has sid and pid, every plain event an offset (${name})`, async (t) => {
      const app = await start(t);
      const session = await openSession(app);
      const reply = await session.connect();
      assert.deepEqual(Object.keys(reply), ['sid', 'pid']);
      assert.match(reply.pid, /^[A-Za-z0-9_-]{20}$/);
      assert.notEqual(reply.pid, reply.sid);
      const offsets = [];
      for (const more of [{ args: ['a', 1] }, { args: ['a', 1], socket: reply.sid }, { args: ['a', 1], to: reply.sid }]) {
        await app.do({ op: 'emit', ...more });
        const { type, data } = await session.nextPacket();
        assert.deepEqual([type, data.slice(0, -1), typeof data.at(-1)], [2, ['a', 1], 'string']);
        offsets.push(data.at(-1));
      }
      assert.equal(new Set(offsets).size, 3);
    });

    test(`R04 the offset stands behind the placeholders of binary events (${name})`, async (t) => {
      const app = await start(t);
      const session = await openSession(app);
      await session.connect();
      await app.do({ op: 'emit', args: ['a', bin('x')] });
      const { type, attachments, data } = await session.nextPacket();
      assert.deepEqual([type, attachments, data.slice(0, -1), typeof data[2]], [5, 1, ['a', { _placeholder: true, num: 0 }], 'string']);
      assert.deepEqual(await session.next(), Buffer.from('x'));
    });

    test(`R05 no offset on events that expect an acknowledgement, nor on acknowledgements (${name})`, async (t) => {
      const app = await start(t);
      const session = await openSession(app);
      const { sid } = await session.connect();
      const replies = app.do({ op: 'emitAck', args: ['q', 1], timeout: SOON });
      let { id, data } = await session.nextPacket();
      assert.deepEqual(data, ['q', 1]);
      await session.send(`43${id}["a"]`);
      assert.deepEqual(await replies, ['a']);
      const reply = app.do({ op: 'emitAck', socket: sid, args: ['q', 2] });
      ({ id, data } = await session.nextPacket());
      assert.deepEqual(data, ['q', 2]);
      await session.send(`43${id}["b"]`);
      assert.deepEqual(await reply, ['b']);
      await session.send('427["ask","c"]');
      assert.equal(await session.next(), '437["c"]');
    });

    test(`R06 no offset on volatile events (${name})`, async (t) => {
      const app = await start(t);
      const session = await openSession(app);
      const { sid } = await session.connect();
      for (const socket of [sid, undefined]) {
        let packet;
        if (name === 'polling') {
          const { reply } = await app.park(session);
          await app.do({ op: 'emit', volatile: true, args: ['v'], ...(socket && { socket }) });
          packet = (await reply).text;
        } else {
          // Dropped if the packet before is still being written.
          for (let i = 0; i < 30 && !packet; i++) {
            await app.do({ op: 'emit', volatile: true, args: ['v'], ...(socket && { socket }) });
            packet = await session.next(100).catch(() => undefined);
          }
        }
        assert.equal(packet, '42["v"]');
      }
    });

    test(`R07 R08 R09 R10 the missed events precede the reply, which has the same sid and pid (${name})`, async (t) => {
      const { app, sid, pid, offset } = await lost(t);
      await app.doAll(
        { op: 'emit', args: ['a', 1] }, { op: 'emit', to: sid, args: ['b', bin('x')] }, { op: 'emit', to: 'other', args: ['c'] },
        { op: 'emit', except: sid, args: ['d'] }, { op: 'emit', volatile: true, args: ['e'] }, { op: 'emit', nsp: '/other', args: ['f'] },
      );
      const session = await openSession(app);
      const { reply, events } = await join(session, { pid, offset });
      assert.deepEqual(reply, { sid, pid });
      assert.equal(events.length, 3);
      assert.deepEqual(parsePacket(events[0]).data.slice(0, -1), ['a', 1]);
      assert.deepEqual(parsePacket(events[1]).data.slice(0, -1), ['b', { _placeholder: true, num: 0 }]);
      assert.deepEqual(events[2], Buffer.from('x'));
      assert.equal((await app.waitFor({ type: 'connection', recovered: true })).id, sid);
    });

    for (const [ids, what, change] of [
      ['R13', 'an unknown pid', { pid: 'unknown' }],
      ['R13', 'a pid named as a property of every object', { pid: '__proto__' }],
      ['R14', 'an unknown offset', { offset: 'unknown' }],
      ['R14', 'an empty offset', { offset: '' }],
      ['R16', 'a pid that is a number', { pid: 1 }],
      ['R16', 'a pid that is an object', { pid: { toString: 'x' } }],
      ['R16', 'an offset that is a list', { offset: ['x'] }],
      ['R16', 'no offset', { offset: undefined }],
      ['R16', 'no pid', { pid: undefined }],
    ]) {
      test(`${ids} ${what} gives a new session (${name})`, async (t) => {
        const { app, sid, pid, offset } = await lost(t);
        await app.do({ op: 'emit', args: ['missed'] });
        const session = await openSession(app);
        const { reply, events } = await join(session, { pid, offset, ...change });
        assert.notEqual(reply.sid, sid);
        assert.notEqual(reply.pid, pid);
        assert.deepEqual(events, []);
        await session.send('421["ask","alive"]');
        assert.equal(await session.next(), '431["alive"]');
        const [, second] = await app.entries({ type: 'connection' });
        assert.equal(second.recovered, false);
      });
    }

    test(`R01 R21 without the option there is no pid and no offset, and both are ignored (${name})`, async (t) => {
      const app = await start(t, { options: {} });
      const session = await openSession(app);
      const { reply, events } = await join(session, { pid: 'p', offset: 'o', mine: 1 });
      assert.deepEqual([Object.keys(reply), events], [['sid'], []]);
      await app.do({ op: 'emit', args: ['x', 1] });
      assert.equal(await session.next(), '42["x",1]');
      const { handshake, recovered } = await app.waitFor({ type: 'connection' });
      assert.deepEqual([handshake.auth, recovered], [{ pid: 'p', offset: 'o', mine: 1 }, false]);
    });

    test(`R17 R18 which ends can be recovered (${name})`, async (t) => {
      const app = await start(t, { options: { ...recovery(), pingInterval: 4000, pingTimeout: 400 } });
      const websocket = name === 'websocket';
      // [reason, what makes it, whether it can be recovered]
      const ends = [
        ['client namespace disconnect', (session) => session.send('41'), false],
        ['server namespace disconnect', (session, sid) => app.do({ op: 'disconnect', socket: sid }), false],
        ['server namespace disconnect', (session, sid) => app.do({ op: 'disconnect', socket: sid, close: true }), false],
        ['parse error', (session) => (websocket ? session.send('abc') : session.post('abc')), false],
        ['transport close', (session) => session.close(), true],
        ['transport error', (session) => (websocket ? session.send('2') : session.post('2')), true],
        [websocket ? 'forced close' : 'forced server close', (session) => session.send('42/unknown,["x"]'), true],
        ['ping timeout', () => {}, true],
      ];
      for (const [reason, end, recoverable] of ends) {
        const session = await openSession(app);
        const { sid, pid } = await session.connect();
        await app.do({ op: 'emit', to: sid, args: ['x'] });
        const offset = (await session.nextPacket()).data.at(-1);
        await end(session, sid);
        assert.equal((await app.waitFor({ type: 'disconnect', id: sid })).reason, reason);
        const { reply } = await join(await openSession(app), { pid, offset });
        assert.equal(reply.sid === sid, recoverable, reason);
        assert.equal(reply.pid === pid, recoverable, reason);
      }
    });

    test(`R20 a middleware that refuses a recovery: CONNECT_ERROR (${name})`, async (t) => {
      const { app, sid, pid, offset } = await lost(t, {
        options: recovery({ skipMiddlewares: false }),
        behaviour: { middlewares: [{ if: { auth: { bad: 1 } }, fail: { message: 'no' } }] },
      });
      const session = await openSession(app);
      await session.send(`40${JSON.stringify({ pid, offset, bad: 1 })}`);
      let packet;
      do packet = await session.next(); while (!packet.startsWith('44'));
      assert.equal(packet, '44{"message":"no"}');
      assert.ok(!(sid in (await app.do({ op: 'rooms' }))));
    });
  });
}
