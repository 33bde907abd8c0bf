// Group L, the engine's part: Engine.IO v3 on a server that allows it. Payload encodings, heartbeat, upgrade, close.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PollingSession3, decodeBinary, encodeBinary, encodeText, transports3 } from '../lib/eio3.js';
import { EARLY, bin, createApp } from '../lib/fixture.js';
import { isGo } from '../lib/target.js';
import { Rejected } from '../lib/websocket.js';
import { SOON, pendingAfter, sleep } from '../lib/wait.js';

const echo = { kind: 'engineio', engine: { echo: true, log: true } };
const start = (t, config = {}) => createApp(t, { ...echo, ...config, options: { allowEIO3: true, ...config.options } });

const open = async (t, query = {}, config = {}) => {
  const app = await start(t, config);
  return { app, session: await PollingSession3.open(app, { query }) };
};

const octets = { headers: { 'Content-Type': 'application/octet-stream' } };

/** A reply as [status, body]. */
const outcome = async (reply) => {
  const { status, text } = await reply;
  return [status, text];
};

describe('L Engine.IO v3: payloads', { concurrency: 8 }, () => {
  test('L03 the open packet has its length in front', async (t) => {
    const app = await start(t);
    const { text, headers } = await app.get({ query: { EIO: '3' } });
    const { sid } = JSON.parse(text.slice(text.indexOf('{')));
    const packet = `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`;
    assert.equal(text, `${packet.length}:${packet}`);
    assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal((await app.waitFor({ type: 'session' })).protocol, 3);
  });

  test('L03 the initial packet is in the first payload', async (t) => {
    const app = await start(t, { options: { initialPacket: 'welcome' } });
    const { text } = await app.get({ query: { EIO: '3' } });
    assert.ok(text.endsWith('}8:4welcome'), text);
  });

  test('L03 a request without EIO is one of revision 3', async (t) => {
    const app = await start(t);
    for (const EIO of [undefined, '2', 'abc', '5', '04']) {
      assert.match((await app.get({ query: { EIO } })).text, /^\d+:0\{/, `EIO=${EIO}`);
    }
    for (const entry of await app.entries({ type: 'session' })) assert.equal(entry.protocol, 3);
  });

  test('L03 over WebSocket the open packet has no length', async (t) => {
    const app = await start(t);
    const ws = await app.ws({ query: { EIO: '3' } });
    assert.match(await ws.message(), /^0\{"sid":"[\w-]{20}","upgrades":\[\],/);
  });

  test('L02 without the option polling is refused with code 5, and a WebSocket is not usable', async (t) => {
    const app = await start(t, { options: { allowEIO3: false } });
    assert.deepEqual(await outcome(app.get({ query: { EIO: '3' } })), [400, '{"code":5,"message":"Unsupported protocol version"}']);
    const end = await app.ws({ query: { EIO: '3' } }).then((ws) => ws.next(), (err) => err);
    assert.ok(end instanceof Rejected || end.type !== 'text', JSON.stringify(end));
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  test('A17 L03 requests of another revision are refused, and harm nothing', async (t) => {
    const { app, session } = await open(t);
    const v4 = await app.polling();
    for (const query of [{ EIO: '4', sid: session.sid }, { EIO: '3', sid: v4.sid }]) {
      assert.deepEqual(await outcome(app.get({ query })), [400, '{"code":3,"message":"Bad request"}']);
    }
    await session.send('4a');
    assert.equal(await session.next(), '4a');
    await v4.send('4b');
    assert.equal(await v4.next(), '4b');
  });

  test('L09 several packets in a payload, both ways', async (t) => {
    const { app, session } = await open(t);
    assert.deepEqual(await outcome(session.post('2:4a3:4bc1:44:4def')), [200, 'ok']);
    assert.equal((await session.get()).text, '2:4a3:4bc1:44:4def');
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data ?? null), ['a', 'bc', null, 'def']);
  });

  test('L09 packets that find no GET come with the next one', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'm$i', count: 3 });
    assert.equal((await session.get()).text, '3:4m03:4m13:4m2');
  });

  test('L09 an entry of length 0 is skipped', async (t) => {
    const { session } = await open(t);
    await session.post('0:2:4a0:');
    assert.equal((await session.get()).text, '2:4a');
  });

  // [text, what the length says]
  const texts = [['€', 2], ['😀', 3], ['€😀', 4], ['é', 2], ['日本語', 4], ['👩‍👩‍👧', 9], ['\u0000\n', 3], ['a:b', 4], ['x'.repeat(70000), 70001]];
  for (const [text, length] of texts) {
    test(`L10 the length of ${JSON.stringify(text.slice(0, 10))} is ${length}, in UTF-16 units`, async (t) => {
      const { session } = await open(t);
      assert.deepEqual(await outcome(session.post(`${length}:4${text}2:4!`)), [200, 'ok']);
      const res = await session.get();
      assert.equal(res.text, `${length}:4${text}2:4!`);
      assert.equal(Number(res.headers['content-length']), res.body.length);
    });
  }

  for (const query of [{ b64: '1' }, { b64: 'true' }]) {
    test(`L11 base64 both ways with b64=${query.b64}`, async (t) => {
      const { app, session } = await open(t, query);
      await session.post('6:b4AQID2:4a');
      const res = await session.get();
      assert.deepEqual([res.text, res.headers['content-type']], ['6:b4AQID2:4a', 'text/plain; charset=UTF-8']);
      assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), [bin([1, 2, 3]), 'a']);
    });
  }

  test('L11 base64 is understood without b64', async (t) => {
    const { app, session } = await open(t);
    await session.post('6:b4AQID');
    assert.deepEqual((await app.waitFor({ type: 'message' })).data, bin([1, 2, 3]));
    assert.deepEqual(decodeBinary((await session.get()).body), [Buffer.from([1, 2, 3])]);
  });

  test('L12 a payload with a binary packet is binary', async (t) => {
    const { app, session } = await open(t);
    const send = (data) => ({ op: 'sessionSend', sid: session.sid, data });
    await app.doAll(send('€'), send(bin([1, 2, 3, 4])), send('x'));
    const res = await session.get();
    assert.equal(res.headers['content-type'], 'application/octet-stream');
    assert.equal(res.headers['cache-control'], 'no-store');
    assert.equal(res.headers['content-length'], String(res.body.length));
    assert.equal(res.body.toString('hex'), '0004ff34e282ac' + '0105ff0401020304' + '0002ff3478');
    await app.do(send('text'));
    const text = await session.get();
    assert.deepEqual([text.text, text.headers['content-type']], ['5:4text', 'text/plain; charset=UTF-8']);
  });

  test('L12 L13 lengths of several digits, and empty binary', async (t) => {
    const { session } = await open(t);
    const packets = [Buffer.alloc(123456, 7), '4'.repeat(1000), Buffer.alloc(0), Buffer.alloc(9, 0xff), '4€'.repeat(1)];
    await session.post(encodeBinary(packets), octets);
    const res = await session.get();
    assert.equal(res.headers['content-type'], 'application/octet-stream');
    assert.deepEqual(decodeBinary(res.body), packets);
  });

  test('L13 a binary body with text and binary packets', async (t) => {
    const { app, session } = await open(t);
    const body = Buffer.from('0004ff34e282ac' + '0105ff0401020304' + '0002ff3478', 'hex');
    assert.deepEqual(await outcome(session.post(body, octets)), [200, 'ok']);
    await app.waitFor({ type: 'message', data: 'x' });
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['€', bin([1, 2, 3, 4]), 'x']);
    assert.equal((await session.get()).body.toString('hex'), body.toString('hex'));
  });

  test('L12 L11 a session with b64 gets text even if it posts bytes', async (t) => {
    const { session } = await open(t, { b64: '1' });
    await session.post(encodeBinary([Buffer.from([1, 2, 3])]), octets);
    assert.equal((await session.get()).text, '6:b4AQID');
  });

  const invalid = [
    ['an empty body', ''],
    ['no length', '4a'],
    ['a length that is no number', 'x:4a'],
    ['a packet that is too short', '5:4a'],
    ['something behind the last packet', '2:4ab'],
    ['a length alone', '3:'],
    ['a negative length', '-1:4a'],
    ['an unknown type', '2:9a'],
  ];
  for (const [what, body] of invalid) {
    test(`L14 ${what}: \`1:1\` for the parked GET, session gone`, async (t) => {
      const { app, session } = await open(t);
      const { reply } = await app.park(session);
      await session.post(body);
      const [status, text] = await outcome(reply);
      // A good packet in front of the bad one may have been echoed before the session ended.
      assert.ok(status === 200 && (text === '1:1' || text === '2:4a'), `${status} ${text}`);
      await app.expectClose(session.sid, 'parse error');
      await session.expectGone();
    });
  }

  const invalidBytes = [
    // The reference takes what there is of such a packet.
    ...(isGo ? [['a packet that is too short', '0005ff3461']] : []),
    ['a length without an end', '0002'],
    ['a length of hundreds of digits', `00${'09'.repeat(400)}ff34`],
    ['an unknown type of a text packet', '0002ff3961'],
  ];
  for (const [what, hex] of invalidBytes) {
    test(`L14 ${what} in a binary body: session gone`, async (t) => {
      const { app, session } = await open(t);
      await session.post(Buffer.from(hex, 'hex'), octets);
      await app.expectClose(session.sid, 'parse error');
      await session.expectGone();
    });
  }

  test('L09 L13 large bodies up to the limit, not beyond', async (t) => {
    const { app, session } = await open(t, {}, { options: { maxHttpBufferSize: 1000 } });
    const text = encodeText([`4${'x'.repeat(995)}`]);
    assert.equal(text.length, 1000);
    assert.equal((await session.post(text)).status, 200);
    assert.equal((await session.get()).text, text);
    assert.equal((await session.post(`${text} `)).status, 413);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'payload too large');
    await session.expectGone();
  });
});

