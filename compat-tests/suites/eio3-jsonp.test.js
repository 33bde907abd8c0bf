// Group L, JSONP: poll responses as calls of a function, POSTs as forms.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import vm from 'node:vm';
import { bin, createApp } from '../lib/fixture.js';
import { RS } from '../lib/packets.js';

const start = (t, config = {}) =>
  createApp(t, { kind: 'engineio', engine: { echo: true, log: true }, ...config, options: { allowEIO3: true, ...config.options } });

/** The payload in a JSONP response: what the function of this index is called with when the response is run as a script. */
function payloadOf(res, index) {
  assert.equal(res.status, 200, res.text);
  const calls = [];
  const sandbox = { ___eio: Object.assign([], { [index]: (payload) => calls.push(payload) }) };
  vm.runInNewContext(res.text, sandbox);
  assert.equal(calls.length, 1);
  return calls[0];
}

/** A JSONP session spoken by hand. */
class Session {
  constructor(app, query, first) {
    const index = query.j;
    Object.assign(this, { app, index, first });
    this.sid = JSON.parse(/\{[^]*\}/.exec(payloadOf(first, index))[0]).sid;
    this.query = { ...query, sid: this.sid };
  }

  static async open(app, { EIO = '3', j = '0', ...rest } = {}) {
    const query = { EIO, j, ...rest };
    return new Session(app, query, await app.get({ query }));
  }

  get() {
    return this.app.get({ query: this.query });
  }

  async payload() {
    return payloadOf(await this.get(), this.index);
  }

  /** Posts a form. fields: names and values. */
  form(fields, headers = {}) {
    const body = new URLSearchParams(fields).toString();
    return this.app.post(body, { query: this.query, headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers } });
  }

  /** Posts a payload as clients do: newlines escaped, so that no form encoding changes them. */
  async post(payload) {
    const res = await this.form({ d: payload.replaceAll('\\n', '\\\\n').replaceAll('\n', '\\n') });
    assert.deepEqual([res.status, res.text], [200, 'ok']);
    return res;
  }
}

