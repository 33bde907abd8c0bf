// Group G: data over long-polling, and what breaks a session there.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '../lib/fixture.js';
import { RS } from '../lib/packets.js';
import { isTLS } from '../lib/target.js';
import { pendingAfter } from '../lib/wait.js';

const echo = { kind: 'engineio', engine: { echo: true, log: true } };

const open = async (t, config = {}) => {
  const app = await createApp(t, { ...echo, ...config });
  return { app, session: await app.polling() };
};

/** A reply as [status, body]. */
const outcome = async (reply) => {
  const { status, text } = await reply;
  return [status, text];
};

/**
 * Starts a POST that announces `length` bytes and waits until the server is reading its body ("100 Continue" tells).
 * Returns the bare connection, to send the body on, or not.
 */
async function startPost(session, length, headers = '') {
  const connection = await session.endpoint.tcp();
  const target = session.endpoint.target({ transport: 'polling', sid: session.sid });
  connection.write(
    `POST ${target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain;charset=UTF-8\r\n` +
      `Content-Length: ${length}\r\nExpect: 100-continue\r\n${headers}\r\n`,
  );
  assert.equal((await connection.readHead()).status, 100);
  return connection;
}

describe('G data over polling', { concurrency: 8 }, () => {
  test('G01 a packet is posted and comes back', async (t) => {
    const { session } = await open(t);
    assert.deepEqual(await outcome(session.post('4hello')), [200, 'ok']);
    assert.deepEqual(await outcome(session.get()), [200, '4hello']);
  });

  test('G02 G09 several packets in one body, both ways', async (t) => {
    const { session } = await open(t);
    assert.deepEqual(await outcome(session.post(`4a${RS}4b${RS}4c`)), [200, 'ok']);
    assert.deepEqual(await outcome(session.get()), [200, `4a${RS}4b${RS}4c`]);
  });

  test('G03 binary as base64, both ways, mixed with text', async (t) => {
    const { session } = await open(t);
    await session.post(`4a${RS}bAQIDBA==${RS}4b`);
    assert.deepEqual(await outcome(session.get()), [200, `4a${RS}bAQIDBA==${RS}4b`]);
  });

  test('G04 empty binary', async (t) => {
    const { app, session } = await open(t);
    await session.post(`b${RS}4x`);
    assert.deepEqual(await outcome(session.get()), [200, `b${RS}4x`]);
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), [{ $bin: '' }, 'x']);
  });

  const texts = ['utf8 — string', '中文字符，日本語', '💥😀👩‍👩‍👧', 'é́à̂', '\u0000\u0001\u001f', 'a"b\\c\n\r\t'];
  for (const text of texts) {
    test(`G05 text ${JSON.stringify(text)} comes back`, async (t) => {
      const { session } = await open(t);
      await session.post(`4${text}`);
      const res = await session.get();
      assert.equal(res.text, `4${text}`);
      assert.equal(Number(res.headers['content-length']), Buffer.byteLength(res.text));
    });
  }

  test('G05 invalid UTF-8 becomes U+FFFD', async (t) => {
    const { session } = await open(t);
    await session.post(Buffer.from([0x34, 0x61, 0xff, 0x62]));
    assert.equal((await session.get()).text, '4a\ufffdb');
  });

  test('G06 a chunked POST body', async (t) => {
    const { session } = await open(t);
    const res = await session.post((req) => {
      req.write('4hel');
      req.write('lo');
      req.end(`${RS}4again`);
    }, { headers: { 'Transfer-Encoding': 'chunked' } });
    assert.equal(res.text, 'ok');
    assert.equal((await session.get()).text, `4hello${RS}4again`);
  });

  test('G07 G18 a body of exactly the limit, in many segments', async (t) => {
    const { session } = await open(t);
    const body = `4${'0123456789'.repeat(100000)}`.slice(0, 1000000);
    const connection = await startPost(session, body.length);
    for (let i = 0; i < body.length; i += 10007) await new Promise((done) => connection.socket.write(body.slice(i, i + 10007), done));
    assert.equal((await connection.readHead()).status, 200);
    assert.equal((await session.get()).text, body);
  });

  test('G08 a GET waits until there is something to send', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    assert.ok(await pendingAfter(100, reply));
    await session.post('4hello');
    assert.deepEqual(await outcome(reply), [200, '4hello']);
  });

  test('G09 packets that find no GET are delivered in order with the next ones', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'm$i', count: 100 });
    const packets = [];
    while (packets.length < 100) packets.push(...(await session.get()).text.split(RS));
    assert.deepEqual(packets, Array.from({ length: 100 }, (_, i) => `4m${i}`));
  });

  test('G10 two GETs at once: 400 for the second, `1` for the first, session gone', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    assert.deepEqual(await outcome(session.get()), [400, '']);
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'overlap from client');
    await session.expectGone();
  });

  test('G11 two POSTs at once: 400 for the second, the first is cut, session gone', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    const first = await startPost(session, 10);
    assert.deepEqual(await outcome(session.post('4x')), [400, '']);
    assert.equal((await first.readAll()).length, 0);
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'data request overlap from client');
    await session.expectGone();
  });

  test('G12 an aborted GET ends the session', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    reply.catch(() => {});
    session.endpoint.agent.destroy();
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'poll connection closed prematurely');
    await session.expectGone();
  });

  test('G13 an aborted POST ends the session', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    const post = await startPost(session, 10);
    post.write('4a');
    post.destroy();
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'data request connection closed prematurely');
    await session.expectGone();
  });

  const invalid = [
    ['G14', 'an unknown type', 'abc'],
    ['G14', 'a type above 6', '7'],
    ['G14', 'a letter other than b', 'x4'],
    ['G14', 'garbage behind a good packet', `4a${RS}~`],
    ['G15', 'an empty body', ''],
    ['G16', 'a trailing separator', `4a${RS}`],
    ['G16', 'a leading separator', `${RS}4a`],
    ['G16', 'a doubled separator', `4a${RS}${RS}4b`],
  ];
  for (const [id, what, body] of invalid) {
    test(`${id} ${what} in a POST: \`1\` for the parked GET, session gone`, async (t) => {
      const { app, session } = await open(t);
      const { reply } = await app.park(session);
      await session.post(body);
      const packets = (await reply).text.split(RS);
      // A good packet in front of the bad one may have been echoed before the session ended.
      if (packets[0] !== '4a') assert.deepEqual(packets, ['1']);
      await app.expectClose(session.sid, 'parse error');
      await session.expectGone();
    });

    test(`${id} ${what} in a POST without a parked GET: session gone at once`, async (t) => {
      const { app, session } = await open(t);
      await session.post(body);
      await app.expectClose(session.sid, 'parse error');
      await session.expectGone();
    });
  }

  test('G14 a ping from a v4 client: `1` for the parked GET, session gone', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    await session.post('2');
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'invalid heartbeat direction');
    await session.expectGone();
  });

  test('G17 an octet-stream POST on v4: 400 and session gone', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    const post = session.post(Buffer.from('4a'), { headers: { 'Content-Type': 'application/octet-stream' } });
    assert.deepEqual(await outcome(post), [400, '']);
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'invalid content');
    await session.expectGone();
  });

  for (const type of ['text/plain', 'application/json', 'application/x-www-form-urlencoded', undefined]) {
    test(`G01 content type ${type} of a POST is taken as text`, async (t) => {
      const { session } = await open(t);
      const res = await session.post('4hello', { headers: type ? { 'Content-Type': type } : {} });
      assert.equal(res.text, 'ok');
      assert.equal((await session.get()).text, '4hello');
    });
  }

  test('G18 the limit counts bytes, not characters', async (t) => {
    const { session } = await open(t, { options: { maxHttpBufferSize: 10 } });
    assert.equal((await session.post('4€€€')).status, 200);
    assert.equal((await session.post('4€€€€')).status, 413);
  });

  test('G19 a body over the limit: 413, nothing delivered, the session ends', async (t) => {
    const { app, session } = await open(t, { options: { maxHttpBufferSize: 100 } });
    const { reply } = await app.park(session);
    assert.deepEqual(await outcome(session.post('4'.repeat(101))), [413, '']);
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'payload too large');
    assert.deepEqual(await app.entries({ type: 'message' }), []);
    await session.expectGone();
  });

  test('G19 413 comes without waiting for the rest of the body, and the connection is closed', async (t) => {
    const { app, session } = await open(t, { options: { maxHttpBufferSize: 100 } });
    const post = await startPost(session, 100000);
    post.write('4'.repeat(200));
    assert.equal((await post.readHead()).status, 413);
    await app.expectClose(session.sid, 'transport error');
    await session.expectGone();
  });

  test('G24 a body that does not come to its end: 408, the session ends', async (t) => {
    const { app, session } = await open(t, { options: { httpRequestBodyTimeout: 300 } });
    const { reply } = await app.park(session);
    const post = await startPost(session, 100);
    post.write('4half');
    assert.equal((await post.readHead()).status, 408);
    assert.deepEqual(await outcome(reply), [200, '1']);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'http request timeout');
    assert.deepEqual(await app.entries({ type: 'message' }), []);
    await session.expectGone();
  });

  test('G25 a body in too many pieces: 413, the session ends', async (t) => {
    const { app, session } = await open(t, { options: { maxBufferedChunks: 3 } });
    const post = await startPost(session, 100);
    for (let i = 0; i < 10; i++) {
      post.write('4'); // the server has to see pieces, which the kernel may join
      await new Promise((done) => setTimeout(done, 50));
    }
    assert.equal((await post.readHead()).status, 413);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'too many chunks');
    await session.expectGone();
  });

  test('G20 a close packet: `6` for the parked GET, then 400', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    assert.deepEqual(await outcome(session.post('1')), [200, 'ok']);
    assert.deepEqual(await outcome(reply), [200, '6']);
    await app.expectClose(session.sid, 'transport close');
    await session.expectGone();
  });

  test('G21 packets behind a close packet are ignored', async (t) => {
    const { app, session } = await open(t);
    assert.deepEqual(await outcome(session.post(`1${RS}4late${RS}~`)), [200, 'ok']);
    await app.expectClose(session.sid, 'transport close');
    assert.deepEqual(await app.entries({ type: 'message' }), []);
    await session.expectGone();
  });

  test('G22 Connection: close on every request does not end the session', async (t) => {
    const app = await createApp(t, echo);
    const session = await app.polling({ headers: { Connection: 'close' } });
    for (const text of ['4a', '4b', '4c']) {
      assert.equal((await session.post(text)).headers.connection, 'close');
      assert.deepEqual(await outcome(session.get()), [200, text]);
    }
    assert.deepEqual(await app.entries({ type: 'session_close' }), []);
  });

  const base64 = [
    ['URL-safe', 'b-_-_', [0xfb, 0xff, 0xbf]],
    ['unpadded', 'bAQI', [1, 2]],
    ['with foreign characters', 'bAQ ID_-!', Buffer.from('AQID/+', 'base64')],
    ['with line breaks', 'bAQ\r\nID', [1, 2, 3]],
  ];
  for (const [what, packet, bytes] of base64) {
    test(`G23 base64 ${what} is decoded`, async (t) => {
      const { session } = await open(t);
      await session.post(packet);
      assert.equal((await session.get()).text, `b${Buffer.from(bytes).toString('base64')}`);
    });
  }

  test('G12 G13 a client that vanishes between requests is only missed by the heartbeat', { skip: isTLS && 'nothing of TLS in it' }, async (t) => {
    const { app, session } = await open(t, { options: { pingInterval: 100, pingTimeout: 100 } });
    session.endpoint.agent.destroy();
    await app.expectClose(session.sid, 'ping timeout');
  });
});
