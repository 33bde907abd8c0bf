// Group V, but V06: what bad input and bad clients must not do to the server and to others.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { encodeText, transports3 } from '../lib/eio3.js';
import { bin, createApp } from '../lib/fixture.js';
import { transports } from '../lib/session.js';
import { isGo, isTLS } from '../lib/target.js';
import { SOON, until, within } from '../lib/wait.js';
import { encodeFrame, upgradeRequest } from '../lib/websocket.js';

const [[, polling], [, websocket]] = transports;
const [[, polling3], [, websocket3]] = transports3;

/** The n-th of an endless row of bytes that look random and are the same in every run. */
function noise(seed, length) {
  const blocks = [];
  for (let i = 0; i * 64 < length; i++) blocks.push(createHash('sha512').update(`${seed}/${i}`).digest());
  return Buffer.concat(blocks).subarray(0, length);
}

/** A connected client of a Socket.IO app, and a check that it is still served. */
async function joined(app, open = websocket) {
  const session = await open(app);
  session.autoPong = true;
  const { sid: id } = await session.connect();
  const check = async (text) => {
    await session.send(`42["echo",${JSON.stringify(text)}]`);
    const { data } = await session.nextPacket();
    assert.deepEqual(data.slice(0, 2), ['echo', text]); // with recovery an offset follows
  };
  return { session, id, check };
}

/** Options of apps whose clients poll, and answer pings, only now and then. */
const patient = { pingInterval: 600_000 };

const echo = { '/': { on: { echo: [{ op: 'emit', args: ['echo', { $args: true }] }] } } };

