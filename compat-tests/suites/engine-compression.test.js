// Group F: HTTP compression of poll responses.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync, inflateSync } from 'node:zlib';
import { bin, createApp } from '../lib/fixture.js';
import { RS } from '../lib/packets.js';

const decoders = { gzip: gunzipSync, deflate: inflateSync };

/** A text of n bytes that compresses well. */
const text = (n) => 'compressible '.repeat(Math.ceil(n / 13)).slice(0, n);

const open = async (t, options = {}) => {
  const app = await createApp(t, { kind: 'engineio', options });
  return { app, session: await app.polling() };
};

/**
 * One GET with this Accept-Encoding (undefined: without the header) and what came: {encoding, text, head}. Checks the headers that
 * depend on the encoding.
 */
async function get(session, accept) {
  const res = await session.get({ headers: accept === undefined ? {} : { 'Accept-Encoding': accept } });
  assert.equal(res.status, 200, res.text);
  const { headers } = res;
  const encoding = headers['content-encoding'];
  assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
  assert.equal(headers['cache-control'], 'no-store');
  if (!encoding) assert.equal(headers['content-length'], String(res.body.length));
  else if (headers['content-length'] !== undefined) assert.equal(headers['content-length'], String(res.body.length));
  const body = encoding ? decoders[encoding](res.body) : res.body;
  if (encoding && body.length > 1000) assert.ok(res.body.length < body.length / 2, `${res.body.length} of ${body.length} bytes`);
  return { encoding, text: body.toString() };
}

