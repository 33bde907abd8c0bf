// Groups C and D: the open packet, response headers, the session cookie, header hooks and HTTP middlewares.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bin, createApp } from '../lib/fixture.js';
import { decodePayload } from '../lib/packets.js';
import { transports } from '../lib/session.js';
import { Rejected } from '../lib/websocket.js';

const echo = { kind: 'engineio', engine: { echo: true } };
const names = (res) => res.rawHeaders.filter((_, i) => i % 2 === 0).map((n) => n.toLowerCase());

/** Sends a message and returns the responses of the POST and of the GET that brings it back. */
async function exchange(session) {
  const post = await session.post('4a');
  const get = await session.get();
  assert.deepEqual([post.text, get.text], ['ok', '4a']);
  return { post, get };
}

describe('C content of the handshake', { concurrency: 8 }, () => {
  for (const [transport, open] of transports) {
    test(`C01 C03 C04 keys of the open packet, in order, over ${transport}`, async (t) => {
      const app = await createApp(t, { options: { pingInterval: 12345, pingTimeout: 6789, maxHttpBufferSize: 4321 } });
      const session = await open(app);
      assert.deepEqual(Object.keys(session.open), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
      assert.deepEqual([session.open.pingInterval, session.open.pingTimeout, session.open.maxPayload], [12345, 6789, 4321]);
    });

    test(`C02 sids are URL-safe and unique over ${transport}`, async (t) => {
      const app = await createApp(t);
      const sids = await Promise.all(Array.from({ length: 20 }, async () => (await open(app)).sid));
      assert.equal(new Set(sids).size, 20);
      for (const sid of sids) assert.match(sid, /^[A-Za-z0-9_-]{20}$/);
      assert.deepEqual((await app.do({ op: 'sessions' })).sort(), sids.sort());
    });
  }

  test('C03 C04 defaults of the open packet, written without spaces', async (t) => {
    const app = await createApp(t);
    const res = await app.get();
    const { sid } = JSON.parse(res.text.slice(1));
    assert.equal(res.text, `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`);
  });

  const upgrades = [
    ['C05 default options', {}, ['websocket']],
    ['C07 only polling', { transports: ['polling'] }, []],
    ['C08 allowUpgrades:false', { allowUpgrades: false }, []],
    ['C09 every transport', { transports: ['webtransport', 'websocket', 'polling'] }, ['websocket', 'webtransport']],
  ];
  for (const [name, options, want] of upgrades) {
    test(`${name}: upgrades over polling are ${JSON.stringify(want)}`, async (t) => {
      const app = await createApp(t, { options });
      assert.deepEqual((await app.polling()).open.upgrades, want);
    });
  }

  test('C06 upgrades over WebSocket are []', async (t) => {
    const app = await createApp(t);
    assert.deepEqual((await app.websocket()).open.upgrades, []);
  });

  test('C10 the first frame of a WebSocket session is the open packet', async (t) => {
    const app = await createApp(t);
    const ws = await app.ws();
    const first = await ws.next();
    assert.deepEqual([first.type, first.fragments, first.data.slice(0, 2)], ['text', 1, '0{']);
  });

  test('C11 the initial packet follows the open packet in the same body', async (t) => {
    const app = await createApp(t, { ...echo, options: { initialPacket: 'welcome' } });
    const packets = decodePayload((await app.get()).text);
    assert.deepEqual([packets.length, packets[0][0], packets[1]], [2, '0', '4welcome']);
  });

  test('C12 the initial packet is the second frame', async (t) => {
    const app = await createApp(t, { ...echo, options: { initialPacket: 'welcome' } });
    const ws = await app.ws();
    assert.equal((await ws.message())[0], '0');
    assert.equal(await ws.message(), '4welcome');
  });

  for (const [transport, open] of transports) {
    test(`C11 C12 a binary initial packet over ${transport}`, async (t) => {
      const app = await createApp(t, { ...echo, options: { initialPacket: bin([1, 2, 254]) } });
      assert.deepEqual(await (await open(app)).next(), Buffer.from([1, 2, 254]));
    });
  }

  test('C13 the first body holds nothing besides open and initial packet', async (t) => {
    const app = await createApp(t, {
      kind: 'engineio',
      engine: { onSession: [{ op: 'sessionSend', data: 'at once' }] },
      options: { initialPacket: 'welcome' },
    });
    const session = await app.polling();
    const first = decodePayload(session.first.text);
    assert.deepEqual(first.slice(1), ['4welcome']);
    assert.equal((await session.get()).text, '4at once');
  });
});

describe('D headers and cookie', { concurrency: 8 }, () => {
  test('D01 D03 headers of poll responses', async (t) => {
    const app = await createApp(t, echo);
    const session = await app.polling();
    for (const res of [session.first, (await exchange(session)).get]) {
      assert.equal(res.headers['content-type'], 'text/plain; charset=UTF-8');
      assert.equal(res.headers['cache-control'], 'no-store');
      assert.equal(Number(res.headers['content-length']), res.body.length);
    }
  });

  test('D02 D03 the reply to a POST', async (t) => {
    const app = await createApp(t, echo);
    const { post } = await exchange(await app.polling());
    assert.deepEqual([post.status, post.text], [200, 'ok']);
    assert.equal(post.headers['content-type'], 'text/html');
    assert.equal(post.headers['content-length'], '2');
    assert.equal(post.headers['cache-control'], 'no-store');
  });

  test('D04 no cookie by default', async (t) => {
    const app = await createApp(t, echo);
    const session = await app.polling();
    const { post, get } = await exchange(session);
    const ws = await session.probe();
    for (const { headers } of [session.first, post, get, ws]) assert.equal(headers['set-cookie'], undefined);
  });

  const date = Date.UTC(2035, 0, 2, 3, 4, 5);
  const cookies = [
    ['D05 cookie:true', true, 'io=SID; Path=/; HttpOnly; SameSite=Lax'],
    ['D05 an empty cookie object', {}, 'io=SID; Path=/; HttpOnly; SameSite=Lax'],
    ['D06 a custom name', { name: 'sess' }, 'sess=SID; Path=/; HttpOnly; SameSite=Lax'],
    ['D07 a custom path', { path: '/app' }, 'io=SID; Path=/app; HttpOnly; SameSite=Lax'],
    ['D08 path:false', { path: false }, 'io=SID; HttpOnly; SameSite=Lax'],
    ['D09 httpOnly:false', { httpOnly: false }, 'io=SID; Path=/; SameSite=Lax'],
    ['D10 sameSite strict', { sameSite: 'strict' }, 'io=SID; Path=/; HttpOnly; SameSite=Strict'],
    ['D10 sameSite true', { sameSite: true }, 'io=SID; Path=/; HttpOnly; SameSite=Strict'],
    ['D10 sameSite none, secure', { sameSite: 'none', secure: true }, 'io=SID; Path=/; HttpOnly; Secure; SameSite=None'],
    [
      'D11 every attribute',
      { maxAge: 60, domain: 'example.com', expires: { $date: date }, secure: true, partitioned: true, priority: 'high' },
      'io=SID; Max-Age=60; Domain=example.com; Path=/; Expires=Tue, 02 Jan 2035 03:04:05 GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=Lax',
    ],
  ];
  for (const [name, cookie, want] of cookies) {
    test(`${name}: the cookie of the first response`, async (t) => {
      const app = await createApp(t, { options: { cookie } });
      const session = await app.polling();
      assert.deepEqual(session.first.headers['set-cookie'], [want.replace('SID', session.sid)]);
    });
  }

  test('D12 the cookie is only in the first response', async (t) => {
    const app = await createApp(t, { ...echo, options: { cookie: true } });
    const session = await app.polling();
    assert.equal(session.first.headers['set-cookie'].length, 1);
    const { post, get } = await exchange(session);
    const ws = await session.probe();
    for (const { headers } of [post, get, ws]) assert.equal(headers['set-cookie'], undefined);
  });

  test('D13 a WebSocket handshake has no cookie', async (t) => {
    const app = await createApp(t, { options: { cookie: true } });
    assert.equal((await app.ws()).headers['set-cookie'], undefined);
  });

  const agents = [
    ['D14', 'Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko', '0'],
    ['D14', 'Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.1)', '0'],
    ['D15', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36', undefined],
    ['D15', 'Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)', undefined],
  ];
  for (const [id, agent, want] of agents) {
    test(`${id} X-XSS-Protection is ${want} for ${agent}`, async (t) => {
      const app = await createApp(t, echo);
      const session = await app.polling({ headers: { 'User-Agent': agent } });
      const { post, get } = await exchange(session);
      for (const { headers } of [session.first, post, get]) assert.equal(headers['x-xss-protection'], want);
    });
  }

  test('D16 D17 the header hooks', async (t) => {
    const app = await createApp(t, { ...echo, headers: { initial: { 'x-initial': '1' }, all: { 'x-all': '2' } } });
    const session = await app.polling();
    assert.deepEqual([session.first.headers['x-initial'], session.first.headers['x-all']], ['1', '2']);
    const { post, get } = await exchange(session);
    const ws = await session.probe();
    for (const { headers } of [post, get, ws]) {
      assert.deepEqual([headers['x-initial'], headers['x-all']], [undefined, '2']);
    }
    const direct = await app.ws();
    assert.deepEqual([direct.headers['x-initial'], direct.headers['x-all']], ['1', '2']);
  });

  test('D16 D17 no hook runs for a refusal', async (t) => {
    const app = await createApp(t, { ...echo, headers: {} });
    const res = await app.get({ query: { transport: 'tobi' } });
    assert.equal(res.status, 400);
    assert.deepEqual(await app.entries((e) => e.type.endsWith('headers')), []);
  });

  test('D18 the initial hook runs once per session, also when it upgrades', async (t) => {
    const app = await createApp(t, { ...echo, headers: {} });
    const session = await app.polling();
    await exchange(session);
    const upgraded = await session.upgrade();
    await upgraded.send('4b');
    assert.equal(await upgraded.next(), '4b');
    assert.equal((await app.entries({ type: 'initial_headers' })).length, 1);
    assert.ok((await app.entries({ type: 'headers' })).length >= 4);
  });

  test('D19 a cookie set by the hook stands beside the session cookie', async (t) => {
    const app = await createApp(t, {
      options: { cookie: true },
      headers: { initial: { 'set-cookie': 'mine=1; Path=/' } },
    });
    const session = await app.polling();
    assert.deepEqual(session.first.headers['set-cookie'], [`io=${session.sid}; Path=/; HttpOnly; SameSite=Lax`, 'mine=1; Path=/']);
  });

  test('D20 D21 headers of HTTP middlewares are on poll responses and on the 101', async (t) => {
    const app = await createApp(t, { ...echo, engineMiddlewares: [{ setHeaders: { 'x-mw': 'yes' } }] });
    const session = await app.polling();
    const { post, get } = await exchange(session);
    for (const { headers } of [session.first, post, get, await session.probe(), await app.ws()]) {
      assert.equal(headers['x-mw'], 'yes');
    }
    assert.equal((await app.get({ query: { transport: 'tobi' } })).headers['x-mw'], 'yes');
  });

  test('D22 middlewares run in the order of registration', async (t) => {
    const app = await createApp(t, {
      engineMiddlewares: [{ delay: 20, setHeaders: { 'x-order': 'a' } }, { setHeaders: { 'x-order': 'b' } }, {}],
    });
    const session = await app.polling();
    assert.equal(session.first.headers['x-order'], 'b');
    assert.equal((await app.ws()).headers['x-order'], 'b');
    const calls = await app.entries({ type: 'engine_middleware' });
    assert.deepEqual(calls.map((c) => [c.index, c.upgrade]), [[0, false], [1, false], [2, false], [0, true], [1, true], [2, true]]);
  });

  test('D23 a middleware that ends the request prevents a session', async (t) => {
    const app = await createApp(t, { engineMiddlewares: [{ end: { status: 503, body: 'down' } }, {}] });
    const res = await app.get();
    assert.deepEqual([res.status, res.text], [503, 'down']);
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
    assert.deepEqual((await app.entries({ type: 'engine_middleware' })).map((c) => c.index), [0]);
  });

  test('D24 a middleware that ends an upgrade request: no session, no WebSocket', async (t) => {
    const app = await createApp(t, { engineMiddlewares: [{ end: { status: 503 } }] });
    await assert.rejects(app.ws(), (err) => !(err instanceof Rejected) || err.status !== 101);
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  for (const how of ['fail', 'throw']) {
    test(`D25 an error of a middleware (${how}) → 400 code 3`, async (t) => {
      const app = await createApp(t, { engineMiddlewares: [{ [how]: 'broken' }, {}] });
      const res = await app.get();
      assert.deepEqual([res.status, res.text], [400, '{"code":3,"message":"Bad request"}']);
      const error = await app.waitFor({ type: 'connection_error' });
      assert.deepEqual(error.context, { name: 'MIDDLEWARE_FAILURE' });
      await assert.rejects(app.ws(), (err) => err instanceof Rejected && err.body === 'Bad request');
      assert.equal(await app.do({ op: 'clientsCount' }), 0);
      assert.deepEqual((await app.entries({ type: 'engine_middleware' })).map((c) => c.index), [0, 0]);
    });
  }

  test('D26 the size limit holds with a middleware installed', async (t) => {
    const app = await createApp(t, { ...echo, engineMiddlewares: [{ delay: 10 }], options: { maxHttpBufferSize: 100 } });
    const session = await app.polling();
    assert.equal((await session.post('4'.repeat(100))).status, 200);
    assert.equal((await session.post('4'.repeat(101))).status, 413);
  });

  test('D27 error responses carry no cookie', async (t) => {
    const app = await createApp(t, { options: { cookie: true, allowRequest: { reject: true } } });
    assert.equal((await app.get()).headers['set-cookie'], undefined);
    assert.equal((await app.get({ query: { sid: 'nope' } })).headers['set-cookie'], undefined);
  });

  test('D01 D02 responses have no other headers', async (t) => {
    const app = await createApp(t, echo);
    const { post, get } = await exchange(await app.polling());
    const usual = ['connection', 'keep-alive', 'date'];
    for (const res of [post, get]) {
      assert.deepEqual(names(res).filter((n) => !usual.includes(n)).sort(), ['cache-control', 'content-length', 'content-type']);
    }
  });
});