describe('V counts', { concurrency: 4 }, () => {
  // [what, how a client comes and goes, options, config]. It may leave any session half open: the test ends when the server has none.
  const short = { pingInterval: 100, pingTimeout: 100 };
  const kinds = [
    ['a client closes its polling session', async (app) => (await joined(app, polling)).session.close()],
    ['a client closes its WebSocket', async (app) => (await joined(app)).session.close()],
    ['a client cuts its connection', async (app) => (await joined(app)).session.ws.destroy()],
    ['a client resets its connection', async (app) => (await joined(app)).session.ws.connection.reset()],
    ['a client ends its side without a close frame', async (app) => (await joined(app)).session.ws.connection.end()],
    ['a client leaves its namespace and closes', async (app) => {
      const { session } = await joined(app);
      await session.send('41');
      await session.close();
    }],
    ['a poll is cut', async (app) => {
      const { session } = await joined(app, polling);
      const { reply } = await app.park(session);
      reply.catch(() => {});
      app.agent.destroy();
    }],
    ['two polls overlap', async (app) => {
      const { session } = await joined(app, polling);
      await app.park(session);
      await session.get();
    }],
    ['a bad Engine.IO packet, polling', async (app) => (await joined(app, polling)).session.post('~')],
    ['a bad Engine.IO packet, WebSocket', async (app) => (await joined(app)).session.send('~')],
    ['a bad Socket.IO packet, polling', async (app) => {
      const { session } = await joined(app, polling);
      await session.post('4~');
      await session.expectClosed();
    }],
    ['a bad Socket.IO packet, WebSocket', async (app) => (await joined(app)).session.send('4~')],
    ['a bad frame', async (app) => (await joined(app)).session.ws.frame({ mask: false })],
    ['a message that is too large', async (app) => (await joined(app)).session.ws.frame({ length: 2000000 })],
    ['attachments that never come', async (app) => {
      const { session } = await joined(app);
      await session.send('452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', Buffer.from([1]));
      session.ws.destroy();
    }],
    ['nobody answers pings, polling', async (app) => polling(app), { options: short }],
    ['nobody answers pings, WebSocket', async (app) => websocket(app), { options: short }],
    ['nobody joins a namespace', async (app) => websocket(app), { options: { connectTimeout: 100 } }],
    ['a client gives up while a middleware waits', async (app) => {
      const session = await websocket(app);
      await session.send('40/slow,');
      await app.waitFor({ type: 'middleware' });
      session.ws.destroy();
      await app.expectClose(session.sid, 'transport close');
      await app.do({ op: 'release', gate: 'go' });
    }, { namespaces: { '/slow': { middlewares: [{ actions: [{ op: 'wait', gate: 'go' }] }] } } }],
    ['a client gives up between probe and upgrade', async (app) => {
      const { session } = await joined(app, polling);
      (await session.probe()).destroy();
      await session.close();
    }],
    ['a client cuts an upgraded connection', async (app) => {
      const { session } = await joined(app, polling);
      (await session.upgrade()).ws.destroy();
    }],
    ['the server disconnects a socket and its connection', async (app) => {
      const { id } = await joined(app);
      await app.do({ op: 'disconnect', socket: id, close: true });
    }],
    ['the server disconnects all over polling', async (app) => {
      const { session } = await joined(app, polling);
      await app.do({ op: 'disconnect', close: true });
      await session.expectClosed();
    }],
    ['the server closes the session', async (app) => {
      const { id } = await joined(app);
      await app.do({ op: 'sessionClose', socket: id });
    }],
    ['the server discards the session', async (app) => {
      const { id } = await joined(app, polling);
      await app.do({ op: 'sessionClose', socket: id, discard: true });
    }],
    ['the engine is closed', async (app) => {
      await joined(app);
      await joined(app, polling);
      await app.do({ op: 'closeEngine' });
    }],
    ['the server is closed', async (app) => {
      await joined(app);
      await joined(app, polling);
      await app.do({ op: 'closeServer' });
    }],
    ['a client of v2 closes, polling', async (app) => (await polling3(app)).close(), { options: { allowEIO3: true } }],
    ['a client of v2 cuts its connection', async (app) => (await websocket3(app)).ws.destroy(), { options: { allowEIO3: true } }],
    ['a client of v2 does not ping', async (app) => polling3(app), { options: { allowEIO3: true, ...short } }],
    ['a client of v2 sends a bad payload', async (app) => (await polling3(app)).post('99:4a'), { options: { allowEIO3: true } }],
  ];
  for (const [what, come, config = {}] of kinds) {
    test(`V01 nobody is left when ${what}`, async (t) => {
      const app = await createApp(t, {
        record: ['rooms'],
        ...config,
        namespaces: { '/': { onConnection: [{ op: 'join', rooms: ['room'] }] }, ...config.namespaces },
      });
      await come(app);
      await until('no clients', async () => (await app.do({ op: 'clientsCount' })) === 0);
      const of = async (type) => (await app.entries({ type })).length;
      for (const [end, begin] of [['session_close', 'session'], ['leave-room', 'join-room'], ['delete-room', 'create-room'], ['disconnect', 'connection']]) {
        await until(`every ${end}`, async () => (await of(end)) === (await of(begin)));
      }
      assert.deepEqual(await app.do({ op: 'sessions' }), []);
      assert.deepEqual(await app.do({ op: 'fetch' }), []);
      assert.deepEqual(await app.do({ op: 'rooms' }), {});
    });
  }

  test('V01 many clients come and go in every way at once', async (t) => {
    const app = await createApp(t, { namespaces: { '/': { onConnection: [{ op: 'join', rooms: ['room'] }] } } });
    const leave = [
      ({ session }) => session.close(),
      ({ session }) => (session.ws ? session.ws.destroy() : session.post('~')),
      ({ session }) => session.send('4~').catch(() => {}),
      ({ id }) => app.do({ op: 'disconnect', socket: id, close: true }),
      ({ session }) => (session.ws ? session.ws.connection.reset() : session.close()),
    ];
    await Promise.all(Array.from({ length: 60 }, async (_, i) => {
      const client = await joined(app, i % 2 ? polling : websocket);
      await leave[i % leave.length](client);
      // The close packet waits for a poll.
      if (i % 2 && [leave[2], leave[3]].includes(leave[i % leave.length])) await client.session.expectClosed();
    }));
    await until('no clients', async () => (await app.do({ op: 'clientsCount' })) === 0);
    const connections = await app.entries({ type: 'connection' });
    const ends = await app.waitForAll({ type: 'disconnect' }, connections.length);
    assert.deepEqual(await app.do({ op: 'rooms' }), {});
    assert.deepEqual(ends.map((e) => e.id).sort(), connections.map((e) => e.id).sort());
  });
});