describe('F HTTP compression', { concurrency: 8 }, () => {
  test('F01 F05 bodies from 1024 bytes on are compressed', async (t) => {
    const { app, session } = await open(t);
    for (const [length, encoding] of [[1023, undefined], [1024, 'gzip'], [1025, 'gzip'], [100000, 'gzip']]) {
      const data = text(length - 1); // the type is one more byte
      await app.do({ op: 'sessionSend', sid: session.sid, data });
      assert.deepEqual(await get(session, 'gzip'), { encoding, text: `4${data}` }, `${length} bytes`);
    }
  });

  test('F01 the threshold counts bytes, and the whole body', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionSend', sid: session.sid, data: '€'.repeat(341) });
    assert.deepEqual(await get(session, 'gzip'), { encoding: 'gzip', text: `4${'€'.repeat(341)}` });
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(100), count: 12 });
    assert.deepEqual(await get(session, 'gzip'), { encoding: 'gzip', text: Array(12).fill(`4${text(100)}`).join(RS) });
    await app.do({ op: 'sessionSend', sid: session.sid, data: bin(Buffer.alloc(1000)) });
    assert.deepEqual(await get(session, 'gzip'), { encoding: 'gzip', text: `b${Buffer.alloc(1000).toString('base64')}` });
  });

  test('F01 a GET that was parked is compressed as well', async (t) => {
    const app = await createApp(t, { kind: 'engineio' });
    const session = await app.polling({ headers: { 'Accept-Encoding': 'gzip' } });
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(2000) });
    const res = await reply;
    assert.equal(res.headers['content-encoding'], 'gzip');
    assert.equal(gunzipSync(res.body).toString(), `4${text(2000)}`);
  });

  test('F02 deflate is the zlib format', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(5000) });
    const res = await session.get({ headers: { 'Accept-Encoding': 'deflate' } });
    assert.equal(res.headers['content-encoding'], 'deflate');
    assert.equal(res.body.readUInt16BE(0) % 31, 0); // the check bits of a zlib header
    assert.equal(inflateSync(res.body).toString(), `4${text(5000)}`);
  });

  // [ids, Accept-Encoding, encoding]
  const negotiations = [
    ['F03', 'gzip, deflate', 'gzip'],
    ['F03', 'deflate, gzip', 'deflate'],
    ['F03', 'br, deflate;q=0.5, gzip;q=0.5', 'deflate'],
    ['F04', 'deflate;q=0.5, gzip;q=0.9', 'gzip'],
    ['F04', 'gzip;q=0.2, deflate;q=0.8', 'deflate'],
    ['F04', 'gzip;q=0, deflate', 'deflate'],
    ['F04', 'gzip;q=0', undefined],
    ['F04', 'gzip;q=0, deflate;q=0', undefined],
    ['F04', 'gzip;q=0.001', 'gzip'],
    ['F04', '*', 'gzip'],
    ['F04', '*;q=0', undefined],
    ['F04', 'gzip;q=0, *', 'deflate'],
    ['F04', 'identity', undefined],
    ['F04', 'GZIP', 'gzip'],
    ['F04', ' gzip ; q=1.0 ', 'gzip'],
    ['F10', '', undefined],
    ['F10', undefined, undefined],
    ['F11', 'br', undefined],
    ['F11', 'br, zstd, x-gzip', undefined],
  ];
  for (const [ids, accept, encoding] of negotiations) {
    test(`${ids} Accept-Encoding ${accept === undefined ? 'absent' : `"${accept}"`}: ${encoding ?? 'plain'}`, async (t) => {
      const { app, session } = await open(t);
      await app.do({ op: 'sessionSend', sid: session.sid, data: text(3000) });
      assert.deepEqual(await get(session, accept), { encoding, text: `4${text(3000)}` });
    });
  }

  test('F06 another threshold', async (t) => {
    const { app, session } = await open(t, { httpCompression: { threshold: 50 } });
    for (const [length, encoding] of [[49, undefined], [50, 'gzip']]) {
      await app.do({ op: 'sessionSend', sid: session.sid, data: text(length - 1) });
      assert.deepEqual(await get(session, 'gzip'), { encoding, text: `4${text(length - 1)}` });
    }
  });

  test('F06 a threshold of 0 compresses every message', async (t) => {
    const { app, session } = await open(t, { httpCompression: { threshold: 0 } });
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'x' });
    assert.deepEqual(await get(session, 'gzip'), { encoding: 'gzip', text: '4x' });
  });

  test('F07 nothing is compressed when it is switched off', async (t) => {
    const { app, session } = await open(t, { httpCompression: false });
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(10000) });
    assert.deepEqual(await get(session, 'gzip'), { encoding: undefined, text: `4${text(10000)}` });
  });

  test('F08 a message sent with compress(false) is not compressed', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(5000), compress: false });
    assert.deepEqual(await get(session, 'gzip'), { encoding: undefined, text: `4${text(5000)}` });
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(5000), compress: true });
    assert.equal((await get(session, 'gzip')).encoding, 'gzip');
  });

  test('F09 one message that may be compressed is enough for the body', async (t) => {
    const { app, session } = await open(t);
    const small = { op: 'sessionSend', sid: session.sid, data: 'small' };
    const large = { op: 'sessionSend', sid: session.sid, data: text(5000), compress: false };
    for (const operations of [[large, small], [small, large], [large, small, large]]) {
      await app.doAll(...operations);
      assert.deepEqual(await get(session, 'gzip'), { encoding: 'gzip', text: operations.map(({ data }) => `4${data}`).join(RS) });
    }
  });

  const socketApp = (t, options) => createApp(t, { options });
  for (const broadcast of [false, true]) {
    test(`F01 F08 events of ${broadcast ? 'a broadcast' : 'a socket'}, with and without compress(false)`, async (t) => {
      const app = await socketApp(t);
      const session = await app.polling();
      const { sid: socket } = await session.connect();
      const to = broadcast ? { nsp: '/' } : { socket };
      for (const [compress, encoding] of [[undefined, 'gzip'], [false, undefined], [true, 'gzip']]) {
        await app.do({ op: 'emit', ...to, args: ['large', text(5000)], compress });
        assert.deepEqual(await get(session, 'gzip'), { encoding, text: `42["large","${text(5000)}"]` });
      }
    });
  }

  test('F08 compress(false) is for one emit', async (t) => {
    const app = await socketApp(t);
    const session = await app.polling();
    const { sid: socket } = await session.connect();
    await app.do({ op: 'emit', socket, args: ['a', text(2000)], compress: false });
    assert.equal((await get(session, 'gzip')).encoding, undefined);
    await app.do({ op: 'emit', socket, args: ['a', text(2000)] });
    assert.equal((await get(session, 'gzip')).encoding, 'gzip');
  });

  test('F01 F05 the handshake, replies to POSTs and control packets are not compressed', async (t) => {
    const app = await createApp(t, { kind: 'engineio' });
    const session = await app.polling({ headers: { 'Accept-Encoding': 'gzip' } });
    const replies = [session.first, await session.post('4a'), await session.post('1'), await session.get()];
    assert.deepEqual(replies.map((res) => [res.status, res.headers['content-encoding']]), [200, 200, 200, 400].map((s) => [s, undefined]));
  });

  test('F06 an initial packet makes a handshake large enough', async (t) => {
    const app = await createApp(t, { kind: 'engineio', options: { initialPacket: text(2000) } });
    const res = await app.get({ headers: { 'Accept-Encoding': 'gzip' } });
    assert.equal(res.headers['content-encoding'], 'gzip');
    assert.equal(gunzipSync(res.body).toString().split(RS)[1], `4${text(2000)}`);
  });

  test('F01 a client that changes its mind between two polls', async (t) => {
    const { app, session } = await open(t);
    for (const accept of ['gzip', 'deflate', undefined, 'gzip']) {
      await app.do({ op: 'sessionSend', sid: session.sid, data: text(4000) });
      assert.deepEqual(await get(session, accept), { encoding: accept, text: `4${text(4000)}` });
    }
  });

  test('F07 WebSocket messages are not touched by it', async (t) => {
    const app = await createApp(t, { kind: 'engineio', options: { httpCompression: { threshold: 1 } } });
    const session = await app.websocket({ headers: { 'Accept-Encoding': 'gzip' } });
    await app.do({ op: 'sessionSend', sid: session.sid, data: text(4000) });
    const { data, rsv } = await session.ws.next();
    assert.deepEqual([data, rsv], [`4${text(4000)}`, 0]);
  });

  test('F02 F01 large random data survives each encoding', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
    const session = await app.polling();
    const data = Buffer.from(Array.from({ length: 200000 }, (_, i) => ((i * 2654435761) >>> 13) & 255));
    for (const accept of ['gzip', 'deflate']) {
      await session.send(data);
      const res = await session.get({ headers: { 'Accept-Encoding': accept } });
      assert.equal(res.headers['content-encoding'], accept);
      assert.equal(decoders[accept](res.body).toString(), `b${data.toString('base64')}`);
    }
  });
});
