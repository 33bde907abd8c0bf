// Group N: events, acknowledgements and binary as packets, spoken by hand over both transports.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { bin, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { SOON } from '../lib/wait.js';

/** How long a megabyte may take on a slow machine, in ms. */
const LONG = 120_000;

const behaviour = {
  on: {
    message: [{ op: 'emit', args: ['message-back', { $args: true }] }],
    'message-with-ack': [{ op: 'ack', args: [{ $args: true }] }],
    twice: [{ op: 'ack', args: [1] }, { op: 'ack', args: [2] }],
  },
};
const namespaces = { '/': behaviour, '/custom': behaviour };

/** A test on each transport with a client that has joined the namespace; body gets (t, {app, session, socket}). */
function both(name, body, { nsp = '/', ...config } = {}) {
  for (const [transport, open] of transports) {
    test(`${name} (${transport})`, async (t) => {
      const app = await createApp(t, { namespaces, ...config });
      const session = await open(app);
      const { sid: socket } = await session.connect(nsp);
      await app.waitFor({ type: 'connection', id: socket });
      await body(t, { app, session, socket, open });
    });
  }
}

async function assertAlive(session) {
  await session.send('42["message","still here"]');
  assert.equal(await session.next(), '42["message-back","still here"]');
}

/** The connection is closed without a packet, after an error event, and nothing of the bad packet was delivered. */
async function assertClosed(app, session, socket) {
  assert.deepEqual(await session.expectClosed(), []);
  const { reason } = await app.waitFor({ type: 'disconnect', id: socket });
  assert.match(reason, /^forced (server )?close$/);
  assert.deepEqual(await app.entries({ type: 'event' }), []);
}

const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

