// Group S: the official client's bundles, served by the server.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, test } from 'node:test';
import vm from 'node:vm';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { once } from '../lib/client.js';
import { createApp } from '../lib/fixture.js';
import { clientDist } from '../lib/target.js';

const bundles = ['socket.io.js', 'socket.io.min.js', 'socket.io.msgpack.min.js', 'socket.io.esm.min.js'];
const files = bundles.flatMap((name) => [[name, 'application/javascript'], [`${name}.map`, 'application/json']]);
const original = (name) => readFileSync(path.join(clientDist(), name));
const { version } = JSON.parse(readFileSync(path.join(clientDist(), '..', 'package.json')));
const etag = `"${version}"`;

const decoders = { br: brotliDecompressSync, gzip: gunzipSync, deflate: inflateSync };

describe('S client files', { concurrency: 8 }, () => {
  for (const [name, type] of files) {
    test(`${name.endsWith('.map') ? 'S02' : 'S01'} S04 ${name} is served as ${type}, with the version as its ETag`, async (t) => {
      const app = await createApp(t);
      const res = await app.get({ path: `/socket.io/${name}` });
      assert.equal(res.status, 200);
      assert.equal(res.headers['content-type'], `${type}; charset=utf-8`);
      assert.equal(res.headers.etag, etag);
      assert.equal(res.headers['cache-control'], 'public, max-age=0');
      assert.equal(res.headers['content-encoding'], undefined);
      assert.ok(res.body.equals(original(name)));
    });
  }

  for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.msgpack.min.js']) {
    test(`S01 ${name} runs as it is served, and says its version`, async (t) => {
      const app = await createApp(t);
      const { text } = await app.get({ path: `/socket.io/${name}` });
      const context = vm.createContext({});
      vm.runInContext(`var self = this; ${text}`, context);
      assert.equal(vm.runInContext('typeof io', context), 'function');
      assert.equal(vm.runInContext('typeof io.Manager', context), 'function');
      assert.ok(text.includes(`v${version}`));
    });
  }

  test('S03 the query string is ignored', async (t) => {
    const app = await createApp(t);
    for (const query of ['?', '?v=1&x=%00', '?EIO=4&transport=polling', '?/../socket.io.min.js']) {
      const res = await app.get({ path: `/socket.io/socket.io.js${query}` });
      assert.deepEqual([res.status, res.headers.etag, res.body.length], [200, etag, original('socket.io.js').length], query);
    }
  });

  for (const [value, status] of [
    [etag, 304], [`W/${etag}`, 304], ['"other"', 200], [version, 200], ['W/"other"', 200],
  ]) {
    test(`S05 If-None-Match ${value.replace(version, 'VERSION')} gives ${status}`, async (t) => {
      const app = await createApp(t);
      for (const name of ['socket.io.js', 'socket.io.min.js.map']) {
        const res = await app.get({ path: `/socket.io/${name}`, headers: { 'If-None-Match': value } });
        assert.equal(res.status, status);
        assert.equal(res.body.length, status === 304 ? 0 : original(name).length);
      }
    });
  }

  // [Accept-Encoding, encoding of the reply]
  const encodings = [
    ['gzip', 'gzip'], ['br', 'br'], ['deflate', 'deflate'], ['gzip, deflate, br', 'gzip'], ['br, gzip', 'br'], ['deflate, gzip', 'deflate'],
    ['gzip;q=0.5, br;q=0.8', 'br'], ['br;q=0, gzip;q=0.1', 'gzip'], ['*', 'br'], ['identity', undefined], ['gzip;q=0', undefined], ['zstd', undefined],
  ];
  for (const name of ['socket.io.js', 'socket.io.min.js.map']) {
    test(`S06 ${name} is compressed as the client prefers, in its order`, async (t) => {
      const app = await createApp(t);
      for (const [accept, encoding] of encodings) {
        const res = await app.get({ path: `/socket.io/${name}`, headers: { 'Accept-Encoding': accept } });
        assert.equal(res.headers['content-encoding'], encoding, accept);
        const body = encoding ? decoders[encoding](res.body) : res.body;
        assert.ok(body.equals(original(name)), accept);
        if (encoding) assert.ok(res.body.length < body.length / 2, accept);
        // The reference has one tag for all encodings, without Vary.
        assert.ok([etag, `"${version}-${encoding}"`].includes(res.headers.etag), accept);
      }
    });
  }

  test('S07 E14 the CORS option is applied to files, also when they are not modified', async (t) => {
    const app = await createApp(t, { options: { cors: { origin: 'http://page.example', credentials: true } } });
    for (const headers of [{}, { 'If-None-Match': etag }]) {
      const res = await app.get({ path: '/socket.io/socket.io.js', headers: { Origin: 'http://page.example', ...headers } });
      assert.equal(res.status, headers['If-None-Match'] ? 304 : 200);
      assert.equal(res.headers['access-control-allow-origin'], 'http://page.example');
      assert.equal(res.headers['access-control-allow-credentials'], 'true');
      assert.match(res.headers.vary, /Origin/);
    }
    const plain = await (await createApp(t)).get({ path: '/socket.io/socket.io.js', headers: { Origin: 'http://page.example' } });
    assert.equal(plain.headers['access-control-allow-origin'], undefined);
  });

  test('S08 an unknown file on the path is a bad request, one on another path is not found', async (t) => {
    const app = await createApp(t);
    for (const name of ['socket.io.other.js', 'socket.io.js.gz', 'package.json', '../package.json', 'socket.io.js/x', 'Socket.io.js']) {
      const res = await app.get({ path: `/socket.io/${name}` });
      assert.deepEqual([res.status, res.text], [400, '{"code":0,"message":"Transport unknown"}'], name);
    }
    for (const where of ['/socket.io.js', '/other/socket.io.js', '/socket.io']) {
      const res = await app.get({ path: where });
      assert.deepEqual([res.status, res.text], [404, 'no route'], where);
    }
  });

  test('S09 nothing is served when it is switched off, and the rest works', async (t) => {
    const app = await createApp(t, { options: { serveClient: false } });
    for (const [name] of files) {
      const res = await app.get({ path: `/socket.io/${name}` });
      assert.deepEqual([res.status, res.text], [400, '{"code":0,"message":"Transport unknown"}'], name);
    }
    await app.polling();
  });

  for (const start of ['constructor', 'attach', 'listen']) {
    test(`S10 files are served after ${start}`, async (t) => {
      const app = await createApp(t, { http: { start } });
      const res = await app.get({ path: '/socket.io/socket.io.min.js' });
      assert.deepEqual([res.status, res.headers.etag], [200, etag]);
      assert.ok(res.body.equals(original('socket.io.min.js')));
    });
  }

  test('S01 A25 files are below a custom path, and only there', async (t) => {
    const app = await createApp(t, { options: { path: '/my/path' } });
    assert.equal((await app.get({ path: '/my/path/socket.io.js' })).status, 200);
    assert.equal((await app.get({ path: '/socket.io/socket.io.js' })).status, 404);
  });

  test('S01 HEAD gives the headers only, and the connection goes on', async (t) => {
    const app = await createApp(t);
    const res = await app.request({ method: 'HEAD', path: '/socket.io/socket.io.js' });
    assert.deepEqual([res.status, res.headers.etag, res.body.length], [200, etag, 0]);
    assert.equal((await app.get({ path: '/socket.io/socket.io.js' })).status, 200);
  });

  test('S01 the served bundle connects to the server that served it', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { on: { ask: [{ op: 'ack', args: [{ $args: true }] }] } } } });
    const { text } = await app.get({ path: '/socket.io/socket.io.min.js' });
    const { XMLHttpRequest } = createRequire(import.meta.resolve('engine.io-client'))('xmlhttprequest-ssl');
    const context = vm.createContext({ XMLHttpRequest, setTimeout, clearTimeout, ArrayBuffer, Uint8Array });
    vm.runInContext(`var self = this; ${text}`, context);
    const socket = vm.runInContext(`io(${JSON.stringify(app.url)}, { transports: ['polling'], reconnection: false })`, context);
    app.onRelease(() => socket.io.disconnect());
    await once(socket, 'connect');
    assert.equal(await socket.emitWithAck('ask', 'é'), 'é');
  });
});