describe('L Engine.IO v3: WebSocket', { concurrency: 8 }, () => {
  test('L15 binary messages begin with a byte 4, both ways', async (t) => {
    const app = await start(t);
    const session = await transports3[1][1](app);
    for (const bytes of [[4, 1, 2, 3], [4], [4, 4, 4]]) {
      session.ws.send(Buffer.from(bytes));
      const back = await session.ws.next();
      assert.deepEqual([back.type, [...back.data]], ['binary', bytes]);
    }
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), [bin([1, 2, 3]), bin([]), bin([4, 4])]);
  });

  test('L15 text is as in v4', async (t) => {
    const app = await start(t);
    const session = await transports3[1][1](app);
    for (const text of ['4', '4€😀', `4${'x'.repeat(70000)}`]) {
      await session.send(text);
      assert.equal(await session.next(), text);
    }
  });

  test('L11 L15 with b64=1 binary is sent as text', async (t) => {
    const app = await start(t);
    const session = await transports3[1][1](app, { query: { b64: '1' } });
    session.ws.send(Buffer.from([4, 1, 2, 3]));
    assert.equal(await session.ws.message(), 'b4AQID');
    session.ws.send('b4AQID');
    assert.equal(await session.ws.message(), 'b4AQID');
  });

  test('L14 an unknown type closes the connection', async (t) => {
    const app = await start(t);
    const session = await transports3[1][1](app);
    session.ws.send('9a');
    assert.equal(await session.ws.code(), 1005);
    await app.expectClose(session.sid, 'parse error');
  });
});