describe('N events', { concurrency: 8 }, () => {
  const values = [
    ['no argument', ''],
    ['numbers', '0,1,-1,1.5,1e+21,123456789012'],
    ['strings', '"","a","\\"\\\\\\n","<>&\'/"'],
    ['unicode', '"utf8 — string","中文","💥","\u2028\u2029"'],
    ['booleans and null', 'true,false,null'],
    ['arrays', '[],[1,[2,[3]]]'],
    ['objects', '{},{"b":1,"a":{"c":[]}}'],
    ['key order', '{"z":1,"a":2,"m":{"y":1,"b":2}}'],
    ['a mixture', '1,"2",{"3":[true]},null,[{"a":"b"}]'],
    ['lone surrogates, escaped', '"\\ud800"'],
  ];
  for (const [what, json] of values) {
    both(`N01 ${what} come back as they were`, async (t, { session }) => {
      const args = json ? `,${json}` : '';
      await session.send(`42["message"${args}]`);
      assert.equal(await session.next(), `42["message-back"${args}]`);
    });
  }

  both('N01 whitespace in the JSON does not matter', async (t, { session }) => {
    await session.send('42 [ "message" , { "a" : 1 } ] ');
    assert.equal(await session.next(), '42["message-back",{"a":1}]');
  });

  both('N01 what is passed on is written as JavaScript writes it', async (t, { session }) => {
    const odd = '1.0,1e2,-0,1e400,12345678901234567890,{"b":1,"1":2,"b":3},"\\u0041\\/"';
    const written = '1,100,0,null,12345678901234567000,{"1":2,"b":3},"A/"';
    await session.send(`42["message",${odd}]`);
    assert.equal(await session.next(), `42["message-back",${written}]`);
    await session.send(`427["message-with-ack",${odd}]`);
    assert.equal(await session.next(), `437[${written}]`);
    await session.send(`451-["message",{"a":[${placeholder('0.0')},${odd}]}]`, Buffer.from([1]));
    assert.equal(await session.next(), `451-["message-back",{"a":[${placeholder(0)},${written}]}]`);
    assert.deepEqual(await session.next(), Buffer.from([1]));
  });

  both('N01 escapes in the name of an event are undone', async (t, { session }) => {
    await session.send('42["\\u006dessage",1]');
    assert.equal(await session.next(), '42["message-back",1]');
  });

  both('N02 the server\'s send() is the event "message"', async (t, { app, session, socket }) => {
    await app.do({ op: 'send', socket, args: ['hi', 1] });
    assert.equal(await session.next(), '42["message","hi",1]');
    await app.do({ op: 'send', args: ['all'] });
    assert.equal(await session.next(), '42["message","all"]');
  });

  both('N03 N04 binary nested in objects and arrays, each way', async (t, { app, session }) => {
    const a = Buffer.from([1, 2, 3]);
    const b = Buffer.from([4, 5]);
    await session.send(`452-["message",{"x":[${placeholder(0)}],"y":"text"},${placeholder(1)}]`, a, b);
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, [{ x: [bin(a)], y: 'text' }, bin(b)]);
    assert.equal(await session.next(), `452-["message-back",{"x":[${placeholder(0)}],"y":"text"},${placeholder(1)}]`);
    assert.deepEqual([await session.next(), await session.next()], [a, b]);
  });

  both('N04 attachments are sent in the order of their place in the arguments', async (t, { app, session, socket }) => {
    const parts = [1, 2, 3, 4].map((n) => Buffer.from([n]));
    const [a, b, c, d] = parts.map(bin);
    await app.do({ op: 'emit', socket, args: ['x', a, { k: [b, { m: c }] }, 'text', d] });
    assert.equal(
      await session.next(),
      `454-["x",${placeholder(0)},{"k":[${placeholder(1)},{"m":${placeholder(2)}}]},"text",${placeholder(3)}]`,
    );
    for (const part of parts) assert.deepEqual(await session.next(), part);
  });

  both('N04 empty binary', async (t, { app, session }) => {
    await session.send(`451-["message",${placeholder(0)}]`, Buffer.alloc(0));
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, [bin('')]);
    assert.equal(await session.next(), `451-["message-back",${placeholder(0)}]`);
    assert.deepEqual(await session.next(), Buffer.alloc(0));
  });

  both('N05 N06 megabytes of JSON and of binary', async (t, { session }) => {
    session.autoPong = true;
    const json = JSON.stringify(Array.from({ length: 8000 }, (_, i) => ({ i, text: `${'é€'.repeat(20)}${i}` })));
    await session.send(`42["message",${json}]`);
    assert.ok((await session.next(LONG)) === `42["message-back",${json}]`);
    const data = randomBytes(2000000);
    await session.send(`451-["message",${placeholder(0)}]`, data);
    assert.equal(await session.next(LONG), `451-["message-back",${placeholder(0)}]`);
    assert.ok(data.equals(await session.next(LONG)));
  }, { options: { maxHttpBufferSize: 1e7 } });

  both('N19 events of a custom namespace carry its name', async (t, { app, session }) => {
    await session.send('42/custom,["message",1]');
    assert.equal(await session.next(), '42/custom,["message-back",1]');
    await session.send(`451-/custom,["message",${placeholder(0)}]`, Buffer.from([1]));
    assert.equal(await session.next(), `451-/custom,["message-back",${placeholder(0)}]`);
    assert.deepEqual(await session.next(), Buffer.from([1]));
    await app.do({ op: 'emit', nsp: '/custom', args: ['all'] });
    assert.equal(await session.next(), '42/custom,["all"]');
  }, { nsp: '/custom' });

  both('N20 events of one client are delivered in order', async (t, { app, session }) => {
    const n = 500;
    await session.send(...Array.from({ length: n }, (_, i) => `42["n",${i}]`));
    await app.waitFor({ type: 'event', args: [n - 1] });
    assert.deepEqual((await app.entries({ type: 'event' })).map((e) => e.args[0]), Array.from({ length: n }, (_, i) => i));
  }, { namespaces: { '/': { on: { n: [] } } } });

  both('N20 events of the server arrive in order', async (t, { app, session, socket }) => {
    await app.do({ op: 'emit', socket, args: ['n', { $i: true }], count: 500 });
    for (let i = 0; i < 500; i++) assert.equal(await session.next(), `42["n",${i}]`);
  });

  both('N21 a numeric event name is dispatched to the listener of its text', async (t, { app, session }) => {
    await session.send('42[1,"x"]');
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, ['x']);
    await session.send('42["1","y"]');
    await app.waitFor({ type: 'event', args: ['y'] });
  }, { namespaces: { '/': { on: { 1: [] } } } });

  for (const packet of ['42[""]', '42["","x"]', '42["unknown event",1]', '42']) {
    both(`N22 ${packet} does not break the connection`, async (t, { session }) => {
      await session.send(packet);
      await assertAlive(session);
    });
  }

  for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
    both(`N23 the reserved name "${name}" from a client closes the connection`, async (t, { app, session, socket }) => {
      await session.send(`42["${name}"]`);
      await assertClosed(app, session, socket);
    });

    both(`N25 emitting the reserved name "${name}" is refused`, async (t, { app, session, socket }) => {
      const message = `"${name}" is a reserved event name`;
      for (const to of [{ socket }, {}, { to: 'room' }]) {
        await assert.rejects(app.do({ op: 'emit', ...to, args: [name, 1] }), { message });
      }
      await assertAlive(session);
    });
  }

  for (const name of ['connection', 'message', 'error']) {
    both(`N24 the name "${name}" is legal each way`, async (t, { app, session, socket }) => {
      await app.do({ op: 'emit', socket, args: [name, 1] });
      assert.equal(await session.next(), `42["${name}",1]`);
      await session.send(`42["${name}","from the client"]`);
      await app.waitFor({ type: 'any', event: name, args: ['from the client'] });
      await session.send('42["end"]');
      await app.waitFor({ type: 'event', event: 'end' });
    }, { namespaces: { '/': { any: 1, on: { end: [] } } } });
  }
});

