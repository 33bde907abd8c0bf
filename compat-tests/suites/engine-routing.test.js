// Groups A and B: which requests are served, and how the others are refused, over plain HTTP and on upgrades.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '../lib/fixture.js';
import { pendingAfter, until } from '../lib/wait.js';
import { Rejected, encodeFrame, upgradeRequest } from '../lib/websocket.js';

const errors = {
  0: 'Transport unknown',
  1: 'Session ID unknown',
  2: 'Bad handshake method',
  3: 'Bad request',
  4: 'Forbidden',
  5: 'Unsupported protocol version',
};

/** The reply is the refusal with this code: status, body, content type. */
function assertRefused(res, code, message = errors[code]) {
  assert.equal(res.status, code === 4 ? 403 : 400, res.text);
  assert.equal(res.text, JSON.stringify({ code, message }));
  assert.equal(res.headers['content-type'], 'application/json');
}

function assertOpened(res) {
  assert.equal(res.status, 200, res.text);
  assert.equal(res.text.slice(0, 2), '0{');
}

/** Tries a WebSocket and returns how it was refused. */
async function rejection(promise) {
  try {
    await promise;
  } catch (err) {
    if (err instanceof Rejected) return err;
    throw err;
  }
  return assert.fail('the WebSocket was accepted');
}

/** The reply is the raw refusal of an upgrade, whose connection is then closed. */
function assertRawRefusal(err, body) {
  assert.equal(err.status, 400);
  assert.equal(err.headers.connection, 'close');
  assert.equal(err.headers['content-type'], 'text/html');
  assert.equal(Number(err.headers['content-length']), Buffer.byteLength(body));
  assert.equal(err.body, body);
}