describe('L Engine.IO v3: heartbeat', { concurrency: 12 }, () => {
  const heartbeat = (pingInterval, pingTimeout) => ({ options: { pingInterval, pingTimeout }, record: ['heartbeat', 'packets'] });

  for (const [transport, opening] of transports3) {
    test(`L05 the client pings, the server answers, over ${transport}`, async (t) => {
      const app = await start(t, heartbeat(25000, 20000));
      const session = await opening(app);
      for (let i = 0; i < 3; i++) {
        await session.send('2');
        assert.equal(await session.next(), '3');
      }
      assert.equal((await app.waitForAll({ type: 'heartbeat', sid: session.sid }, 3)).length, 3);
    });

    test(`L06 the server sends no pings over ${transport}`, async (t) => {
      const app = await start(t, heartbeat(50, 20000));
      const session = await opening(app);
      const next = transport === 'polling' ? session.get({ timeout: SOON }) : session.ws.next();
      next.catch(() => {});
      assert.ok(await pendingAfter(500, next));
      assert.deepEqual(await app.entries({ type: 'packet_create', packet: 'ping' }), []);
    });

    test(`L07 without pings the session ends after interval and time-out, over ${transport}`, async (t) => {
      const app = await start(t, heartbeat(200, 300));
      const session = await opening(app);
      const { t: end } = await app.expectClose(session.sid, 'ping timeout');
      const { t: begin } = await app.waitFor({ type: 'session' });
      assert.ok(end - begin >= 500 - EARLY, `closed after ${end - begin} ms`);
      await session.expectGone();
    });

    test(`L05 L07 pings keep the session, other packets do not, over ${transport}`, async (t) => {
      const app = await start(t, heartbeat(500, 2500));
      const pings = 6;
      const times = async ({ sid }) => (await app.entries((e) => e.sid === sid && (e.type === 'session' || e.packet === 'ping'))).map((e) => e.t);
      const sixPings = async () => {
        const session = await opening(app);
        try {
          for (let i = 0; i < pings; i++) {
            await sleep(600);
            await session.send('2');
            assert.equal(await session.next(), '3');
          }
        } catch (err) {
          // A busy machine may have sent one too late, and the test begins again.
          const all = [...(await times(session)), (await app.waitFor({ type: 'session_close', sid: session.sid })).t];
          if (all.every((t, i) => !i || t - all[i - 1] < 3000 - EARLY)) throw err;
          return sixPings();
        }
        return session;
      };
      const session = await sixPings();
      // The ping is told before it restarts the time-out, the heartbeat afterwards.
      const last = (await times(session)).at(-1);
      let ended = false;
      const chatter = (async () => {
        for (; !ended; await sleep(200)) await session.send('4a').catch(() => {}); // one after the other
      })();
      const { t: end } = await app.expectClose(session.sid, 'ping timeout').finally(() => (ended = true));
      await chatter;
      assert.ok(end - last >= 3000 - EARLY, `closed ${end - last} ms after the last ping`);
      assert.ok(end - last < 20_000, `closed ${end - last} ms after the last ping`);
    });

    test(`L08 a pong from the client ends the session over ${transport}`, async (t) => {
      const app = await start(t);
      const session = await opening(app);
      await session.send('3');
      const { description } = await app.expectClose(session.sid, 'transport error');
      assert.equal(description, 'invalid heartbeat direction');
      await session.expectGone();
    });
  }

  test('L05 the wire form of ping and pong', async (t) => {
    const { session } = await open(t);
    assert.deepEqual(await outcome(session.post('1:2')), [200, 'ok']);
    assert.equal((await session.get()).text, '1:3');
  });

  test('L05 data of a ping is not sent back', async (t) => {
    const { session } = await open(t);
    await session.post('6:2probe');
    assert.equal((await session.get()).text, '1:3');
  });
});

