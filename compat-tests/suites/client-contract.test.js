// The contract of compat-tests/server, seen by the official client over every transport.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { connect, ended, once, open, plain, ways } from '../lib/client.js';
import { Endpoint } from '../lib/endpoint.js';
import { freePort } from '../lib/port.js';
import { startServer } from '../lib/server.js';
import { until } from '../lib/wait.js';

const { socket: server } = await startServer({ after }, { 'max-payload': 8_000_000, 'ping-timeout': '10m' });

/** How long a megabyte may take there and back on a slow machine, in ms. */
const LONG = 120_000;

const text = 'x'.repeat(1_000_000);
const bytes = Buffer.alloc(1_000_000, 'bytes');

// [ids, what, arguments]
const payloads = [
  ['N01', 'no argument', []],
  ['N01', 'numbers', [0, -1, 1.5, 1e21, 5e-324, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, Number.MAX_VALUE, 1e-7]],
  ['N01', 'strings', ['', 'a', '"\\/\b\f\n\r\t\u0000\u001e\u007f', '<&>', ' x '.repeat(100)]],
  ['N01 G05', 'unicode', ['é', '文字', '😀 👩‍👩‍👧', '\u2028\u2029', '\uffff', 'ﷺ'.repeat(1000)]],
  ['N01', 'booleans and null', [true, false, null, [null], { a: null }]],
  ['N01', 'arrays', [[], [[]], [1, [2, [3, ['x']]]], Array.from({ length: 5000 }, (_, i) => i)]],
  ['N01', 'objects', [{}, { a: { b: { c: [{}] } } }, { z: 1, a: 2, 10: 3, 9: 4, '': 5, 'ключ': 6 }]],
  ['N01 N35', 'an object that looks like a placeholder', [{ _placeholder: true, num: 0 }]],
  ['N05', '1 MB of text', [text]],
  ['N05', '1 MB of JSON', [Array.from({ length: 18_000 }, (_, i) => ({ i, name: `number ${i}`, list: [i, i + 1] }))]],
  ['N06', '1 MB of binary', [bytes]],
  ['N04', 'binary as an argument', [Buffer.from([0, 1, 2, 255])]],
  ['N04', 'binary nested in objects and arrays', [{ a: [{ b: Buffer.from('one') }], c: Buffer.from('two') }, [[Buffer.from('three')]]]],
  ['N03 N04', 'all sorts of arguments', [1, 'two', [3], { four: Buffer.from('4') }, null, true, Buffer.from('five'), [{ six: [Buffer.from('6')] }]]],
  ['G04', 'empty binary', [Buffer.alloc(0), { a: Buffer.alloc(0) }, Buffer.from('x')]],
  ['N04', 'ten attachments', Array.from({ length: 10 }, (_, i) => Buffer.alloc(i + 1, i))],
  ['H19', 'typed arrays', [
    new Uint8Array([1, 2, 3]), new Uint16Array([1, 256, 65535]), new Int32Array([-1, 7]), new Float64Array([1.5, -2]),
    new Uint8Array([0, 1, 2, 3, 4, 5]).subarray(2, 4), new DataView(new ArrayBuffer(3)), new Uint8Array([9, 8]).buffer,
  ]],
];

function assertSame(got, sent) {
  assert.deepEqual(plain(got), plain(sent));
  // Also the order of keys and the spelling of numbers.
  assert.equal(JSON.stringify(plain(got)), JSON.stringify(plain(sent)));
}

