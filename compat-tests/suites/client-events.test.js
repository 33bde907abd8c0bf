// Groups M and N as a client library sees them: events and acknowledgements in both directions, their time-outs, volatile
// events, and what a broken use does not break. The contract suite has the table of payloads from client to server.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, once, open, plain, plainSpec, spec, ways } from '../lib/client.js';
import { bin, createApp } from '../lib/fixture.js';
import { SOON, sleep, until } from '../lib/wait.js';

/** How long a megabyte may take on a slow machine, in ms. */
const LONG = 120_000;

const text = 'ü'.repeat(500_000);

// [ids, what, arguments]: what a server may emit
const payloads = [
  ['N01', 'no argument', []],
  ['N01', 'numbers', [0, -1, 1.5, 1e21, 5e-324, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, Number.MAX_VALUE, 1e-7]],
  ['N01', 'strings and unicode', ['', '"\\/\b\f\n\r\t\u0000\u001e\u007f', '<&>', 'é文字😀', '\u2028\u2029', '\uffff']],
  ['N01', 'booleans, null, arrays, objects', [true, false, null, [], [[1, [2]]], {}, { a: { b: [{}] } }, { z: 1, a: 2, 10: 3, '': 4 }]],
  ['N05', '1 MB of text', [text]],
  ['N06', '1 MB of binary', [Buffer.alloc(1_000_000, 'binary')]],
  ['N03 N04', 'binary as an argument, nested, several times, empty', [
    Buffer.from([0, 255]), { a: [{ b: Buffer.from('one') }], c: Buffer.alloc(0) }, 'text', [[Buffer.from('three')]], null, Buffer.from('four'),
  ]],
  ['N04', 'ten attachments', Array.from({ length: 10 }, (_, i) => Buffer.alloc(i, i))],
  ['N35', 'an object that looks like a placeholder', [{ _placeholder: true, num: 0 }]],
];

/** What a listener emits in one turn. */
function burst(...more) {
  return [
    { op: 'emit', volatile: true, count: 5, args: ['v', { $i: true }, ...more] },
    { op: 'emit', args: ['regular', { $args: true }] },
    { op: 'emit', args: ['end'] },
  ];
}

const namespaces = {
  '/': {
    on: {
      message: [],
      back: [{ op: 'emit', args: ['back', { $args: true }] }],
      ask: [{ op: 'ack', args: [{ $args: true }] }],
      twice: [{ op: 'ack', args: ['first'] }, { op: 'ack', args: ['second'] }],
      nothing: [{ op: 'ack', args: [] }],
      later: [{ op: 'wait', gate: 'answer' }, { op: 'ack', args: ['late'] }],
      never: [],
      error: [{ op: 'emit', args: ['back', 'error', { $args: true }] }],
      connection: [{ op: 'emit', args: ['back', 'connection', { $args: true }] }],
      1: [{ op: 'emit', args: ['back', 'one', { $args: true }] }],
      slow: [{ op: 'wait', gate: 'slow' }, { op: 'emit', args: ['slow done'] }],
      'burst of text': burst(),
      'burst of binary': burst(bin('x')),
    },
  },
  '/custom': { on: { ask: [{ op: 'ack', args: [{ $args: true }] }], message: [{ op: 'emit', args: ['back', { $args: true }] }] } },
};

const options = { maxHttpBufferSize: 8_000_000 };

/** Volatile means "if it can be sent now": tries until such a moment is found, and returns the event. */
async function tryUntilArrived(socket, event, emit) {
  for (let i = 0; i < 30; i++) {
    await emit();
    const got = await socket.inbox.next(event, 50 + 10 * i).catch(() => undefined);
    if (got?.[0] === event) return got;
  }
  throw new Error(`no ${event} of 30 arrived`);
}