describe('A routing and verification', { concurrency: 8 }, () => {
  test('A01 a polling handshake is answered 200 with an open packet', async (t) => {
    const app = await createApp(t);
    assertOpened(await app.get());
  });

  const refusedHandshakes = [
    ['A02 unknown transport', { query: { transport: 'tobi' } }, 0],
    ['A03 missing transport', { query: { transport: undefined } }, 0],
    ['A04 transport "constructor"', { query: { transport: 'constructor' } }, 0],
    ['A05 transport "__proto__" over polling', { path: '/socket.io/?EIO=4&transport=__proto__' }, 0],
    ['A07 unknown sid', { query: { sid: 'doesnotexist' } }, 1],
    ['A08 sid "__proto__"', { path: '/socket.io/?EIO=4&transport=polling&sid=__proto__' }, 1],
    ['A10 POST without sid', { method: 'POST', body: '' }, 2],
    ['A11 PUT without sid', { method: 'PUT', body: '' }, 2],
    ['A12 OPTIONS without sid while CORS is off', { method: 'OPTIONS' }, 2],
    ['A14 transport websocket without an upgrade', { query: { transport: 'websocket' } }, 3],
    ['A18 missing EIO', { query: { EIO: undefined } }, 5],
    ['A19 EIO=abc', { query: { EIO: 'abc' } }, 5],
    ['A19 EIO=5', { query: { EIO: '5' } }, 5],
    ['A19 EIO=04', { query: { EIO: '04' } }, 5],
    ['A18 EIO=3 when it is not allowed', { query: { EIO: '3' } }, 5],
    ['A36 unknown transport with unknown sid', { query: { transport: 'tobi', sid: 'nope' } }, 0],
    ['A07 unknown sid on POST', { method: 'POST', body: '4a', query: { sid: 'nope' } }, 1],
  ];
  for (const [name, request, code] of refusedHandshakes) {
    test(`${name} → 400 code ${code}`, async (t) => {
      const app = await createApp(t);
      assertRefused(await app.request(request), code);
      const error = await app.waitFor({ type: 'connection_error' });
      assert.deepEqual([error.code, error.message], [code, errors[code]]);
      assert.equal(await app.do({ op: 'clientsCount' }), 0);
    });
  }

  test('A05 transport "__proto__" over WebSocket → 400', async (t) => {
    const app = await createApp(t);
    assertRawRefusal(await rejection(app.ws({ path: '/socket.io/?EIO=4&transport=__proto__' })), errors[0]);
  });

  test('A06 transport webtransport over HTTP → 400 code 0 although it is enabled', async (t) => {
    const app = await createApp(t, { options: { transports: ['polling', 'websocket', 'webtransport'] } });
    assertRefused(await app.get({ query: { transport: 'webtransport' } }), 0);
    assertRawRefusal(await rejection(app.ws({ query: { transport: 'webtransport' } })), errors[0]);
  });

  test('A09 an empty sid is a handshake', async (t) => {
    const app = await createApp(t);
    assertOpened(await app.get({ query: { sid: '' } }));
  });

  test('A13 HEAD without sid → 400 without a body', async (t) => {
    const app = await createApp(t);
    const res = await app.request({ method: 'HEAD' });
    assert.equal(res.status, 400);
    assert.equal(res.text, '');
  });

  test('A15 plain GET with transport=websocket on a polling session → 400 code 3, the session goes on', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
    const session = await app.polling();
    assertRefused(await app.get({ query: { transport: 'websocket', sid: session.sid } }), 3);
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual(error.context, { name: 'TRANSPORT_MISMATCH', transport: 'websocket', previousTransport: 'polling' });
    await session.send('4still here');
    assert.equal(await session.next(), '4still here');
  });

  test('A16 polling requests on a WebSocket session → 400 code 3', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
    const session = await app.websocket();
    assertRefused(await app.get({ query: { sid: session.sid } }), 3);
    assertRefused(await app.post('4a', { query: { sid: session.sid } }), 3);
    await session.send('4still here');
    assert.equal(await session.next(), '4still here');
  });

  test('A17 EIO=3 on a v4 session → 400 code 3', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true }, options: { allowEIO3: true } });
    const session = await app.polling();
    assertRefused(await app.get({ query: { EIO: '3', sid: session.sid } }), 3);
    assertRefused(await app.post('1:4', { query: { EIO: '3', sid: session.sid } }), 3);
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual(error.context, { name: 'PROTOCOL_MISMATCH', protocol: 3, previousProtocol: 4 });
    await session.send('4still here');
    assert.equal(await session.next(), '4still here');
  });

  test('A20 error bodies are JSON with the keys code and message in this order', async (t) => {
    const app = await createApp(t);
    const res = await app.get({ query: { transport: 'tobi' } });
    assert.equal(res.text, '{"code":0,"message":"Transport unknown"}');
    assert.equal(res.headers['content-type'], 'application/json');
    assert.equal(res.headers['cache-control'], undefined);
  });

  test('A21 of repeated query keys the last one wins', async (t) => {
    const app = await createApp(t);
    assertOpened(await app.get({ path: '/socket.io/?EIO=3&EIO=4&transport=tobi&transport=polling' }));
    assertRefused(await app.get({ path: '/socket.io/?EIO=4&transport=polling&transport=tobi' }), 0);
  });

  test('A22 paths below the path are served', async (t) => {
    const app = await createApp(t);
    assertOpened(await app.get({ path: app.target({ transport: 'polling' }, '/socket.io/default/') }));
    assertOpened(await app.get({ path: app.target({ transport: 'polling' }, '/socket.io/a/b') }));
    assert.equal((await (await app.ws({ path: app.target({ transport: 'websocket' }, '/socket.io/a/b') })).message())[0], '0');
  });

  test('A23 the path without its slash is not served', async (t) => {
    const app = await createApp(t);
    const res = await app.get({ path: app.target({ transport: 'polling' }, '/socket.io') });
    assert.equal(res.status, 404);
  });

  test('A24 addTrailingSlash:false serves the path with and without slash', async (t) => {
    const app = await createApp(t, { options: { addTrailingSlash: false } });
    assertOpened(await app.get({ path: app.target({ transport: 'polling' }, '/socket.io') }));
    assertOpened(await app.get({ path: app.target({ transport: 'polling' }, '/socket.io/') }));
    assert.equal((await (await app.ws({ path: app.target({ transport: 'websocket' }, '/socket.io') })).message())[0], '0');
  });

  for (const path of ['/custom', '/custom/', '/deep/er']) {
    test(`A25 custom path ${path} is served and the default one is not`, async (t) => {
      const app = await createApp(t, { options: { path } });
      assertOpened(await app.get());
      const other = await app.get({ path: app.target({ transport: 'polling' }, '/socket.io/') });
      assert.deepEqual([other.status, other.text], [404, 'no route']);
    });
  }

  test('A26 further query parameters are accepted and visible in the handshake', async (t) => {
    const app = await createApp(t);
    const session = await app.polling({ query: { foo: 'bar baz', t: 'abc', '%': 'é' } });
    await session.connect();
    const { handshake } = await app.waitFor({ type: 'connection' });
    assert.deepEqual(handshake.query, { EIO: '4', transport: 'polling', foo: 'bar baz', t: 'abc', '%': 'é' });
  });

  test('A27 requests outside the path reach the handlers of the application', async (t) => {
    const app = await createApp(t, { http: { routes: { '/hello': { status: 201, headers: { 'x-app': '1' }, body: 'hi' } } } });
    const res = await app.get({ path: '/hello?x=1' });
    assert.deepEqual([res.status, res.headers['x-app'], res.text], [201, '1', 'hi']);
    assert.equal((await app.get({ path: '/' })).text, 'no route');
    assertOpened(await app.get());
  });

  for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
    test(`A28 ${method} with a valid sid → 500 without a body, the session goes on`, async (t) => {
      const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
      const session = await app.polling();
      const res = await app.request({ method, query: { sid: session.sid } });
      assert.deepEqual([res.status, res.text], [500, '']);
      await session.send('4still here');
      assert.equal(await session.next(), '4still here');
    });
  }

  test('A29 a request that allowRequest rejects → 403 code 4', async (t) => {
    const app = await createApp(t, { options: { allowRequest: { reject: true } } });
    assertRefused(await app.get(), 4);
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual([error.code, error.message], [4, 'Forbidden']);
  });

  test('A30 the text of the rejection is the message of the body', async (t) => {
    const app = await createApp(t, { options: { allowRequest: { reject: 'not today — désolé' } } });
    assertRefused(await app.get(), 4, 'not today — désolé');
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual([error.message, error.context], ['Forbidden', { message: 'not today — désolé' }]);
  });

  test('A31 a request that allowRequest accepts, also asynchronously → 200', async (t) => {
    const app = await createApp(t, { options: { allowRequest: { delay: 20 } } });
    assertOpened(await app.get());
    assert.equal((await app.entries({ type: 'allow_request' })).length, 1);
  });

  test('A32 allowRequest is asked for handshakes only', async (t) => {
    const app = await createApp(t, { kind: 'engineio', engine: { echo: true }, options: { allowRequest: {} } });
    const session = await app.polling();
    await session.send('4a');
    assert.equal(await session.next(), '4a');
    const upgraded = await session.upgrade();
    await upgraded.send('4b');
    assert.equal(await upgraded.next(), '4b');
    assert.equal((await app.entries({ type: 'allow_request' })).length, 1);
    await app.websocket();
    const calls = await app.entries({ type: 'allow_request' });
    assert.deepEqual(calls.map((c) => c.upgrade), [false, true]);
  });

  for (const delay of [0, 20]) {
    test(`A33 ids come from generateId${delay ? ', also when it takes time' : ''}`, async (t) => {
      const app = await createApp(t, { options: { generateId: { prefix: 'my-id-', delay } } });
      assert.equal((await app.polling()).sid, 'my-id-0');
      assert.equal((await app.websocket()).sid, 'my-id-1');
    });

    test(`A34 a failing generateId → 400 code 3${delay ? ', also when it takes time' : ''}`, async (t) => {
      const app = await createApp(t, { options: { generateId: { fail: 'no more ids', delay } } });
      assertRefused(await app.get(), 3);
      const error = await app.waitFor({ type: 'connection_error' });
      assert.deepEqual(error.context, { name: 'ID_GENERATION_ERROR', error: 'no more ids' });
    });
  }

  test('A35 a rejection by allowRequest comes before an unsupported version', async (t) => {
    const app = await createApp(t, { options: { allowRequest: { reject: 'no' } } });
    assertRefused(await app.get({ query: { EIO: '3' } }), 4, 'no');
  });
});