describe('N acknowledgements', { concurrency: 8 }, () => {
  for (const [id, want] of [['0', '0'], ['1', '1'], ['456', '456'], ['007', '7'], ['9007199254740991', '9007199254740991']]) {
    both(`N08 N11 the id ${id} of an event is the one of its acknowledgement`, async (t, { app, session }) => {
      await session.send(`42${id}["message-with-ack",1,"2",{"3":[false]}]`);
      assert.equal(await session.next(), `43${want}[1,"2",{"3":[false]}]`);
      assert.equal((await app.waitFor({ type: 'event' })).ack, true);
    });
  }

  both('N08 an event without an id is not acknowledged', async (t, { app, session }) => {
    await session.send('42["message-with-ack",1]');
    assert.equal((await app.waitFor({ type: 'event' })).ack, false);
    await assertAlive(session);
  });

  both('N14 an acknowledgement without arguments', async (t, { session }) => {
    await session.send('425["message-with-ack"]');
    assert.equal(await session.next(), '435[]');
  });

  both('N08 N19 acknowledgements of a custom namespace', async (t, { session }) => {
    await session.send('42/custom,12["message-with-ack","x"]');
    assert.equal(await session.next(), '43/custom,12["x"]');
  }, { nsp: '/custom' });

  both('N09 N10 a binary event with an id, acknowledged with binary', async (t, { session }) => {
    const data = [Buffer.from([1, 2, 3]), Buffer.from([4])];
    await session.send(`452-789["message-with-ack",${placeholder(0)},${placeholder(1)}]`, ...data);
    assert.equal(await session.next(), `462-789[${placeholder(0)},${placeholder(1)}]`);
    assert.deepEqual([await session.next(), await session.next()], data);
  });

  both('N07 a client acknowledges with several arguments, also binary', async (t, { app, session, socket }) => {
    const first = app.do({ op: 'emitAck', socket, args: ['q', 1], timeout: SOON });
    assert.equal(await session.next(), '420["q",1]');
    await session.send('430["a",{"b":[null]},3]');
    assert.deepEqual(await first, ['a', { b: [null] }, 3]);
    const second = app.do({ op: 'emitAck', socket, args: ['q', bin([7])], timeout: SOON });
    assert.equal(await session.next(), `451-1["q",${placeholder(0)}]`);
    assert.deepEqual(await session.next(), Buffer.from([7]));
    await session.send(`461-1[${placeholder(0)},"x"]`, Buffer.from([8, 9]));
    assert.deepEqual(await second, [bin([8, 9]), 'x']);
  });

  for (const reply of ['430[]', '430']) {
    both(`N14 ${reply} from a client is an acknowledgement without arguments`, async (t, { app, session, socket }) => {
      const result = app.do({ op: 'emitAck', socket, args: ['q'] });
      assert.equal(await session.next(), '420["q"]');
      await session.send(reply);
      assert.deepEqual(await result, []);
    });
  }

  both('N12 duplicate and unknown acknowledgements are ignored', async (t, { app, session, socket }) => {
    await session.send('435["never asked"]', '430["not yet asked"]');
    await assertAlive(session);
    const result = app.do({ op: 'emitAck', socket, args: ['q'] });
    assert.equal(await session.next(), '420["q"]');
    await session.send('430["first"]', '430["second"]', `461-0[${placeholder(0)}]`, Buffer.from([1]));
    assert.deepEqual(await result, ['first']);
    await assertAlive(session);
  });

  both('N13 a handler that acknowledges twice does so once', async (t, { session }) => {
    await session.send('420["twice"]');
    assert.equal(await session.next(), '430[1]');
    await assertAlive(session);
  });

  both('N15 ids of the server count from 0 in each namespace, and are shared by its sockets', async (t, { app, session, socket, open }) => {
    const custom = (await session.connect('/custom')).sid;
    await app.waitFor({ type: 'connection', id: custom });
    const other = await open(app);
    const otherSocket = (await other.connect('/')).sid;
    await app.waitFor({ type: 'connection', id: otherSocket });
    const ask = (op) => app.do({ op: 'emitAck', args: ['q'], timeout: 1, ...op }).catch(() => {});
    await ask({ socket });
    assert.equal(await session.next(), '420["q"]');
    await ask({ socket: otherSocket });
    assert.equal(await other.next(), '421["q"]');
    await ask({ nsp: '/custom', socket: custom });
    assert.equal(await session.next(), '42/custom,0["q"]');
    await ask({});
    assert.deepEqual([await session.next(), await other.next()], ['422["q"]', '422["q"]']);
  });

  both('N16 without an answer in time there is an error, and a late answer is ignored', async (t, { app, session, socket }) => {
    await assert.rejects(app.do({ op: 'emitAck', socket, args: ['q'], timeout: 50 }), { message: 'operation has timed out' });
    assert.equal(await session.next(), '420["q"]');
    await session.send('430["late"]');
    await assertAlive(session);
  });

  both('N17 an answer in time gives no error', async (t, { app, session, socket }) => {
    const result = app.do({ op: 'emitAck', socket, args: ['q'], timeout: SOON });
    assert.equal(await session.next(), '420["q"]');
    await session.send('430["in time"]');
    assert.deepEqual(await result, ['in time']);
  });

  both('N18 the promise form gives the first argument, or the error', async (t, { app, session, socket }) => {
    const result = app.do({ op: 'emitPromise', socket, args: ['q'], timeout: SOON });
    assert.equal(await session.next(), '420["q"]');
    await session.send('430["value","more"]');
    assert.equal(await result, 'value');
    await assert.rejects(app.do({ op: 'emitPromise', socket, args: ['q'], timeout: 50 }), { message: 'operation has timed out' });
  });
});

