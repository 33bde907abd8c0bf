// Group H: data over WebSocket, and what the WebSocket layer refuses.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { WebSocket as Client } from 'ws';
import { bin, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { BINARY, CLOSE, CONTINUATION, PING, TEXT, closePayload, encodeFrame } from '../lib/websocket.js';
import { SOON, pendingAfter, within } from '../lib/wait.js';

const echo = { kind: 'engineio', engine: { echo: true, log: true } };

const open = async (t, config = {}) => {
  const app = await createApp(t, { ...echo, ...config });
  return { app, session: await app.websocket() };
};

/** The session still works. */
async function assertAlive(session) {
  await session.send('4still here');
  assert.equal(await session.next(), '4still here');
}

describe('H data over WebSocket', { concurrency: 8 }, () => {
  test('H01 one packet per text message, both ways', async (t) => {
    const { session } = await open(t);
    for (const text of ['4hello', '4', '4中文 💥', `4${'x'.repeat(70000)}`]) await session.send(text);
    for (const text of ['4hello', '4', '4中文 💥', `4${'x'.repeat(70000)}`]) assert.equal(await session.next(), text);
  });

  for (const size of [0, 1, 125, 126, 127, 65535, 65536, 300000]) {
    test(`H02 binary message of ${size} bytes comes back without a type byte`, async (t) => {
      const { session } = await open(t);
      const data = randomBytes(size);
      await session.send(data);
      const back = await session.ws.next();
      assert.equal(back.type, 'binary');
      assert.ok(data.equals(back.data));
    });
  }

  test('H03 a text message b<base64> is binary', async (t) => {
    const { app, session } = await open(t);
    await session.send('bAQIDBA==');
    assert.deepEqual(await session.next(), Buffer.from([1, 2, 3, 4]));
    assert.deepEqual((await app.waitFor({ type: 'message' })).data, bin([1, 2, 3, 4]));
  });

  test('H04 a session with b64=1 gets binary as b<base64>', async (t) => {
    const app = await createApp(t, echo);
    const session = await app.websocket({ query: { b64: '1' } });
    await session.send(Buffer.from([1, 2, 3, 4]), '4text');
    assert.equal(await session.next(), 'bAQIDBA==');
    assert.equal(await session.next(), '4text');
  });

  test('H05 fragmented messages, with control frames between the fragments', async (t) => {
    const { session } = await open(t);
    const { ws } = session;
    ws.frame({ opcode: TEXT, payload: '4hel', fin: false });
    ws.frame({ opcode: PING, payload: 'between' });
    ws.frame({ opcode: CONTINUATION, payload: '', fin: false });
    ws.frame({ opcode: CONTINUATION, payload: 'lo', fin: true });
    assert.deepEqual(await ws.next(), { type: 'pong', data: Buffer.from('between') });
    assert.equal(await ws.message(), '4hello');
    ws.frame({ opcode: BINARY, payload: [1, 2], fin: false });
    ws.frame({ opcode: CONTINUATION, payload: [3], fin: true });
    assert.deepEqual(await ws.message(), Buffer.from([1, 2, 3]));
  });

  test('H05 a multi-byte character split between fragments', async (t) => {
    const { session } = await open(t);
    const bytes = Buffer.from('4€💥');
    for (let i = 0; i < bytes.length; i++) {
      session.ws.frame({ opcode: i ? CONTINUATION : TEXT, payload: bytes.subarray(i, i + 1), fin: i === bytes.length - 1 });
    }
    assert.equal(await session.next(), '4€💥');
  });

  test('H01 frames split at every byte, and many frames in one segment', async (t) => {
    const { session } = await open(t);
    await session.ws.connection.writeSlowly(Buffer.concat([
      encodeFrame({ payload: '4slow €' }),
      encodeFrame({ opcode: BINARY, payload: randomBytes(130) }),
      encodeFrame({ opcode: PING, payload: 'p' }),
    ]));
    // Where the pong comes among the messages is not fixed.
    const items = [await session.ws.next(), await session.ws.next(), await session.ws.next()];
    assert.deepEqual(items.filter((i) => i.type !== 'pong').map((i) => i.data.length), [7, 130]);
    session.ws.write(Buffer.concat(Array.from({ length: 200 }, (_, i) => encodeFrame({ payload: `4m${i}` }))));
    for (let i = 0; i < 200; i++) assert.equal(await session.next(), `4m${i}`);
  });

  test('H01 lengths need not be written in the shortest form', async (t) => {
    const { session } = await open(t);
    session.ws.frame({ payload: '4a', wide: 2 });
    session.ws.frame({ payload: '4b', wide: 8 });
    assert.deepEqual([await session.next(), await session.next()], ['4a', '4b']);
  });

  for (const payload of ['', 'ping', 'x'.repeat(125)]) {
    test(`H06 a ping frame of ${payload.length} bytes is answered with a pong`, async (t) => {
      const { session } = await open(t);
      session.ws.frame({ opcode: PING, payload });
      assert.deepEqual(await session.ws.next(), { type: 'pong', data: Buffer.from(payload) });
      session.ws.frame({ opcode: 10, payload: 'unsolicited' });
      await assertAlive(session);
    });
  }

  const limit = { options: { maxHttpBufferSize: 100 } };
  test('H08 a message of exactly the limit', async (t) => {
    const { session } = await open(t, limit);
    await session.send(`4${'x'.repeat(99)}`, randomBytes(100));
    assert.equal((await session.next()).length, 100);
    assert.equal((await session.next()).length, 100);
  });

  const tooBig = [
    ['a text message', [{ payload: `4${'x'.repeat(100)}` }]],
    ['a binary message', [{ opcode: BINARY, payload: Buffer.alloc(101) }]],
    ['multi-byte text', [{ payload: `4${'€'.repeat(34)}` }]],
    ['the sum of fragments', [{ payload: `4${'x'.repeat(60)}`, fin: false }, { opcode: CONTINUATION, payload: 'x'.repeat(40) }]],
    ['the announced length alone', [{ payload: '', length: 101 }]],
    ['an announced length of 2^62', [{ payload: '', length: Number(2n ** 62n), wide: 8 }]],
  ];
  for (const [what, frames] of tooBig) {
    test(`H07 T04 over the limit by ${what} → close 1009`, async (t) => {
      const { app, session } = await open(t, limit);
      for (const frame of frames) session.ws.frame(frame);
      assert.equal(await session.ws.code(), 1009);
      await app.expectClose(session.sid, 'transport error');
      assert.deepEqual(await app.entries({ type: 'message' }), []);
    });
  }

  const badText = [
    ['an invalid byte', [{ payload: Buffer.from([0x34, 0xff]) }]],
    ['an overlong encoding', [{ payload: Buffer.from([0x34, 0xc0, 0xaf]) }]],
    ['a surrogate', [{ payload: Buffer.from([0x34, 0xed, 0xa0, 0x80]) }]],
    ['a truncated character', [{ payload: Buffer.from([0x34, 0xe2, 0x82]) }]],
    ['a character above U+10FFFF', [{ payload: Buffer.from([0x34, 0xf4, 0x90, 0x80, 0x80]) }]],
    ['an invalid byte in the second fragment', [{ payload: '4a', fin: false }, { opcode: CONTINUATION, payload: Buffer.from([0xff]) }]],
    ['an invalid close reason', [{ opcode: CLOSE, payload: Buffer.concat([closePayload(1000), Buffer.from([0xff])]) }]],
  ];
  for (const [what, frames] of badText) {
    test(`H09 T04 ${what} is invalid UTF-8 → close 1007`, async (t) => {
      const { app, session } = await open(t);
      for (const frame of frames) session.ws.frame(frame);
      assert.equal(await session.ws.code(), 1007);
      await app.expectClose(session.sid, 'transport error');
    });
  }

  const violations = [
    ['H10', 'an unmasked frame', [{ payload: '4a', mask: false }]],
    ['H10', 'reserved bit 1', [{ payload: '4a', rsv: 4 }]],
    ['H10', 'reserved bit 3', [{ payload: '4a', rsv: 1 }]],
    ['H10', 'an unknown data opcode', [{ opcode: 3, payload: '4a' }]],
    ['H10', 'an unknown control opcode', [{ opcode: 11, payload: '' }]],
    ['H10', 'a fragmented ping', [{ opcode: PING, fin: false }]],
    ['H10', 'a ping of 126 bytes', [{ opcode: PING, payload: 'x'.repeat(126) }]],
    ['H10', 'a continuation of nothing', [{ opcode: CONTINUATION, payload: 'x' }]],
    ['H10', 'a new message within a fragmented one', [{ payload: '4a', fin: false }, { payload: '4b' }]],
    ['H10', 'a close frame of one byte', [{ opcode: CLOSE, payload: 'x' }]],
    ['H10', 'close code 1005', [{ opcode: CLOSE, payload: closePayload(1005) }]],
    ['H10', 'close code 999', [{ opcode: CLOSE, payload: closePayload(999) }]],
    ['H10', 'close code 5000', [{ opcode: CLOSE, payload: closePayload(5000) }]],
  ];
  for (const [id, what, frames] of violations) {
    test(`${id} T04 ${what} → close 1002`, async (t) => {
      const { app, session } = await open(t);
      for (const frame of frames) session.ws.frame(frame);
      assert.equal(await session.ws.code(), 1002);
      await app.expectClose(session.sid, 'transport error');
    });
  }

  for (const packet of ['', 'a', '7', '~hello', 'B', '-1']) {
    test(`H11 text ${JSON.stringify(packet)} is no packet → connection closed`, async (t) => {
      const { app, session } = await open(t);
      await session.send(packet);
      assert.equal(await session.ws.code(), 1005);
      await app.expectClose(session.sid, 'parse error');
    });
  }

  for (const packet of ['0', '0{}', '1', '5', '6', '6x']) {
    test(`H12 packet ${packet} on the live transport is ignored`, async (t) => {
      const { session } = await open(t);
      await session.send(packet);
      await assertAlive(session);
    });
  }

  for (const packet of ['2', '2probe']) {
    test(`H13 ping ${packet} from the client → connection closed`, async (t) => {
      const { app, session } = await open(t);
      await session.send(packet);
      assert.equal(await session.ws.code(), 1005);
      const { description } = await app.expectClose(session.sid, 'transport error');
      assert.equal(description, 'invalid heartbeat direction');
    });
  }

  test('H14 the server closes with an empty close frame', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionClose', sid: session.sid });
    const close = await session.ws.next();
    assert.deepEqual([close.type, close.payload.length], ['close', 0]);
    await session.ws.code();
    await app.expectClose(session.sid, 'forced close');
  });

  test('H15 no extension is negotiated by default', async (t) => {
    const app = await createApp(t, echo);
    const ws = await app.ws({ headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' } });
    assert.equal(ws.headers['sec-websocket-extensions'], undefined);
  });

  const offers = [
    ['permessage-deflate; client_max_window_bits', 'permessage-deflate'],
    ['permessage-deflate', 'permessage-deflate'],
    ['x-unknown, permessage-deflate', 'permessage-deflate'],
    ['permessage-deflate; server_no_context_takeover', 'permessage-deflate; server_no_context_takeover'],
    ['permessage-deflate; client_no_context_takeover', 'permessage-deflate; client_no_context_takeover'],
    [undefined, undefined],
  ];
  for (const [offer, want] of offers) {
    test(`H16 with perMessageDeflate the offer ${offer} is answered ${want}`, async (t) => {
      const app = await createApp(t, { ...echo, options: { perMessageDeflate: true } });
      const ws = await app.ws({ headers: offer ? { 'Sec-WebSocket-Extensions': offer } : {} });
      assert.equal(ws.headers['sec-websocket-extensions'], want);
    });
  }

  for (const offer of ['permessage-deflate; server_max_window_bits=99', 'permessage-deflate; nonsense', 'permessage-deflate; =']) {
    test(`H16 with perMessageDeflate the offer ${offer} → 400`, async (t) => {
      const app = await createApp(t, { ...echo, options: { perMessageDeflate: true } });
      await assert.rejects(app.ws({ headers: { 'Sec-WebSocket-Extensions': offer } }), { status: 400 });
    });
  }

  const deflates = [
    ['both context take-overs', {}, {}],
    ['no context take-over asked for by the client', {}, { serverNoContextTakeover: true, clientNoContextTakeover: true }],
    ['no context take-over by option of the server', { serverNoContextTakeover: true, clientNoContextTakeover: true }, {}],
    ['a threshold that nothing reaches', { serverNoContextTakeover: true, threshold: 1000000 }, {}],
  ];
  for (const [what, server, client] of deflates) {
    test(`H16 data is intact with permessage-deflate, ${what}`, async (t) => {
      const app = await createApp(t, { ...echo, options: { perMessageDeflate: Object.keys(server).length ? server : true } });
      const ws = new Client(`${app.url.replace('http', 'ws')}${app.target({ transport: 'websocket' })}`, { perMessageDeflate: client });
      app.onRelease(() => ws.terminate());
      const got = [];
      const messages = ['4short', `4${'repeated '.repeat(5000)}`, randomBytes(50000), Buffer.alloc(50000, 7), '4€💥', `4${'repeated '.repeat(5000)}`];
      await within(SOON, 'all messages', new Promise((resolve, reject) => {
        ws.on('error', reject);
        ws.on('close', (code) => reject(new Error(`closed with ${code}`)));
        ws.on('message', (data, isBinary) => {
          if (!isBinary && data[0] === 0x30) {
            messages.forEach((m) => ws.send(m));
            return;
          }
          got.push(isBinary ? data : data.toString());
          if (got.length === messages.length) resolve();
        });
      }));
      assert.deepEqual(got, messages);
    });
  }

  test('H16 an inflated size over the limit → close 1009', async (t) => {
    const app = await createApp(t, { ...echo, options: { perMessageDeflate: true, maxHttpBufferSize: 10000 } });
    const ws = new Client(`${app.url.replace('http', 'ws')}${app.target({ transport: 'websocket' })}`, { perMessageDeflate: { threshold: 0 } });
    app.onRelease(() => ws.terminate());
    const code = await within(SOON, 'the close', new Promise((resolve, reject) => {
      ws.on('error', reject);
      ws.on('open', () => ws.send(`4${'x'.repeat(100000)}`));
      ws.on('close', resolve);
    }));
    assert.equal(code, 1009);
    await app.waitFor({ type: 'session_close', reason: 'transport error' });
  });

  test('H16 a compressed frame that is no deflate data → connection closed', async (t) => {
    const app = await createApp(t, { ...echo, options: { perMessageDeflate: true } });
    const ws = await app.ws({ headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    await ws.message();
    ws.frame({ rsv: 4, payload: Buffer.from([0xff, 0xff, 0xff, 0xff]) });
    assert.equal(await ws.code(), 1007);
    await app.waitFor({ type: 'session_close', reason: 'transport error' });
  });

  test('H17 100 large messages queued at once arrive complete and in order, and the heartbeat goes on', async (t) => {
    const { app, session } = await open(t, { options: { pingInterval: 200, pingTimeout: 5000 } });
    session.autoPong = true;
    const filler = 'x'.repeat(100000);
    await app.do({ op: 'sessionSend', sid: session.sid, data: `$i ${filler}`, count: 100 });
    for (let i = 0; i < 100; i++) assert.equal(await session.next(), `4${i} ${filler}`);
    session.autoPong = false;
    assert.equal(await session.next(), '2');
    await session.send('3');
    assert.equal(await session.next(), '2');
  });

  test('H18 messages queued right before the server closes come first', async (t) => {
    const { app, session } = await open(t);
    await app.doAll(
      { op: 'sessionSend', sid: session.sid, data: 'last $i', count: 20 },
      { op: 'sessionClose', sid: session.sid },
    );
    for (let i = 0; i < 20; i++) assert.equal(await session.next(), `4last ${i}`);
    assert.equal((await session.ws.next()).type, 'close');
    assert.equal(await session.ws.code(), 1005);
  });

  test('H19 binary of multi-byte elements arrives as its bytes', async (t) => {
    const app = await createApp(t, { ...echo, engine: {} });
    const data = Buffer.from(new Uint16Array([1, 256, 65535]).buffer);
    const session = await app.websocket();
    await app.do({ op: 'sessionSend', sid: session.sid, data: bin(data) });
    assert.deepEqual(await session.next(), data);
  });

  for (const [transport, openSession] of transports) {
    test(`H20 request headers are visible to the server over ${transport}`, async (t) => {
      const app = await createApp(t);
      const session = await openSession(app, { headers: { 'X-Custom-Header': 'my value', 'X-Multi': 'a, b' } });
      await session.connect();
      const { handshake } = await app.waitFor({ type: 'connection' });
      assert.equal(handshake.headers['x-custom-header'], 'my value');
      assert.equal(handshake.headers['x-multi'], 'a, b');
    });
  }

  for (const code of [undefined, 1000, 1001, 3000, 4999]) {
    test(`T03 a close frame with ${code ?? 'no code'} is echoed: transport close`, async (t) => {
      const { app, session } = await open(t);
      session.ws.close(code);
      assert.equal(await session.ws.code(), code ?? 1005);
      await app.expectClose(session.sid, 'transport close');
    });
  }

  for (const how of ['end', 'reset']) {
    test(`T03 the TCP connection is lost (${how}): transport close`, async (t) => {
      const { app, session } = await open(t);
      session.ws.connection[how]();
      const { reason } = await app.waitFor({ type: 'session_close', sid: session.sid });
      assert.equal(reason, 'transport close');
    });
  }

  test('H14 a WebSocket whose client never answers the close frame counts as closed at once', async (t) => {
    const { app, session } = await open(t);
    session.ws.answersClose = false;
    await app.do({ op: 'sessionClose', sid: session.sid });
    await app.expectClose(session.sid, 'forced close');
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
    assert.equal((await session.ws.next()).type, 'close');
    await session.send('4late');
    assert.ok(await pendingAfter(50, session.ws.closed));
    assert.deepEqual(await app.entries({ type: 'message' }), []);
  });
});