for (const [name, transports] of ways) {
  describe(`events over ${name}`, { concurrency: 8 }, () => {
    const start = async (t, { nsp = '/', ...config } = {}) => {
      const app = await createApp(t, { namespaces, options, ...config });
      return { app, socket: await connect(app, { ...transports, nsp }) };
    };

    test(`M02 the id of the socket is the server's, and not the id of the session (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const entry = await app.waitFor({ type: 'connection' });
      assert.deepEqual([entry.id, entry.sid], [socket.id, socket.io.engine.id]);
      assert.notEqual(socket.id, socket.io.engine.id);
    });

    for (const [ids, what, args] of payloads) {
      // What is large is the same for the server however the client makes its requests.
      if (name === 'polling by fetch' && /^N0[56]/.test(ids)) continue;

      test(`${ids} the server emits ${what}, the client acknowledges with it (${name})`, async (t) => {
        const { app, socket } = await start(t);
        socket.on('data', (...all) => all.pop()(...all));
        const reply = app.do({ op: 'emitAck', socket: socket.id, args: ['data', ...spec(args)] });
        const event = await socket.inbox.next('data', LONG);
        assert.deepEqual(plain(event.slice(1, -1)), plain(args));
        assert.equal(JSON.stringify(plain(event.slice(1, -1))), JSON.stringify(plain(args)));
        assert.deepEqual(plainSpec(await reply), plain(args));
      });
    }

    test(`N02 send of either side is the event message (${name})`, async (t) => {
      const { app, socket } = await start(t);
      socket.send('a', 1);
      assert.deepEqual((await app.waitFor({ type: 'event' })).args, ['a', 1]);
      await app.do({ op: 'send', socket: socket.id, args: ['b', bin('x')] });
      assert.deepEqual(plain(await socket.inbox.next()), ['message', 'b', { hex: '78' }]);
    });

    test(`N03 what the server's application gets is what the client sent (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const args = [1, '2', { 3: ['4'], five: Buffer.from('5') }, [Buffer.from('6'), null], true, new Uint16Array([7, 8])];
      socket.emit('message', ...args);
      const entry = await app.waitFor({ type: 'event' });
      assert.equal(entry.ack, false);
      assert.deepEqual(plainSpec(entry.args), plain(args));
    });

    test(`N07 N14 N18 acknowledgements with several arguments, with binary, with none (${name})`, async (t) => {
      const { socket } = await start(t);
      const ask = (event, ...args) => new Promise((resolve) => socket.emit(event, ...args, (...got) => resolve(got)));
      assert.deepEqual(await ask('ask', 1, 'two', [3]), [1, 'two', [3]]);
      assert.deepEqual(plain(await ask('ask', { a: Buffer.from('a') }, Buffer.from('b'))), [{ a: { hex: '61' } }, { hex: '62' }]);
      assert.deepEqual(await ask('nothing'), []);
      assert.equal(await socket.emitWithAck('ask', 'promise'), 'promise');
    });

    test(`N07 N18 the server gets the arguments of the client's acknowledgement (${name})`, async (t) => {
      const { app, socket } = await start(t);
      socket.on('q', (arg, ack) => ack(arg, Buffer.from('b'), { c: 1 }));
      assert.deepEqual(await app.do({ op: 'emitAck', socket: socket.id, args: ['q', 'a'] }), ['a', bin('b'), { c: 1 }]);
      assert.equal(await app.do({ op: 'emitPromise', socket: socket.id, args: ['q', 'p'], timeout: SOON }), 'p');
      socket.on('empty', (ack) => ack());
      assert.deepEqual(await app.do({ op: 'emitAck', socket: socket.id, args: ['empty'] }), []);
    });

    test(`N11 N15 many acknowledgements at once find their callbacks, in both directions (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const numbers = Array.from({ length: 200 }, (_, i) => i);
      assert.deepEqual(await Promise.all(numbers.map((i) => socket.emitWithAck('ask', i))), numbers);
      // Answered in another order than asked.
      const asked = [];
      socket.on('q', (i, ack) => {
        asked.push(() => ack(i));
        if (asked.length === 50) asked.reverse().forEach((f) => f());
      });
      const ops = numbers.slice(0, 50).map((i) => ({ op: 'emitAck', socket: socket.id, args: ['q', i] }));
      assert.deepEqual(await app.doAll(...ops), numbers.slice(0, 50).map((i) => [i]));
    });

    test(`N13 N12 a second acknowledgement is ignored, on both sides (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const calls = [];
      socket.emit('twice', (...args) => calls.push(args));
      assert.equal(await socket.emitWithAck('ask', 'done'), 'done');
      assert.deepEqual(calls, [['first']]);
      socket.on('q', (ack) => {
        ack('first');
        ack('second');
      });
      assert.deepEqual(await app.do({ op: 'emitAck', socket: socket.id, args: ['q'] }), ['first']);
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
    });

    test(`N16 the client's time-out: an error, and the late answer is ignored (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const calls = [];
      await new Promise((resolve) => socket.timeout(50).emit('later', (...args) => resolve(calls.push(args))));
      assert.equal(calls[0][0].message, 'operation has timed out');
      await app.do({ op: 'release', gate: 'answer' });
      await assert.rejects(socket.timeout(50).emitWithAck('never'), { message: 'operation has timed out' });
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
      assert.equal(calls.length, 1);
    });

    test(`N16 the server's time-out: an error, and the late answer is ignored (${name})`, async (t) => {
      const { app, socket } = await start(t);
      let answer;
      socket.on('q', (ack) => (answer = ack));
      await assert.rejects(app.do({ op: 'emitAck', socket: socket.id, args: ['q'], timeout: 100 }), { message: 'operation has timed out' });
      await until('the question', () => answer);
      answer('late');
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
      await assert.rejects(app.do({ op: 'emitPromise', socket: socket.id, args: ['q'], timeout: 100 }), { message: 'operation has timed out' });
    });

    test(`N17 no error when the answer is in time, on both sides (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const got = await new Promise((resolve) => socket.timeout(SOON).emit('ask', 1, 2, (...args) => resolve(args)));
      assert.deepEqual(got, [null, 1, 2]);
      socket.on('q', (ack) => ack('in time'));
      assert.deepEqual(await app.do({ op: 'emitAck', socket: socket.id, args: ['q'], timeout: SOON }), ['in time']);
    });

    test(`N19 events, acknowledgements and emits in a custom namespace stay there (${name})`, async (t) => {
      const { app, socket: root } = await start(t);
      const custom = await connect(app, { on: root, nsp: '/custom' });
      custom.emit('message', 'c', Buffer.from('x'));
      assert.deepEqual(plain(await custom.inbox.next()), ['back', 'c', { hex: '78' }]);
      assert.deepEqual(plain(await custom.emitWithAck('ask', { b: Buffer.from('y') })), { b: { hex: '79' } });
      custom.on('q', (ack) => ack('from custom'));
      assert.deepEqual(await app.do({ op: 'emitAck', nsp: '/custom', socket: custom.id, args: ['q'] }), ['from custom']);
      assert.equal(await root.emitWithAck('ask', 'end'), 'end');
      assert.equal(root.inbox.size, 0);
    });

    test(`N21 N22 N24 numeric, empty and unusual event names (${name})`, async (t) => {
      const { socket } = await start(t);
      socket.emit(1, 'x');
      socket.emit('', 'x');
      socket.emit('error', 'e');
      socket.emit('connection', 'c');
      assert.deepEqual(await socket.inbox.next(), ['back', 'one', 'x']);
      assert.deepEqual(await socket.inbox.next(), ['back', 'error', 'e']);
      assert.deepEqual(await socket.inbox.next(), ['back', 'connection', 'c']);
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
    });

    test(`N25 the server refuses to emit a reserved name, and the client gets nothing (${name})`, async (t) => {
      const { app, socket } = await start(t);
      for (const event of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
        await assert.rejects(app.do({ op: 'emit', socket: socket.id, args: [event] }), { name: 'Error' }, event);
        await assert.rejects(app.do({ op: 'emit', args: [event] }), { name: 'Error' }, event);
      }
      for (const event of ['error', 'connection']) await app.do({ op: 'emit', socket: socket.id, args: [event, 1] });
      assert.deepEqual(await socket.inbox.next(), ['error', 1]);
      assert.deepEqual(await socket.inbox.next(), ['connection', 1]);
    });

    test(`N30 ten attachments are accepted, eleven end the connection (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const many = (n) => Array.from({ length: n }, (_, i) => Buffer.from([i]));
      assert.deepEqual(plain(await new Promise((resolve) => socket.emit('ask', ...many(10), (...got) => resolve(got)))), plain(many(10)));
      socket.emit('message', ...many(11));
      await app.waitFor({ type: 'disconnect', reason: 'forced close' });
      await until('the client to notice', () => socket.ends.length);
    });

    test(`N36 one buffer used twice arrives in both places (${name})`, async (t) => {
      const { socket } = await start(t);
      const b = Buffer.from('same');
      assert.deepEqual(plain(await socket.emitWithAck('ask', [b, { b }])), plain([b, { b }]));
    });

    test(`N37 a client that breaks the protocol ends alone (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const bad = await connect(app, transports);
      bad.io.engine.send('9nonsense');
      await app.waitFor({ type: 'disconnect', id: bad.id });
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
      assert.deepEqual(await app.entries({ type: 'disconnect', id: socket.id }), []);
    });

    test(`N38 keys such as __proto__ and constructor are harmless (${name})`, async (t) => {
      const { socket } = await start(t);
      const value = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1,"hasOwnProperty":2}');
      // The reference rebuilds received objects by assignment; what matters is that nothing breaks and nothing else changes.
      const got = await socket.emitWithAck('ask', value);
      assert.deepEqual([got.toString, got.hasOwnProperty], [1, 2]);
      assert.equal(await socket.emitWithAck('ask', 'alive'), 'alive');
    });

    test(`a handler that waits delays nobody else (${name})`, async (t) => {
      const { app, socket } = await start(t);
      const other = await connect(app, transports);
      socket.emit('slow');
      await app.waitFor({ type: 'event', event: 'slow' });
      assert.equal(await other.emitWithAck('ask', 'now'), 'now');
      await app.do({ op: 'release', gate: 'slow' });
      assert.deepEqual(await socket.inbox.next(), ['slow done']);
    });

    test(`P25 volatile events of either side are delivered when nothing else is on its way (${name})`, async (t) => {
      const { app, socket } = await start(t);
      socket.emit('back', 'regular');
      assert.deepEqual(await socket.inbox.next(), ['back', 'regular']);
      await tryUntilArrived(socket, 'back', () => socket.volatile.emit('back', 'volatile'));
      const event = await tryUntilArrived(socket, 'v', () => app.do({ op: 'emit', socket: socket.id, volatile: true, args: ['v', bin('x')] }));
      assert.deepEqual(plain(event), ['v', { hex: '78' }]);
    });

    test(`a volatile event of a client that is not connected is dropped, others are kept (${name})`, async (t) => {
      const app = await createApp(t, { namespaces });
      const socket = open(app, transports);
      socket.volatile.emit('back', 'volatile');
      socket.emit('back', 'kept');
      await once(socket, 'connect');
      assert.deepEqual(await socket.inbox.next(), ['back', 'kept']);
      assert.equal(await socket.emitWithAck('ask', 'end'), 'end');
      assert.equal(socket.inbox.size, 0);
    });

    for (const what of ['text', 'binary']) {
      test(`P26 P27 of volatile ${what} events that a listener emits back to back only the first arrives, and regular ones all (${name})`, async (t) => {
        const { app, socket } = await start(t);
        // Until a moment is found at which the client waits for something.
        let got = [];
        for (let round = 0; got.length !== 1 || got[0][1] !== 0; round++) {
          assert.ok(round < 50, `${JSON.stringify(got)} of 5 arrived`);
          await sleep(5 * round);
          socket.emit(`burst of ${what}`, round);
          const events = await socket.inbox.until('end');
          assert.deepEqual(events.at(-1), ['regular', round]);
          got = events.slice(0, -1);
        }
      });
    }
  });
}