describe('V bad input', { concurrency: 4 }, () => {
  /** Starts an app, and does something to it while a well-behaved client on each transport goes on. */
  async function harass(t, { options }, attack) {
    const app = await createApp(t, { namespaces: echo, options: { ...patient, ...options } });
    const good = [await joined(app, polling), await joined(app)];
    await attack(app, async () => {
      for (const { check } of good) await check('still here');
    });
    for (const { check } of good) await check('still here €');
    await (await joined(app)).check('and new ones');
  }

  test('V02 random bytes on the port', async (t) => {
    await harass(t, {}, async (app, check) => {
      for (let i = 0; i < 40; i++) {
        const connection = await app.tcp();
        connection.write(noise(`port ${i}`, 1 + (i * 37) % 3000));
        if (i % 2) connection.end();
        if (i % 10 === 9) await check();
      }
    });
  });

  test('V02 requests with something wrong in them', async (t) => {
    const target = '/socket.io/?EIO=4&transport=polling';
    const requests = [
      `GET ${target} HTTP/1.1\r\n\r\n`,
      `GET ${target}\r\n\r\n`,
      `GET ${target} HTTP/9.9\r\nHost: x\r\n\r\n`,
      `G\u0000T ${target} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET ${target}\u0000 HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET /socket.io/%zz?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET /socket.io/?EIO=4&transport=polling&%zz=%&%ff=%00 HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET http://[::1/socket.io/?EIO=4 HTTP/1.1\r\nHost: x\r\n\r\n`,
      `OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n`,
      `CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n`,
      `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`,
      `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `POST ${target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: x\r\nCookie: ${'a='.repeat(2000)}\r\n\r\n`,
      `GET ${target}&x=${'y'.repeat(20000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET ${target} HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(3000)}\r\n`,
      upgradeRequest('/socket.io/?EIO=4&transport=websocket', { key: '' }),
      upgradeRequest('/socket.io/?EIO=4&transport=websocket', { headers: { 'Sec-WebSocket-Extensions': '; ; ,permessage-deflate; x="' } }),
      upgradeRequest('/socket.io/?EIO=4&transport=websocket', { headers: { 'Sec-WebSocket-Protocol': ',,\u0001' } }),
      upgradeRequest('/socket.io/?EIO=4&transport=websocket&sid=%00%ff'),
      upgradeRequest('*'),
    ];
    await harass(t, { options: { perMessageDeflate: true } }, async (app, check) => {
      for (const request of requests) {
        const connection = await app.tcp();
        connection.write(request);
        connection.end();
        await within(SOON, `an end for ${request.slice(0, 100)}`, connection.closed);
        connection.destroy();
      }
      await check();
    });
  });

  for (const perMessageDeflate of [false, true]) {
    test(`V02 random bytes on a WebSocket${perMessageDeflate ? ' with compression' : ''}`, async (t) => {
      await harass(t, { options: { perMessageDeflate } }, async (app, check) => {
        const headers = perMessageDeflate ? { 'Sec-WebSocket-Extensions': 'permessage-deflate' } : {};
        for (let i = 0; i < 40; i++) {
          const ws = await app.ws({ headers });
          await ws.message();
          ws.write(noise(`ws ${i}`, 1 + (i * 53) % 2000));
          ws.connection.end();
          await ws.closed;
          if (i % 10 === 9) await check();
        }
      });
    });

    test(`V02 frames with random content${perMessageDeflate ? ' and compression' : ''}`, async (t) => {
      await harass(t, { options: { perMessageDeflate } }, async (app, check) => {
        const headers = perMessageDeflate ? { 'Sec-WebSocket-Extensions': 'permessage-deflate' } : {};
        for (let i = 0; i < 60; i++) {
          const ws = await app.ws({ headers });
          await ws.message();
          const random = noise(`frame ${i}`, 300);
          ws.send('40');
          ws.frame({ opcode: 1 + (i % 2), rsv: perMessageDeflate && i % 3 ? 4 : 0, payload: random });
          for (let k = 0; k < 5; k++) {
            ws.frame({ opcode: random[k] & 15, fin: (random[k] & 16) !== 0, rsv: random[k] & 32 ? 4 : 0, payload: random.subarray(0, random[k + 10]) });
          }
          ws.connection.end();
          await ws.closed;
          if (i % 20 === 19) await check();
        }
      });
    });
  }

  test('V02 packets that are almost right', async (t) => {
    const right = [
      '40', '40/x,{"a":1}', '41', '42["echo",1]', '4212["echo",{"a":[1,2,{"b":null}]}]', '43["x"]', '430[1]', '44{"message":"x"}',
      '452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', '461-0[{"_placeholder":true,"num":0}]', '42/x,["echo"]', '2', '3', 'bAQID', '1',
    ];
    await harass(t, {}, async (app, check) => {
      for (const [i, packet] of right.entries()) {
        // Each packet with a byte changed, left out, doubled, or cut.
        for (let k = 0; k < 12; k++) {
          const random = noise(`packet ${i} ${k}`, 4);
          const bytes = [...Buffer.from(packet)];
          const at = random[0] % bytes.length;
          const changes = [
            () => (bytes[at] = random[1] & 127),
            () => bytes.splice(at, 1),
            () => bytes.splice(at, 0, bytes[at]),
            () => bytes.splice(at),
          ];
          changes[k % 4]();
          const open = k % 3 ? websocket : polling;
          const session = await open(app);
          await session.send('40').catch(() => {});
          const mutated = Buffer.from(bytes).toString('latin1');
          if (open === websocket) {
            await session.send(mutated, Buffer.from([1]), '42["echo",2]');
            session.ws.connection.end();
            await session.ws.closed;
          } else {
            await session.post(mutated);
            await session.post('1');
          }
        }
        if (i % 4 === 3) await check();
      }
    });
  });

  test('V02 payloads of v3 and forms with anything in them', async (t) => {
    await harass(t, { options: { allowEIO3: true } }, async (app, check) => {
      for (let i = 0; i < 40; i++) {
        const session = await polling3(app, { query: i % 4 ? {} : { j: '0' } }).catch(() => undefined);
        if (!session) continue; // the open packet of a JSONP session is a script
        const type = ['application/octet-stream', 'text/plain', 'application/x-www-form-urlencoded'][i % 3];
        const body = Buffer.concat([Buffer.from(i % 5 ? [] : [0, 1, 255]), noise(`payload ${i}`, i * 10)]);
        await session.post(body, { headers: { 'Content-Type': type } });
        await session.close();
        if (i % 10 === 9) await check();
      }
      for (let i = 0; i < 20; i++) {
        const query = { EIO: '3', j: `${i}` };
        const { text } = await app.get({ query });
        const sid = /"sid\\":\\"([\w-]+)/.exec(text)[1];
        const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
        await app.post(`d=${i % 2 ? noise(`form ${i}`, 100).toString('latin1') : encodeURIComponent(encodeText(['42["a"]', '9'])).repeat(i)}`, { query: { ...query, sid }, headers });
        await app.get({ query: { ...query, sid } }).catch(() => {});
      }
    });
  });

  test('V02 V03 recovery data, cookies and names that a client makes up', async (t) => {
    const auths = [
      { pid: 'x', offset: 'y' }, { pid: '', offset: '' }, { pid: 1, offset: {} }, { pid: '__proto__', offset: 'constructor' },
      { pid: 'x'.repeat(100000), offset: '\u0000' }, { __proto__: null, constructor: { prototype: 1 } },
    ];
    await harass(t, { options: { connectionStateRecovery: {}, cookie: true } }, async (app, check) => {
      for (const auth of auths) {
        const session = await websocket(app, { headers: { Cookie: `io=${'%00'.repeat(100)}; =; ;;io` } });
        const { sid } = await session.connect('/', auth);
        assert.match(sid, /^[\w-]{20}$/);
        const { recovered } = await app.waitFor({ type: 'connection', id: sid });
        assert.equal(recovered, false);
      }
      for (const nsp of ['/__proto__', '/constructor', `/${'x'.repeat(50000)}`, '/\u0000', '/../..', '/#', '/?a=1']) {
        const session = await websocket(app);
        await session.send(`40${nsp},`);
        assert.equal(await session.next(), `44${nsp},{"message":"Invalid namespace"}`);
      }
      await check();
    });
  });

  for (const [name, open] of transports) {
    test(`V03 deep nesting over ${name}`, async (t) => {
      await harass(t, {}, async (app, check) => {
        const nests = [
          (n) => `${'['.repeat(n)}${']'.repeat(n)}`,
          (n) => `${'{"a":'.repeat(n)}1${'}'.repeat(n)}`,
          (n) => `${'['.repeat(n)}`,
          (n) => `${'{"a":['.repeat(n)}`,
        ];
        for (const [i, nest] of nests.entries()) {
          for (const n of [5000, 100000]) {
            for (const packet of [
              `42["nobody",${nest(n)}]`, `42${nest(n)}`, `40/x,${nest(n)}`, `430[${nest(n)}]`, `44${nest(n)}`,
              `451-["nobody",{"_placeholder":true,"num":0},${nest(n)}]`,
              // The server handles this one, which in the reference means to go down into it.
              ...(isGo ? [`42["echo",${nest(n)}]`, `40${nest(n)}`] : []),
            ]) {
              const session = await open(app);
              if (!packet.startsWith('40')) await session.connect();
              await session.send(packet).catch(() => {});
              if (packet.startsWith('45')) await session.send(Buffer.from([1])).catch(() => {});
              if (name === 'websocket') session.ws.close();
              else await session.post('1');
            }
          }
          if (i % 2) await check();
        }
      });
    });
  }
});

describe('V bad clients', { concurrency: 2 }, () => {
  for (const [name, open] of transports) {
    test(`V04 a client that does not read does not delay one over ${name}`, async (t) => {
      const app = await createApp(t, { options: patient, namespaces: { '/': { ...echo['/'], onConnection: [{ op: 'join', rooms: ['all'] }] } } });
      const slow = await joined(app);
      slow.session.ws.connection.socket.pause();
      const fast = await joined(app, open);
      await until('both to be in the room', async () => (await app.do({ op: 'rooms' })).all?.length === 2);
      // Far more than the buffers of a socket, far less than any limit of what may wait for a client.
      const size = 100000;
      const count = 200;
      const data = { $bin: Buffer.alloc(size, 1).toString('base64') };
      const sent = app.do({ op: 'emit', to: 'all', args: ['data', { $i: true }, data], count });
      for (let i = 0; i < count; i++) {
        assert.equal(await fast.session.next(), `451-["data",${i},{"_placeholder":true,"num":0}]`);
        assert.equal((await fast.session.next()).length, size);
      }
      await sent;
      await fast.check('prompt');
      // And the slow one gets everything when it reads again.
      slow.session.ws.connection.socket.resume();
      for (let i = 0; i < count; i++) {
        assert.equal(await slow.session.next(), `451-["data",${i},{"_placeholder":true,"num":0}]`);
        assert.equal((await slow.session.next()).length, size);
      }
      await slow.check('late');
    });
  }

  test('V04 a poll response that is not read', async (t) => {
    const app = await createApp(t, { options: patient, namespaces: echo });
    const { id, session } = await joined(app, polling);
    const connection = await app.tcp();
    connection.socket.pause();
    await app.do({ op: 'emit', socket: id, args: ['data', bin(Buffer.alloc(20000000))] });
    connection.write(`GET ${app.target({ transport: 'polling', sid: session.sid })} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const fast = await joined(app);
    for (let i = 0; i < 20; i++) await fast.check(`prompt ${i}`);
  });

  test('V04 a client that sends half a request, half a body, half a frame', async (t) => {
    const app = await createApp(t, { options: patient, namespaces: echo });
    const halves = [];
    for (let i = 0; i < 20; i++) {
      const connection = await app.tcp();
      connection.write('GET /socket.io/?EIO=4&tr');
      halves.push(connection);
      const { session } = await joined(app, polling);
      const body = await app.tcp();
      body.write(`POST ${app.target({ transport: 'polling', sid: session.sid })} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n42["ec`);
      halves.push(body);
      const { session: framed } = await joined(app);
      framed.ws.write(encodeFrame({ payload: '42["echo",1]' }).subarray(0, 7));
    }
    const fast = [await joined(app), await joined(app, polling)];
    for (let i = 0; i < 10; i++) for (const { check } of fast) await check(`prompt ${i}`);
  });

  test('V05 a thousand parked polls are released on shutdown', async (t) => {
    const app = await createApp(t, { kind: 'engineio', options: patient });
    const count = 1000;
    const sids = [];
    await Promise.all(Array.from({ length: 20 }, async () => {
      for (let i = 0; i < count / 20; i++) sids.push((await polling(app)).sid);
    }));
    const replies = sids.map((sid) => app.get({ query: { sid }, timeout: 4 * SOON }));
    const parked = async () => (await app.doAll(...sids.map((sid) => ({ op: 'writable', sid })))).every(Boolean);
    await until('the polls to be parked', parked, 2 * SOON);
    assert.equal(await app.do({ op: 'clientsCount' }), count);
    await app.do({ op: 'closeServer' });
    const outcomes = await within(2 * SOON, 'replies', Promise.all(replies.map(async (reply) => {
      const { status, text } = await reply;
      return `${status} ${text}`;
    })));
    assert.deepEqual(outcomes.filter((o) => o !== '200 1'), []);
    assert.equal(await app.do({ op: 'clientsCount' }), 0);
  });

  test('V02 V04 what a client sends is not read faster than it is handled', { skip: isTLS && 'the buffers of TLS are of no interest' }, async (t) => {
    const app = await createApp(t, {
      options: patient,
      namespaces: { '/': { on: { ...echo['/'].on, wait: [{ op: 'wait', gate: 'go' }] } } },
    });
    const busy = await joined(app);
    const other = await joined(app);
    await busy.session.send('42["wait"]');
    await app.waitFor({ type: 'event', event: 'wait' });
    const count = 2000;
    for (let i = 0; i < count; i++) await busy.session.send(`42["echo",${i},"${'x'.repeat(1000)}"]`);
    await other.check('prompt');
    await app.do({ op: 'release', gate: 'go' });
    for (let i = 0; i < count; i++) {
      const packet = await busy.session.next();
      assert.ok(packet.startsWith(`42["echo",${i},`), packet.slice(0, 50));
    }
    await other.check('prompt');
  });
});
