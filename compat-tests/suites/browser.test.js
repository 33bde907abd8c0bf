// The official client in a real browser: the page comes from one origin, the client's bundle and the server from another.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { test, usePages } from '../lib/browser.js';
import { bin } from '../lib/fixture.js';
import { SOON } from '../lib/wait.js';

describe('browser', { concurrency: 3 }, () => {
  const { start } = usePages();

  for (const bundle of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js', 'socket.io.msgpack.min.js']) {
    test(`S01 S07 E18 ${bundle} is loaded from the server, connects, upgrades, and exchanges events and binary`, async (t) => {
      const options = bundle.includes('msgpack') ? { parser: 'msgpack' } : {};
      const { app, page, connect } = await start(t, { bundle, options });
      const { id } = await connect({ auth: { token: 'é' } });
      assert.equal(await page.evaluate(() => upgraded()), 'websocket');
      const entry = await app.waitFor({ type: 'connection' });
      assert.deepEqual([entry.id, entry.handshake.auth, entry.handshake.xdomain], [id, { token: 'é' }, true]);
      const got = await page.evaluate(async () => {
        const value = { n: [1, 1.5, -1, null, true], s: 'é文字😀\u2028', o: { '': {} } };
        const reply = await within('ack', window.socket.emitWithAck('ask', value));
        const [type, bytes] = await describe(await within('ack', window.socket.emitWithAck('ask', new Uint8Array([0, 1, 255]).buffer)));
        return [JSON.stringify(reply) === JSON.stringify(value), ['ArrayBuffer', 'Uint8Array'].includes(type), bytes];
      });
      assert.deepEqual(got, [true, true, [0, 1, 255]]);
    });
  }

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const name = transports.join(' then ');

    test(`N01 N04 N05 N06 Blob, ArrayBuffer, typed arrays, unicode and 900 kB each way (${name})`, async (t) => {
      const { page, connect } = await start(t, { options: { maxHttpBufferSize: 4_000_000 } });
      await connect({ transports });
      const got = await page.evaluate(async () => {
        const ask = (...args) => within('ack', new Promise((resolve) => window.socket.emit('ask', ...args, (...all) => resolve(all))));
        const bytes = Uint8Array.from({ length: 900_000 }, (_, i) => i % 251);
        const text = 'ü😀'.repeat(150_000);
        const [blob, buffer, nested, words] = await ask(
          new Blob([new Uint8Array([1, 2]), 'x']), new Uint8Array([3, 4]).buffer, [{ deep: new Uint8Array([5]) }, new ArrayBuffer(0)], new Uint16Array([256, 1]),
        );
        const [large] = await ask(bytes);
        const [largeText] = await ask(text);
        const largeBytes = (await describe(large))[1];
        return {
          blob: await describe(blob),
          buffer: await describe(buffer),
          nested: [await describe(nested[0].deep), await describe(nested[1])],
          words: await describe(words),
          large: largeBytes.length === bytes.length && largeBytes.every((b, i) => b === bytes[i]),
          text: largeText === text,
          errors,
        };
      });
      const buffer = (...bytes) => ['ArrayBuffer', bytes];
      assert.deepEqual(got, {
        blob: buffer(1, 2, 120), buffer: buffer(3, 4), nested: [buffer(5), buffer()], words: buffer(0, 1, 1, 0), large: true, text: true, errors: [],
      });
    });

    test(`N07 N16 N18 the server asks the page, with binary, and the page answers or does not (${name})`, async (t) => {
      const { app, page, connect } = await start(t);
      const { id } = await connect({ transports });
      await page.evaluate(() => {
        window.socket.on('q', async (arg, ack) => ack('from page', { bytes: arg }, (await describe(arg))[1]));
      });
      assert.deepEqual(await app.do({ op: 'emitAck', socket: id, args: ['q', bin('hi')], timeout: SOON }), ['from page', { bytes: bin('hi') }, [104, 105]]);
      assert.deepEqual(await app.do({ op: 'emitAck', args: ['q', bin('all')], timeout: SOON }), ['from page']);
      await assert.rejects(app.do({ op: 'emitAck', socket: id, args: ['unheard'], timeout: 200 }), { message: 'operation has timed out' });
      assert.equal(await page.evaluate(() => window.socket.timeout(200).emitWithAck('unheard').catch((err) => err.message)), 'operation has timed out');
    });

    test(`N20 J11 2,000 events each way in order (${name})`, async (t) => {
      const { page, connect } = await start(t);
      await connect({ transports });
      const wrong = await page.evaluate(() => within('the events', new Promise((resolve) => {
        let count = 0;
        window.socket.on('back', (n) => {
          if (n !== count++) resolve(`${n} instead of ${count - 1}`);
          if (count === 2000) resolve(undefined);
        });
        for (let i = 0; i < 2000; i++) window.socket.emit('message', i);
      }), 60_000));
      assert.equal(wrong, undefined);
    });
  }

  test('O03 O04 M05 a page that is refused is told why', async (t) => {
    const { page, connect } = await start(t, { namespaces: { '/': { middlewares: [{ fail: { message: 'not you – nö', data: { code: 7 } } }] } } });
    await assert.rejects(connect(), /not you – nö/);
    assert.deepEqual(await page.evaluate(() => [window.socket.connected, window.ends]), [false, []]);
  });
});