describe('B verification of upgrades', { concurrency: 8 }, () => {
  test('B01 unknown transport → raw 400 and the connection is closed', async (t) => {
    const app = await createApp(t);
    assertRawRefusal(await rejection(app.ws({ query: { transport: 'tobi' } })), errors[0]);
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual([error.code, error.context], [0, { transport: 'tobi' }]);
  });

  test('B02 unknown sid → raw 400', async (t) => {
    const app = await createApp(t);
    assertRawRefusal(await rejection(app.ws({ query: { sid: 'nope' } })), errors[1]);
  });

  test('B03 a rejection by allowRequest → raw 400 with Forbidden', async (t) => {
    const app = await createApp(t, { options: { allowRequest: { reject: true } } });
    assertRawRefusal(await rejection(app.ws()), errors[4]);
  });

  test('B03 B04 the reason of a rejection is the body, its length in bytes', async (t) => {
    const reason = 'zutritt verweigert — пожалуйста 💥';
    const app = await createApp(t, { options: { allowRequest: { reject: reason } } });
    assertRawRefusal(await rejection(app.ws()), reason);
  });

  test('B05 unsupported EIO: the connection does not become usable and is closed', async (t) => {
    const app = await createApp(t);
    const connection = await app.tcp();
    connection.write(upgradeRequest(app.target({ EIO: '3', transport: 'websocket' })));
    await connection.readAll();
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual([error.code, error.context], [5, { protocol: 3 }]);
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  test('B06 a failing generateId closes the connection', async (t) => {
    const app = await createApp(t, { options: { generateId: { fail: 'no' } } });
    const connection = await app.tcp();
    connection.write(upgradeRequest(app.target({ transport: 'websocket' })));
    await connection.readAll();
    assert.equal((await app.waitFor({ type: 'connection_error' })).context.name, 'ID_GENERATION_ERROR');
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  const badKeys = [
    ['no', null],
    ['an empty', ''],
    ['a short', 'dGVzdA=='],
    ['a malformed', '!!!!!!!!!!!!!!!!!!!!!!!!'],
  ];
  for (const [what, key] of badKeys) {
    test(`B07 ${what} Sec-WebSocket-Key → 400`, async (t) => {
      const app = await createApp(t);
      const err = await rejection(app.ws({ headers: { 'Sec-WebSocket-Key': key } }));
      assert.deepEqual([err.status, err.body], [400, 'Missing or invalid Sec-WebSocket-Key header']);
      assert.equal(await app.do({ op: 'clientsCount' }), 0);
    });
  }

  for (const version of [null, '7', '14', 'x']) {
    test(`B08 Sec-WebSocket-Version ${version} → 400 with the supported ones`, async (t) => {
      const app = await createApp(t);
      const err = await rejection(app.ws({ headers: { 'Sec-WebSocket-Version': version } }));
      assert.deepEqual([err.status, err.headers['sec-websocket-version']], [400, '13, 8']);
    });
  }

  test('B09 an upgrade to another protocol → 400', async (t) => {
    const app = await createApp(t);
    const err = await rejection(app.ws({ headers: { Upgrade: 'h2c' } }));
    assert.deepEqual([err.status, err.body], [400, 'Invalid Upgrade header']);
  });

  for (const known of [false, true]) {
    test(`B10 transport=polling with an upgrade, ${known ? 'known' : 'no'} sid: closed, and no session made or touched`, async (t) => {
      const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
      const session = known && (await app.polling());
      const ws = await app.ws({ query: { transport: 'polling', sid: session ? session.sid : undefined } });
      assert.equal(await ws.code(), 1005);
      assert.equal(await app.do({ op: 'clientsCount' }), known ? 1 : 0);
      if (!session) return;
      await session.send('4still here');
      assert.equal(await session.next(), '4still here');
    });
  }

  test('B11 an upgrade on a foreign path that nobody handles is dropped', async (t) => {
    const app = await createApp(t, { options: { destroyUpgradeTimeout: 300 } });
    const connection = await app.tcp();
    connection.write(upgradeRequest('/elsewhere/?EIO=4&transport=websocket'));
    await connection.readAll();
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  const others = [
    ['at once', 0, { destroyUpgradeTimeout: 100 }],
    ['later, with destroyUpgrade:false', 300, { destroyUpgrade: false, destroyUpgradeTimeout: 100 }],
  ];
  for (const [when, delay, options] of others) {
    test(`B12 an upgrade that another component handles ${when} is left alone`, async (t) => {
      const app = await createApp(t, { http: { upgrades: { '/raw': delay } }, options });
      const connection = await app.tcp();
      connection.write(upgradeRequest('/raw', { headers: { Upgrade: 'raw' } }));
      assert.equal((await connection.readHead()).status, 101);
      assert.ok(await pendingAfter(300, connection.closed));
      connection.write('hello');
      assert.equal(String(await connection.take((b) => (b.length < 5 ? undefined : 5))), 'hello');
    });
  }

  const malformed = [
    ['reserved bits', encodeFrame({ rsv: 4, payload: 'x' })],
    ['an unknown opcode', encodeFrame({ opcode: 3, payload: 'x' })],
    ['a long ping', encodeFrame({ opcode: 9, payload: 'x'.repeat(126) })],
    ['an unmasked frame', encodeFrame({ mask: false, payload: 'x' })],
    ['random bytes', Buffer.from('f3a2c1d0998877665544332211009f8e', 'hex')],
  ];
  for (const [what, bytes] of malformed) {
    test(`B13 ${what} right behind the handshake does not hurt the server`, async (t) => {
      const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
      const ws = await app.ws({ early: bytes });
      await ws.code();
      await app.waitFor({ type: 'session_close', reason: 'transport error' });
      const other = await app.websocket();
      await other.send('4a');
      assert.equal(await other.next(), '4a');
    });

    test(`B14 ${what} on an upgrade attempt leaves the polling session alone`, async (t) => {
      const app = await createApp(t, { kind: 'engineio', engine: { echo: true } });
      const session = await app.polling();
      const ws = await app.ws({ query: { sid: session.sid }, early: bytes });
      await ws.code();
      await session.send('4still here');
      assert.equal(await session.next(), '4still here');
      // The connection may have ended a moment before the session hears of it, which refuses another one until then.
      const next = await until('a probe', () => session.probe().catch(() => undefined));
      for (let packet; packet !== '6'; ) packet = await session.next();
      next.send('5');
      next.send('4up');
      assert.equal(await next.message(), '4up');
    });
  }

  test('B15 transports:["polling"]: a WebSocket request → 400 code 0', async (t) => {
    const app = await createApp(t, { options: { transports: ['polling'] } });
    const err = await rejection(app.ws());
    assert.equal(err.status, 400);
    assert.match(err.body, /Transport unknown/);
    assertRefused(await app.get({ query: { transport: 'websocket' } }), 0);
  });

  test('B16 transports:["websocket"]: a polling request → 400 code 0', async (t) => {
    const app = await createApp(t, { options: { transports: ['websocket'] } });
    assertRefused(await app.get(), 0);
    assert.ok((await app.websocket()).sid);
  });

  test('B17 the first offered subprotocol is echoed', async (t) => {
    const app = await createApp(t);
    const ws = await app.ws({ headers: { 'Sec-WebSocket-Protocol': 'first, second' } });
    assert.equal(ws.headers['sec-websocket-protocol'], 'first');
    const plain = await app.ws();
    assert.equal(plain.headers['sec-websocket-protocol'], undefined);
  });
});