describe('L JSONP', { concurrency: 8 }, () => {
  test('L24 a poll response is a call', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    const { headers, text } = session.first;
    assert.match(text, /^___eio\[0\]\("\d+:0\{\\"sid\\":\\"[\w-]{20}\\",.*\}"\);$/);
    assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(Number(headers['content-length']), session.first.body.length);
    await session.post('6:4hello');
    assert.equal((await session.get()).text, '___eio[0]("6:4hello");');
  });

  test('L24 a GET that was parked', async (t) => {
    const app = await start(t);
    const session = await Session.open(app, { j: '7' });
    const { reply } = await app.park(session);
    await app.do({ op: 'sessionSend', sid: session.sid, data: 'later' });
    assert.equal((await reply).text, '___eio[7]("6:4later");');
  });

  test('L24 over Engine.IO v4 as well', async (t) => {
    const app = await start(t);
    const session = await Session.open(app, { EIO: '4', j: '3' });
    await session.post(`4a${RS}4b`);
    const { text } = await session.get();
    assert.equal(payloadOf({ status: 200, text }, '3'), `4a${RS}4b`);
  });

  // [j, digits]
  for (const [j, digits] of [['0', '0'], ['12', '12'], ['0x12', '012'], ['7);alert(1', '71'], ['a1b2', '12'], ['abc', ''], ['-5', '5'], ['1.5', '15']]) {
    test(`L25 the index of j=${j} is "${digits}"`, async (t) => {
      const app = await start(t);
      const { status, text } = await app.get({ query: { EIO: '3', j } });
      assert.equal(status, 200);
      assert.ok(text.startsWith(`___eio[${digits}]("`), text);
    });
  }

  test('L25 the index is that of the first request', async (t) => {
    const app = await start(t);
    const session = await Session.open(app, { j: '4' });
    await session.post('2:4a');
    const { text } = await app.get({ query: { ...session.query, j: '9' } });
    assert.equal(text, '___eio[4]("2:4a");');
  });

  test('L26 line separators are escaped, nothing else is', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    const data = 'a\u2028b\u2029c<>&/</script>é😀"\\\n';
    await app.do({ op: 'sessionSend', sid: session.sid, data });
    const { text } = await session.get();
    assert.equal(text, `___eio[0]("${data.length + 1}:4a\\u2028b\\u2029c<>&/</script>é😀\\"\\\\\\n");`);
  });

  for (const EIO of ['3', '4']) {
    test(`L24 L26 every character arrives as it was sent, EIO ${EIO}`, async (t) => {
      const app = await start(t);
      const session = await Session.open(app, { EIO });
      let data = '\ufeff€😀\u2028\u2029';
      for (let code = 0; code < 256; code++) if (EIO === '3' || String.fromCharCode(code) !== RS) data += String.fromCharCode(code);
      await app.do({ op: 'sessionSend', sid: session.sid, data });
      assert.equal(await session.payload(), EIO === '3' ? `${data.length + 1}:4${data}` : `4${data}`);
    });
  }

  // [what, value of d, message as the server gets it]
  const forms = [
    ['a plain payload', '6:4hello', 'hello'],
    ['an escaped newline', '4:4a\\nb', 'a\nb'],
    ['an escaped backslash before an n', '5:4a\\\\nb', 'a\\nb'],
    ['a plus and a percent sign', '5:4a+b%', 'a+b%'],
    ['characters beyond ASCII', '4:4€😀', '€😀'],
    ['a quote and an ampersand', '4:4"&=', '"&='],
  ];
  for (const [what, d, message] of forms) {
    test(`L27 ${what} in the form`, async (t) => {
      const app = await start(t);
      const session = await Session.open(app);
      const { status, text, headers } = await session.form({ d });
      assert.deepEqual([status, text, headers['content-type'], headers['content-length']], [200, 'ok', 'text/html', '2']);
      const got = await app.waitFor((e) => e.type === 'message' || e.type === 'session_close');
      assert.equal(got.data, message);
    });
  }

  test('L27 the form of v4', async (t) => {
    const app = await start(t);
    const session = await Session.open(app, { EIO: '4' });
    await session.form({ d: `4a\\nb${RS}bAQID` });
    await app.waitFor({ type: 'message', data: bin([1, 2, 3]) });
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['a\nb', bin([1, 2, 3])]);
  });

  test('L27 a form without d is answered and ignored', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    for (const fields of [{ other: '2:4a' }, {}]) {
      const res = await session.form(fields);
      assert.deepEqual([res.status, res.text], [200, 'ok']);
    }
    await session.post('6:4after');
    assert.equal(await session.payload(), '6:4after');
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), ['after']);
  });

  test('L27 L14 a form with a bad payload ends the session', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    await session.form({ d: '99:4a' });
    await app.expectClose(session.sid, 'parse error');
    assert.equal((await session.get()).status, 400);
  });

  test('L27 the limit holds for forms', async (t) => {
    const app = await start(t, { options: { maxHttpBufferSize: 100 } });
    const session = await Session.open(app);
    assert.equal((await session.form({ d: `200:4${'x'.repeat(199)}` })).status, 413);
    const { description } = await app.expectClose(session.sid, 'transport error');
    assert.equal(description, 'payload too large');
  });

  test('L24 L11 binary goes as base64 both ways', async (t) => {
    const app = await start(t);
    const session = await Session.open(app, { b64: '1' });
    await session.post('6:b4AQID2:4a');
    assert.equal(await session.payload(), '6:b4AQID2:4a');
    assert.deepEqual((await app.entries({ type: 'message' })).map((e) => e.data), [bin([1, 2, 3]), 'a']);
  });

  test('L17 L24 the end of a session', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    await app.do({ op: 'sessionClose', sid: session.sid });
    assert.equal((await session.get()).text, '___eio[0]("1:61:1");');
    const res = await session.get();
    assert.deepEqual([res.status, res.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  });

  test('L24 L16 a JSONP session can be upgraded', async (t) => {
    const app = await start(t);
    const session = await Session.open(app);
    const { reply } = await app.park(session);
    const ws = await app.ws({ query: session.query });
    ws.send('2probe');
    assert.equal(await ws.message(), '3probe');
    assert.equal((await reply).text, '___eio[0]("1:6");');
    ws.send('5');
    ws.send('4hello');
    assert.equal(await ws.message(), '4hello');
  });
});
