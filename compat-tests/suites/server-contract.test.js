// The contract of compat-tests/server (README.md), which others use from outside: flags, events, start and end.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import msgpack from 'socket.io-msgpack-parser';
import { RS } from '../lib/packets.js';
import { freePort } from '../lib/port.js';
import { startServer } from '../lib/server.js';
import { transports } from '../lib/session.js';
import { until } from '../lib/wait.js';

/** Joins a namespace and takes the auth event that follows. */
async function join(session, nsp = '/', auth = undefined) {
  const data = await session.connect(nsp, auth);
  const prefix = nsp === '/' ? '42' : `42${nsp},`;
  assert.equal(await session.next(), `${prefix}["auth",${JSON.stringify(auth ?? {})}]`);
  return data.sid;
}

describe('the contract of compat-tests/server', { concurrency: 3 }, () => {
  test('M03 N08 N01 P04 the events of /socket.io/ and the echo of /engine.io/', async (t) => {
    const server = await startServer(t, {
      'ping-interval': '25s', 'ping-timeout': '20s', 'connect-timeout': '45s', 'max-payload': '1000000', 'cors-origin': '*',
    });
    assert.equal(server.line, `listening on 127.0.0.1:${server.port}`);
    for (const [, open] of transports) {
      const raw = await open(server.engine);
      await raw.send('4text €', Buffer.from([1, 2, 3]), '4');
      assert.deepEqual([await raw.next(), await raw.next(), await raw.next()], ['4text €', Buffer.from([1, 2, 3]), '4']);

      const session = await open(server.socket);
      const { pingInterval, pingTimeout, maxPayload } = session.open;
      assert.deepEqual([pingInterval, pingTimeout, maxPayload], [25000, 20000, 1000000]);
      await join(session, '/', { token: '123' });
      await join(session, '/custom');
      await session.send('42["message",1,"2",{"3":[true,null]}]');
      assert.equal(await session.next(), '42["message-back",1,"2",{"3":[true,null]}]');
      await session.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', Buffer.from([1]), Buffer.from([2]));
      assert.equal(await session.next(), '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      assert.deepEqual([await session.next(), await session.next()], [Buffer.from([1]), Buffer.from([2])]);
      await session.send('42456["message-with-ack",1,"2",{"3":[false]}]');
      assert.equal(await session.next(), '43456[1,"2",{"3":[false]}]');
      await session.send('420["echo",{"a":1}]');
      assert.equal(await session.next(), '430[{"a":1}]');
      await session.send('40/random');
      assert.equal(await session.next(), '44/random,{"message":"Invalid namespace"}');

      const other = await open(server.socket);
      await join(other);
      await other.send('42["bcast",{"to":"all"}]');
      for (const one of [other, session]) assert.equal(await one.next(), '42["msg",{"to":"all"}]');
      await other.close();
    }
    assert.equal((await server.socket.get({ headers: { Origin: 'http://a.example' } })).headers['access-control-allow-origin'], '*');
    assert.equal((await server.engine.get()).headers['access-control-allow-origin'], '*');
  });

  test('I01 G19 M15 E01 the flags are obeyed', async (t) => {
    const server = await startServer(t, {
      'ping-interval': '300ms', 'ping-timeout': '2.5s', 'connect-timeout': '3s', 'max-payload': '500', 'cors-origin': '',
    });
    for (const endpoint of [server.engine, server.socket]) {
      const session = await endpoint.polling();
      const { pingInterval, pingTimeout, maxPayload } = session.open;
      assert.deepEqual([pingInterval, pingTimeout, maxPayload], [300, 2500, 500]);
      assert.equal(session.first.headers['access-control-allow-origin'], undefined);
      assert.equal(await session.next(), '2');
      await session.expectClosed();
      assert.equal((await (await endpoint.polling()).post('4'.repeat(501))).status, 413);
    }
    const idle = await server.socket.websocket();
    idle.autoPong = true;
    await assert.rejects(async () => {
      for (;;) await idle.next();
    }, /close 1005/);
    assert.equal((await server.socket.get({ query: { EIO: '3' } })).status, 400);
  });

  test('T09 K08 SIGTERM closes the clients and ends the program with status 0; its port is free again', async (t) => {
    const server = await startServer(t, { addr: `127.0.0.1:${await freePort()}` });
    const polling = await server.socket.polling();
    await join(polling);
    const websocket = await server.socket.websocket();
    await join(websocket);
    const raw = await server.engine.websocket();
    const parked = polling.get();
    parked.catch(() => {});
    const stopped = server.stop();
    assert.equal(await websocket.ws.code(), 1005);
    assert.equal(await raw.ws.code(), 1005);
    const reply = await parked.catch(() => undefined); // cut with the process, or refused, if it was not parked in time
    if (reply?.status === 200) assert.ok(['1', `6${RS}1`].includes(reply.text), reply.text);
    await stopped;
    const next = await until('the port to be free', () => startServer(t, { addr: `127.0.0.1:${server.port}` }).catch(() => false));
    await join(await next.socket.websocket());
  });

  test('L28 -allow-eio3 lets clients of protocol v3 in', async (t) => {
    const server = await startServer(t, { 'allow-eio3': true });
    const first = await server.engine.get({ query: { EIO: '3' } });
    const [, length, packet] = /^(\d+):([^]*)$/.exec(first.text);
    assert.equal(packet.length, Number(length));
    const { sid } = JSON.parse(packet.slice(1));
    await server.engine.post('6:4hello', { query: { EIO: '3', sid } });
    assert.equal((await server.engine.get({ query: { EIO: '3', sid } })).text, '6:4hello');
    const implicit = await server.socket.get({ query: { EIO: '3' } });
    const { sid: v2 } = JSON.parse(/\{[^]*\}/.exec(implicit.text)[0]);
    assert.match((await server.socket.get({ query: { EIO: '3', sid: v2 } })).text, /^2:40/);
  });

  test('R02 -recovery gives clients a pid', async (t) => {
    const server = await startServer(t, { recovery: '1m' });
    const session = await server.socket.websocket();
    assert.deepEqual(Object.keys(await session.connect()), ['sid', 'pid']);
  });

  test('H16 -deflate negotiates permessage-deflate', async (t) => {
    const server = await startServer(t, { deflate: true });
    const ws = await server.socket.ws({ headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    assert.equal(ws.headers['sec-websocket-extensions'], 'permessage-deflate');
  });

  test('N01 -parser msgpack speaks the MessagePack parser', async (t) => {
    const server = await startServer(t, { parser: 'msgpack' });
    const session = await server.socket.websocket();
    const encoder = new msgpack.Encoder();
    const decoder = new msgpack.Decoder();
    const receive = async () => {
      let packet;
      decoder.once('decoded', (p) => (packet = p));
      decoder.add(await session.next());
      return packet;
    };
    await session.send(encoder.encode({ type: 0, nsp: '/', data: {} })[0]);
    assert.deepEqual([(await receive()).type, (await receive()).data], [0, ['auth', {}]]);
    await session.send(encoder.encode({ type: 2, nsp: '/', data: ['message', 1, Buffer.from([1, 2])] })[0]);
    assert.deepEqual((await receive()).data, ['message-back', 1, Buffer.from([1, 2])]);
  });

  test('G02 a payload of several packets goes through the whole program', async (t) => {
    const server = await startServer(t);
    const session = await server.engine.polling();
    await session.post(`4a${RS}b${Buffer.from([9]).toString('base64')}${RS}4c`);
    assert.equal((await session.get()).text, `4a${RS}bCQ==${RS}4c`);
  });
});
