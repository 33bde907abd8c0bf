// Group E: the CORS option, on requests, preflights, refusals, the 101 and everything else below the path.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createApp } from '../lib/fixture.js';

const page = 'http://page.example';
const stranger = 'http://stranger.example';
const echo = { kind: 'engineio', engine: { echo: true } };

const start = (t, cors, config = {}) => createApp(t, { ...echo, ...config, options: { ...config.options, ...(cors && { cors }) } });

/** The CORS headers of a response, without the common prefix of their names; and Vary. */
function corsHeaders({ headers }) {
  const prefix = 'access-control-';
  const found = Object.entries(headers).filter(([name]) => name.startsWith(prefix) || name === 'vary');
  return Object.fromEntries(found.map(([name, value]) => [name.replace(prefix, ''), value]));
}

const from = (origin, headers = {}) => ({ headers: { Origin: origin, ...headers } });

/** A preflight as a browser sends it. */
const preflight = (app, { origin = page, headers, ...options } = {}) =>
  app.request({
    method: 'OPTIONS',
    ...options,
    headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', ...headers },
  });

describe('E CORS', { concurrency: 8 }, () => {
  test('E01 no CORS headers by default, anywhere', async (t) => {
    const app = await start(t);
    const session = await app.polling(from(page));
    const replies = [
      session.first,
      await session.post('4a'),
      await session.get(),
      await session.probe(),
      await app.ws(from(page)),
      await app.get({ query: { sid: 'unknown' }, ...from(page) }),
      await preflight(app),
    ];
    for (const reply of replies) assert.deepEqual(corsHeaders(reply), {});
    assert.deepEqual([replies.at(-1).status, replies.at(-1).text], [400, '{"code":2,"message":"Bad handshake method"}']);
  });

  for (const [name, cors] of [['*', { origin: '*' }], ['left out', {}]]) {
    test(`E02 origin ${name}: any origin, without Vary`, async (t) => {
      const app = await start(t, cors);
      for (const options of [from(page), {}]) {
        assert.deepEqual(corsHeaders(await app.get(options)), { 'allow-origin': '*' });
      }
    });
  }

  for (const [name, origin] of [['true', true], ['a pattern', { $regexp: '\\.example$' }]]) {
    test(`E03 origin ${name}: the request's origin, with Vary`, async (t) => {
      const app = await start(t, { origin });
      for (const one of [page, stranger]) {
        assert.deepEqual(corsHeaders(await app.get(from(one))), { 'allow-origin': one, vary: 'Origin' });
      }
    });
  }

  test('E03 E05 a pattern that does not match', async (t) => {
    const app = await start(t, { origin: { $regexp: '^https:' } });
    const res = await app.get(from(page));
    assert.equal(res.status, 200);
    assert.deepEqual(corsHeaders(res), { vary: 'Origin' });
  });

  test('E04 a fixed origin is given to every request', async (t) => {
    const app = await start(t, { origin: page });
    for (const options of [from(page), from(stranger), {}]) {
      assert.deepEqual(corsHeaders(await app.get(options)), { 'allow-origin': page, vary: 'Origin' });
    }
  });

  test('E05 a list: a member is reflected, others are served without the header', async (t) => {
    const app = await start(t, { origin: ['http://other.example', page, { $regexp: '^https://[a-z]+\\.test$' }] });
    for (const one of [page, 'http://other.example', 'https://abc.test']) {
      assert.deepEqual(corsHeaders(await app.get(from(one))), { 'allow-origin': one, vary: 'Origin' });
    }
    for (const options of [from(stranger), from('https://abc.test.evil'), from(`${page}.evil`), {}]) {
      const res = await app.get(options);
      assert.deepEqual([res.status, corsHeaders(res)], [200, { vary: 'Origin' }]);
    }
  });

  test('E05 E16 an origin function: allowed, refused, and failed', async (t) => {
    const app = await start(t, { origin: { $call: { allow: [page], fail: ['http://bad.example'] } } });
    assert.deepEqual(corsHeaders(await app.get(from(page))), { 'allow-origin': page, vary: 'Origin' });
    const refused = await app.get(from(stranger));
    assert.deepEqual([refused.status, corsHeaders(refused)], [200, {}]);
    const failed = await app.get(from('http://bad.example'));
    assert.deepEqual([failed.status, failed.text], [400, '{"code":3,"message":"Bad request"}']);
    const error = await app.waitFor({ type: 'connection_error' });
    assert.deepEqual([error.code, error.context], [3, { name: 'MIDDLEWARE_FAILURE' }]);
  });

  test('E03 E16 options chosen for each request', async (t) => {
    const app = await start(t, {
      $perRequest: { header: 'x-tenant', options: { a: { origin: page, credentials: true }, b: { origin: true } } },
    });
    const get = async (tenant) => corsHeaders(await app.get(from(stranger, tenant && { 'X-Tenant': tenant })));
    assert.deepEqual(await get('a'), { 'allow-origin': page, 'allow-credentials': 'true', vary: 'Origin' });
    assert.deepEqual(await get('b'), { 'allow-origin': stranger, vary: 'Origin' });
    assert.deepEqual(await get('c'), {});
    assert.deepEqual(await get(), {});
  });

  test('E06 E07 a preflight: 204, no body, the default methods', async (t) => {
    const app = await start(t, { origin: page });
    const res = await preflight(app);
    assert.deepEqual([res.status, res.text], [204, '']);
    // RFC 9110 forbids the length 0 that the reference sends with a 204, and net/http keeps to that.
    assert.equal(res.headers['content-length'] ?? '0', '0');
    const { vary, ...headers } = corsHeaders(res);
    assert.deepEqual(headers, { 'allow-origin': page, 'allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE' });
    assert.match(vary, /\bOrigin\b/);
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
    assert.deepEqual(await app.entries({ type: 'connection_error' }), []);
  });

  test('E07 methods, headers and age are only in the preflight', async (t) => {
    const app = await start(t, { origin: page, methods: ['GET', 'POST'], allowedHeaders: 'x-a', maxAge: 60, exposedHeaders: 'x-b' });
    assert.deepEqual(corsHeaders(await app.get(from(page))), { 'allow-origin': page, 'expose-headers': 'x-b', vary: 'Origin' });
  });

  for (const [form, listed] of [['lists', (names) => names], ['texts', (names) => names.join(',')]]) {
    test(`E08 configured methods, headers, exposed headers and age are sent, given as ${form}`, async (t) => {
      const app = await start(t, {
        origin: page,
        methods: listed(['GET', 'POST']),
        allowedHeaders: listed(['x-one', 'x-two']),
        exposedHeaders: listed(['x-three', 'x-four']),
        maxAge: 1234,
      });
      const { vary, ...headers } = corsHeaders(await preflight(app, { headers: { 'Access-Control-Request-Headers': 'x-other' } }));
      assert.deepEqual(headers, {
        'allow-origin': page,
        'allow-methods': 'GET,POST',
        'allow-headers': 'x-one,x-two',
        'expose-headers': 'x-three,x-four',
        'max-age': '1234',
      });
      assert.equal(vary, 'Origin');
    });
  }

  test('E08 an age of 0 is sent', async (t) => {
    const app = await start(t, { origin: '*', maxAge: 0 });
    assert.equal(corsHeaders(await preflight(app))['max-age'], '0');
  });

  test('E09 the status of a preflight can be chosen', async (t) => {
    const app = await start(t, { origin: '*', optionsSuccessStatus: 200 });
    const res = await preflight(app);
    assert.deepEqual([res.status, res.text, res.headers['content-length']], [200, '', '0']);
  });

  test('E10 requested headers are allowed when none are configured', async (t) => {
    const app = await start(t, { origin: '*' });
    const headers = corsHeaders(await preflight(app, { headers: { 'Access-Control-Request-Headers': 'x-a, Content-Type' } }));
    assert.equal(headers['allow-headers'], 'x-a, Content-Type');
    assert.equal(headers.vary, 'Access-Control-Request-Headers');
    assert.equal(corsHeaders(await preflight(app))['allow-headers'], undefined);
  });

  test('E10 both reasons to vary are named', async (t) => {
    const app = await start(t, { origin: page });
    const { vary } = corsHeaders(await preflight(app, { headers: { 'Access-Control-Request-Headers': 'x-a' } }));
    assert.deepEqual(vary.split(/, */).sort(), ['Access-Control-Request-Headers', 'Origin']);
  });

  test('E11 credentials are allowed on preflights and requests, also for an origin that does not match', async (t) => {
    const app = await start(t, { origin: [page], credentials: true });
    for (const origin of [page, stranger]) {
      for (const res of [await app.get(from(origin)), await preflight(app, { origin })]) {
        assert.equal(corsHeaders(res)['allow-credentials'], 'true');
        assert.equal(corsHeaders(res)['allow-origin'], origin === page ? page : undefined);
      }
    }
    assert.equal(corsHeaders(await app.ws(from(page)))['allow-credentials'], 'true');
  });

  test('E12 refusals and other errors have the headers', async (t) => {
    const app = await start(t, { origin: page, credentials: true }, { options: { maxHttpBufferSize: 100 } });
    const session = await app.polling(from(page));
    const replies = [
      [400, await app.get({ query: { sid: 'unknown' }, ...from(page) })],
      [400, await app.get({ query: { transport: 'unknown' }, ...from(page) })],
      [400, await app.get({ query: { EIO: '3' }, ...from(page) })],
      [400, await app.post('', from(page))],
      [500, await app.request({ method: 'PUT', query: { sid: session.sid }, ...from(page) })],
      [413, await session.post('4'.repeat(101))], // ends the session and the connection
    ];
    for (const [status, res] of replies) {
      assert.equal(res.status, status);
      assert.deepEqual(corsHeaders(res), { 'allow-origin': page, 'allow-credentials': 'true', vary: 'Origin' });
    }
  });

  test('E12 a refusal by allowRequest has the headers', async (t) => {
    const app = await start(t, { origin: '*' }, { options: { allowRequest: { reject: true } } });
    const res = await app.get(from(page));
    assert.deepEqual([res.status, corsHeaders(res)], [403, { 'allow-origin': '*' }]);
  });

  test('E13 the 101 has the headers, of a new session and of an upgrade', async (t) => {
    const app = await start(t, { origin: page, exposedHeaders: 'x-a' });
    const session = await app.polling(from(page));
    for (const ws of [await app.ws(from(page)), await session.probe()]) {
      assert.deepEqual(corsHeaders(ws), { 'allow-origin': page, 'expose-headers': 'x-a', vary: 'Origin' });
    }
  });

  test('E14 client files have the headers', async (t) => {
    const app = await start(t, { origin: page }, { kind: 'socketio' });
    const res = await app.get({ path: '/socket.io/socket.io.min.js', ...from(page) });
    assert.deepEqual([res.status, corsHeaders(res)['allow-origin']], [200, page]);
    assert.match(res.headers.vary, /^Origin(, Accept-Encoding)?$/); // the reference compresses files, but does not say so
  });

  test('E15 preflights are answered below the path, without a query, and with a session id', async (t) => {
    const app = await start(t, { origin: '*' });
    const session = await app.polling();
    const paths = [app.path, `${app.path}sub/path?x=1`, `${app.path}?transport=unknown`, `${app.path}?EIO=4&transport=polling&sid=unknown`];
    paths.push(app.target({ transport: 'polling', sid: session.sid }));
    for (const path of paths) {
      const res = await preflight(app, { path });
      assert.deepEqual([res.status, corsHeaders(res)['allow-origin']], [204, '*'], path);
    }
    const bare = await app.request({ method: 'OPTIONS', path: app.path });
    assert.equal(bare.status, 204);
    await session.send('4still here');
    assert.equal(await session.next(), '4still here');
  });

  test('E16 origin:false is as if there were no CORS', async (t) => {
    const app = await start(t, { origin: false, credentials: true, methods: 'GET' });
    assert.deepEqual(corsHeaders(await app.get(from(page))), {});
    const res = await preflight(app);
    assert.deepEqual([res.status, res.text, corsHeaders(res)], [400, '{"code":2,"message":"Bad handshake method"}', {}]);
  });

  test('E06 E15 preflightContinue leaves the answer to the verification', async (t) => {
    const app = await start(t, { origin: page, preflightContinue: true });
    const res = await preflight(app);
    assert.deepEqual([res.status, res.text], [400, '{"code":2,"message":"Bad handshake method"}']);
    assert.equal(corsHeaders(res)['allow-origin'], page);
    assert.equal(corsHeaders(res)['allow-methods'], 'GET,HEAD,PUT,PATCH,POST,DELETE');
  });

  for (const [name, cors] of [['none', undefined], ['a fixed origin', { origin: page }], ['a list', { origin: [page] }], ['false', { origin: false }]]) {
    test(`E17 a WebSocket from another origin is not refused: ${name}`, async (t) => {
      const app = await start(t, cors);
      const session = await app.websocket(from(stranger));
      await session.send('4hello');
      assert.equal(await session.next(), '4hello');
    });
  }

  test('E18 messages go through polling with CORS', async (t) => {
    const app = await start(t, { origin: true, credentials: true });
    const session = await app.polling(from(page));
    const want = { 'allow-origin': page, 'allow-credentials': 'true', vary: 'Origin' };
    for (const text of ['4one', '4two']) {
      const post = await session.post(text);
      const get = await session.get();
      assert.deepEqual([post.text, get.text], ['ok', text]);
      assert.deepEqual([corsHeaders(post), corsHeaders(get)], [want, want]);
      assert.equal(get.headers['cache-control'], 'no-store');
    }
  });

  test('E12 E15 headers of the hooks and of CORS stand beside each other', async (t) => {
    const app = await start(t, { origin: page }, { headers: { all: { 'x-all': '1' } }, engineMiddlewares: [{ setHeaders: { 'x-mw': '2' } }] });
    const session = await app.polling(from(page));
    const { headers } = session.first;
    assert.deepEqual([headers['x-all'], headers['x-mw'], headers['access-control-allow-origin']], ['1', '2', page]);
    // The preflight is answered before other middlewares have a say.
    const before = (await app.entries({ type: 'engine_middleware' })).length;
    assert.equal((await preflight(app)).headers['x-mw'], undefined);
    assert.equal((await app.entries({ type: 'engine_middleware' })).length, before);
  });
});