describe('L Engine.IO v3: upgrade and close', { concurrency: 8 }, () => {
  test('L16 the parked GET is answered by a noop after the probe', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    const ws = await session.probe();
    assert.deepEqual(await outcome(reply), [200, '1:6']);
    const second = await session.get();
    assert.equal(second.text, '1:6');
    ws.send('5');
    ws.send('4hello');
    assert.equal(await ws.message(), '4hello');
    assert.equal((await app.waitFor({ type: 'upgrade' })).transport, 'websocket');
    assert.deepEqual(await outcome(session.get()), [400, '{"code":3,"message":"Bad request"}']);
  });

  test('L16 a GET that is parked when the upgrade is done is answered', async (t) => {
    const { app, session } = await open(t);
    const ws = await session.probe();
    const { reply } = await app.park(session);
    ws.send('5');
    const [status, text] = await outcome(reply);
    assert.equal(status, 200);
    assert.ok(['1:6', '1:1'].includes(text), text);
    ws.send('4on');
    assert.equal(await ws.message(), '4on');
  });

  test('L16 what is sent during the upgrade arrives once and in order, binary in the form of each transport', async (t) => {
    const { app, session } = await open(t);
    const want = [];
    const send = (i) => {
      const data = i % 3 ? `m${i}` : bin([i]);
      want.push(i % 3 ? `4m${i}` : Buffer.from([i]));
      return app.do({ op: 'sessionSend', sid: session.sid, data });
    };
    for (let i = 0; i < 5; i++) await send(i);
    const got = [];
    for (let i = 0; i < 5; i++) got.push(await session.next());
    const ws = await session.probe();
    for (let i = 5; i < 9; i++) await send(i);
    ws.send('5');
    for (let i = 9; i < 15; i++) await send(i);
    while (got.length < want.length) {
      const message = await ws.message();
      got.push(typeof message === 'string' ? message : Buffer.from(message.subarray(1)));
    }
    assert.deepEqual(got, want);
  });

  test('L16 pings work after the upgrade', async (t) => {
    const { app, session } = await open(t);
    const upgraded = await session.upgrade();
    await upgraded.send('2');
    assert.equal(await upgraded.next(), '3');
    await upgraded.close();
    await app.expectClose(session.sid, 'transport close');
  });

  test('L17 the server closes: a noop and the close packet for the next GET', async (t) => {
    const { app, session } = await open(t);
    await app.do({ op: 'sessionClose', sid: session.sid });
    assert.deepEqual(await outcome(session.get()), [200, '1:61:1']);
    await app.expectClose(session.sid, 'forced close');
    await session.expectGone();
  });

  test('L17 the server closes while a GET is parked', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionClose', sid: session.sid });
    assert.deepEqual(await outcome(reply), [200, '1:1']);
    await session.expectGone();
  });

  test('L17 what is queued is delivered before the close packet', async (t) => {
    const { app, session } = await open(t);
    await app.doAll(
      { op: 'sessionSend', sid: session.sid, data: 'last' },
      { op: 'sessionClose', sid: session.sid },
    );
    assert.deepEqual(await outcome(session.get()), [200, '5:4last']);
    assert.deepEqual(await outcome(session.get()), [200, '1:61:1']);
    await session.expectGone();
  });

  test('L17 the client closes over polling: `1:6` for the parked GET', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    assert.deepEqual(await outcome(session.post('1:1')), [200, 'ok']);
    assert.deepEqual(await outcome(reply), [200, '1:6']);
    await app.expectClose(session.sid, 'transport close');
    await session.expectGone();
  });

  test('L17 over WebSocket the server closes with an empty close frame', async (t) => {
    const app = await start(t);
    const session = await transports3[1][1](app);
    await app.do({ op: 'sessionClose', sid: session.sid });
    assert.equal(await session.ws.code(), 1005);
  });

  test('L14 L17 two GETs at once: `1:1` for the first', async (t) => {
    const { app, session } = await open(t);
    const { reply } = await app.park(session);
    assert.deepEqual(await outcome(session.get()), [400, '']);
    assert.deepEqual(await outcome(reply), [200, '1:1']);
    await app.expectClose(session.sid, 'transport error');
  });
});