for (const [name, options] of ways) {
  describe(`the contract over ${name}`, { concurrency: 8 }, () => {
    test(`M01 M03 connecting gives an id and the event auth (${name})`, async () => {
      const socket = await connect(server, options);
      assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
      assert.equal(socket.io.engine.transport.name, name.startsWith('polling') ? 'polling' : 'websocket');
      assert.deepEqual(await socket.inbox.next(), ['auth', {}]);
    });

    for (const auth of [{ token: 'secret', nested: { list: [1, 'é', null] } }, (cb) => cb({ late: true })]) {
      test(`M03 the ${typeof auth} given as auth comes back (${name})`, async () => {
        const socket = await connect(server, { ...options, auth });
        assert.deepEqual(await socket.inbox.next(), ['auth', typeof auth === 'function' ? { late: true } : auth]);
      });
    }

    test(`M04 M06 M07 /custom alone, and together with / on one connection (${name})`, async () => {
      const custom = await connect(server, { ...options, nsp: '/custom', auth: { a: 1 } });
      assert.deepEqual(await custom.inbox.next(), ['auth', { a: 1 }]);
      const root = await connect(server, { on: custom, auth: { b: 2 } });
      assert.deepEqual(await root.inbox.next(), ['auth', { b: 2 }]);
      assert.ok(root.io.engine === custom.io.engine);
      assert.notEqual(root.id, custom.id);
    });

    test(`M05 an unknown namespace is refused, the connection goes on (${name})`, async () => {
      const socket = await connect(server, options);
      const other = open(server, { on: socket, nsp: '/nobody' });
      const [err] = await once(other, 'connect_error');
      assert.equal(err.message, 'Invalid namespace');
      assert.equal(err.data, undefined);
      assert.equal(await socket.emitWithAck('echo', 'alive'), 'alive');
    });

    test(`two events, an acknowledgement and a broadcast share a connection in order (${name})`, async () => {
      const socket = await connect(server, options);
      await socket.inbox.next();
      socket.emit('message', 1);
      const reply = socket.emitWithAck('echo', 'x');
      socket.emit('message', 2);
      assert.equal(await reply, 'x');
      assert.deepEqual(await socket.inbox.next(), ['message-back', 1]);
      assert.deepEqual(await socket.inbox.next(), ['message-back', 2]);
    });

    for (const [ids, what, args] of payloads) {
      // What is large is the same for the server however the client makes its requests.
      if (name === 'polling by fetch' && /^N0[56]/.test(ids)) continue;

      test(`${ids} ${what} as an event each way (${name})`, async () => {
        const socket = await connect(server, options);
        await socket.inbox.next();
        socket.emit('message', ...args);
        const [event, ...got] = await socket.inbox.next('message-back', LONG);
        assert.equal(event, 'message-back');
        assertSame(got, args);
      });

      test(`${ids} N07 ${what} as an acknowledgement each way (${name})`, async () => {
        const socket = await connect(server, options);
        assertSame(await new Promise((resolve) => socket.emit('message-with-ack', ...args, (...got) => resolve(got))), args);
        if (args.length) assertSame([await socket.emitWithAck('echo', args[0])], [args[0]]);
      });
    }

    test(`T01 the client disconnects: it knows why, and can come back with a new id (${name})`, async () => {
      const socket = await connect(server, options);
      const { id } = socket;
      socket.disconnect();
      assert.equal(await ended(socket), 'io client disconnect');
      socket.connect();
      await once(socket, 'connect');
      assert.notEqual(socket.id, id);
      assert.equal(await socket.emitWithAck('echo', 1), 1);
    });
  });
}

describe('the contract, with servers of their own', { concurrency: 2 }, () => {
  for (const [name, options] of ways) {
    test(`M23 M25 K07 a restart of the server: the client is told, comes back by itself, and what it emitted meanwhile arrives (${name})`, async (t) => {
      const first = await startServer(t, { addr: `127.0.0.1:${await freePort()}` });
      const endpoint = new Endpoint(first.port, '/socket.io/'); // one that outlives the first server
      t.after(() => endpoint.release());
      const socket = await connect(endpoint, { ...options, reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
      await socket.inbox.next();
      const { id } = socket;
      await first.stop();
      const reason = await ended(socket);
      // A polling client caught between two requests finds nobody there.
      if (name.startsWith('polling')) assert.ok(['transport close', 'transport error'].includes(reason), reason);
      else assert.equal(reason, 'transport close');
      socket.emit('message', 'meanwhile');
      await startServer(t, { addr: `127.0.0.1:${first.port}` });
      await until('the client to be back', () => socket.connected);
      assert.notEqual(socket.id, id);
      assert.deepEqual([await socket.inbox.next(), await socket.inbox.next()].sort(), [['auth', {}], ['message-back', 'meanwhile']]);
    });
  }

  test('G19 H07 N05 an event beyond the limit ends the connection', async (t) => {
    const { socket: small } = await startServer(t, { 'max-payload': 1000 });
    for (const [name, options] of ways) {
      const socket = await connect(small, options);
      socket.emit('message', 'x'.repeat(2000));
      const reason = await ended(socket); // over polling, the 413 and the close packet for the GET may come in either order
      assert.ok(reason === 'transport close' || (name.startsWith('polling') && reason === 'transport error'), reason);
      assert.equal(await (await connect(small, options)).emitWithAck('echo', 'x'.repeat(900)), 'x'.repeat(900));
    }
  });

  test('P01 P28 bcast reaches every client once, the sender included', async (t) => {
    const { socket: own } = await startServer(t);
    const sockets = await Promise.all(ways.map(([, options]) => connect(own, options)));
    for (const socket of sockets) assert.deepEqual(await socket.inbox.next(), ['auth', {}]);
    for (const sender of sockets) {
      sender.emit('bcast', { from: sender.id, bin: Buffer.from('b') });
      for (const socket of sockets) {
        assert.deepEqual(plain(await socket.inbox.next()), ['msg', { from: sender.id, bin: { hex: '62' } }]);
      }
    }
    for (const socket of sockets) assert.equal(socket.inbox.size, 0);
  });
});