describe('N bad packets', { concurrency: 8 }, () => {
  const bad = [
    ['N26', ['42{}', '42[]', '42[true]', '42[null]', '42[{}]', '42[[]]', '42["a"', '42"a"', '42null', '42["message"]x']],
    ['N27', ['42abc["message"]', '42-1["message"]', '42["message",]', '42[message]', "42['message']"]],
    ['N28', ['4abc', '47', '49["message"]', '4', '4-1', '4/']],
    ['N29', ['45', '45a-["message"]', '451.5-["message"]', '45-1-["message"]', '45-["message"]', '451', '451["message"]', '450-["message"]', '46', '460-0[]']],
    ['N28', ['41"x"', '41{}', '41[]', '43{}', '430{}', '430"x"', '43null', '44[]', '441', '44null']],
  ];
  for (const [ids, packets] of bad) {
    for (const packet of packets) {
      both(`${ids} ${packet} closes the connection`, async (t, { app, session, socket }) => {
        await session.send(packet);
        await assertClosed(app, session, socket);
      });
    }
  }

  const errors = [
    ['N28', '49["message"]', 'unknown packet type 9'],
    ['N28', '4abc', 'unknown packet type NaN'],
    ['N26', '42{}', 'invalid payload'],
    ['N29', '45a-["message"]', 'Illegal attachments'],
    ['N29', '450-["message"]', 'Illegal attachments'],
    ['N30', '4511-["message"]', 'too many attachments'],
  ];
  for (const [ids, packet, message] of errors) {
    both(`${ids} the error event for ${packet} says "${message}"`, async (t, { app, session }) => {
      await session.send(packet);
      assert.equal((await app.waitFor({ type: 'error' })).message, message);
    });
  }

  const holders = (n) => Array.from({ length: n }, (_, i) => placeholder(i)).join();
  const parts = (n) => Array.from({ length: n }, (_, i) => Buffer.from([i]));

  both('N30 ten attachments are accepted', async (t, { app, session }) => {
    await session.send(`4510-["message",${holders(10)}]`, ...parts(10));
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, parts(10).map(bin));
    assert.equal(await session.next(), `4510-["message-back",${holders(10)}]`);
  });

  both('N30 eleven attachments close the connection', async (t, { app, session, socket }) => {
    await session.send(`4511-["message",${holders(11)}]`, ...parts(11));
    await assertClosed(app, session, socket);
  });

  both('N31 an unexpected binary message closes the connection', async (t, { app, session, socket }) => {
    await session.send(Buffer.from([1, 2, 3]));
    await assertClosed(app, session, socket);
  });

  both('N31 one attachment too many closes the connection', async (t, { app, session, socket }) => {
    await session.send(`451-["message",${placeholder(0)}]`, Buffer.from([1]), Buffer.from([2]));
    await session.expectClosed();
    assert.match((await app.waitFor({ type: 'disconnect', id: socket })).reason, /^forced (server )?close$/);
  });

  for (const packet of ['42["message"]', '40', `451-["message",${placeholder(0)}]`]) {
    both(`N32 ${packet} in the middle of attachments closes the connection`, async (t, { app, session, socket }) => {
      await session.send(`452-["message",${holders(2)}]`, Buffer.from([1]), packet);
      await assertClosed(app, session, socket);
    });
  }

  both('N33 a heartbeat in the middle of attachments is fine', async (t, { app, session }) => {
    await session.send(`452-["message",${holders(2)}]`, Buffer.from([1]));
    assert.equal(await session.next(), '2');
    await session.send('3', Buffer.from([2]));
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, [bin([1]), bin([2])]);
  }, { options: { pingInterval: 3000, pingTimeout: 10000 } });

  for (const num of ['1', '-1', '"0"', 'null', '100000', '{}', 'true']) {
    both(`N34 the placeholder number ${num} of 1 attachment closes the connection`, async (t, { app, session, socket }) => {
      await session.send(`451-["message",${placeholder(num)}]`, Buffer.from([1]));
      await assertClosed(app, session, socket);
    });
  }

  both('N34 a placeholder without a number closes the connection', async (t, { app, session, socket }) => {
    await session.send('451-["message",{"_placeholder":true}]', Buffer.from([1]));
    await assertClosed(app, session, socket);
  });

  both('N35 an object that looks like a placeholder in a text event is data', async (t, { app, session }) => {
    await session.send(`42["message",${placeholder(0)}]`);
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, [{ _placeholder: true, num: 0 }]);
    assert.equal(await session.next(), `42["message-back",${placeholder(0)}]`);
  });

  for (const other of ['"true"', '1', 'false', 'null']) {
    both(`N35 _placeholder:${other} in a binary event is data`, async (t, { app, session }) => {
      await session.send(`451-["message",{"_placeholder":${other},"num":0},${placeholder(0)}]`, Buffer.from([1]));
      assert.deepEqual((await app.waitFor({ type: 'event' })).args, [{ _placeholder: JSON.parse(other), num: 0 }, bin([1])]);
    });
  }

  both('N36 an attachment may be used twice, or not at all', async (t, { app, session }) => {
    await session.send(`452-["message",${placeholder(0)},{"a":${placeholder(0)}}]`, Buffer.from([5]), Buffer.from([6]));
    assert.deepEqual((await app.waitFor({ type: 'event' })).args, [bin([5]), { a: bin([5]) }]);
    assert.equal(await session.next(), `452-["message-back",${placeholder(0)},{"a":${placeholder(1)}}]`);
    assert.deepEqual([await session.next(), await session.next()], [Buffer.from([5]), Buffer.from([5])]);
  });

  both('N37 the bad packet of one client does not affect the others', async (t, { app, session, socket, open }) => {
    const other = await open(app);
    await other.connect('/');
    await session.send(`452-["message",${holders(2)}]`, Buffer.from([1]));
    await assertAlive(other);
    await session.send('4abc');
    await session.expectClosed();
    await app.waitFor({ type: 'disconnect', id: socket });
    await assertAlive(other);
    assert.equal(await app.do({ op: 'clientsCount' }), 1);
  });

  for (const json of ['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"toString":1,"hasOwnProperty":null}']) {
    both(`N38 ${json} is harmless`, async (t, { session, app }) => {
      await session.send(`42["message",${json}]`);
      assert.equal(await session.next(), `42["message-back",${json}]`);
      await assertAlive(session);
      assert.deepEqual(await app.entries((e) => 'polluted' in e), []);
    });
  }

  both('N39 an outgoing event with more than ten attachments is sent', async (t, { app, session, socket }) => {
    await app.do({ op: 'emit', socket, args: ['x', ...parts(12).map(bin)] });
    assert.equal(await session.next(), `4512-["x",${holders(12)}]`);
    for (const part of parts(12)) assert.deepEqual(await session.next(), part);
  });
});
