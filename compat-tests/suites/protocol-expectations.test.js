// V06: what the executable suites published with the protocol documents expect of a server, in our own words and on the program that is meant for
// them (README.md, "The protocol's own suites"), started with the flags that they need. All of it is also tested elsewhere in more depth; this
// file shows that it holds together on one server with their short heartbeat.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { PollingSession3, transports3 } from '../lib/eio3.js';
import { RS } from '../lib/packets.js';
import { startServer } from '../lib/server.js';
import { PollingSession, transports } from '../lib/session.js';
import { sleep, until } from '../lib/wait.js';
import { Rejected } from '../lib/websocket.js';

const interval = 300;
const timeout = 200;
const flags = { 'ping-interval': `${interval}ms`, 'ping-timeout': `${timeout}ms`, 'connect-timeout': '1s', 'max-payload': '1000000', 'cors-origin': '*' };
const plain = await startServer({ after }, flags);
const withV3 = await startServer({ after }, { ...flags, 'allow-eio3': true });

/**
 * A test that has only as long as the heartbeat gives it. When a busy machine made it take longer than that, its failure says nothing,
 * and it is run again. f may have a parameter: the time in ms that one request is ahead of the next. Nothing tells whether it was
 * enough for the first one to arrive first, so there are several attempts with more and more of it.
 */
function quick(name, f) {
  test(name, async () => {
    let ahead = 20;
    for (let tries = 10; ; tries--) {
      const start = performance.now();
      try {
        return await f(ahead);
      } catch (err) {
        const mayHelp = performance.now() - start >= interval || (f.length > 0 && ahead < 160);
        if (!mayHelp || tries === 1) throw err;
        ahead = Math.min(2 * ahead, 160);
      }
    }
  });
}

/** A poll that has arrived before what is sent next. */
async function park(session, ahead) {
  const reply = session.get();
  await reply.sent;
  await sleep(ahead);
  return { reply };
}

const outcome = async (reply) => {
  const { status, text } = await reply;
  return [status, text];
};

/** The WebSocket does not become a session: it is refused, or ends before it gets a message. */
async function expectRefused(endpoint, query) {
  const first = await endpoint.ws({ query }).then((ws) => ws.next(), (err) => err);
  assert.ok(first instanceof Rejected || (first.type !== 'text' && first.type !== 'binary'), JSON.stringify(first));
}

const servers = [['on its own', plain], ['beside v3', withV3]];
for (const [where, { engine }] of servers) {
  describe(`V06 Engine.IO v4 ${where}`, () => {
    for (const [transport, open] of transports) {
      quick(`V06 ${where}: handshake over ${transport}`, async () => {
        const session = await open(engine);
        const { sid, ...rest } = session.open;
        assert.equal(typeof sid, 'string');
        const upgrades = transport === 'polling' ? ['websocket'] : [];
        assert.deepEqual(rest, { upgrades, pingInterval: interval, pingTimeout: timeout, maxPayload: 1000000 });
      });

      quick(`V06 ${where}: text and binary come back over ${transport}`, async () => {
        const session = await open(engine);
        session.autoPong = true;
        await session.send('4hello');
        assert.equal(await session.next(), '4hello');
        await session.send('4test1', Buffer.from([1, 2, 3, 4]), '4test3');
        assert.deepEqual([await session.next(), await session.next(), await session.next()], ['4test1', Buffer.from([1, 2, 3, 4]), '4test3']);
      });

      test(`V06 ${where}: ping and pong in rounds over ${transport}`, async () => {
        // The pong has to come within 200 ms; when the machine did not manage that, the session is lost and the test begins again.
        for (let tries = 10; ; tries--) {
          const session = await open(engine);
          try {
            for (let round = 0; round < 3; round++) {
              assert.equal(await session.next(), '2');
              await session.send('3');
            }
            return;
          } catch (err) {
            if (tries === 1) throw err;
          }
        }
      });

      test(`V06 ${where}: closed when no pong comes over ${transport}`, async () => {
        const start = performance.now();
        const session = await open(engine);
        if (transport === 'polling') await sleep(interval + timeout + 100);
        await session.expectClosed();
        const took = performance.now() - start;
        assert.ok(took > interval + timeout - 50, `${took} ms`);
      });

      quick(`V06 ${where}: an invalid packet ends the session over ${transport}`, async () => {
        const session = await open(engine);
        if (transport === 'polling') {
          await session.post('abc');
          assert.equal((await session.get()).status, 400);
        } else {
          await session.send('abc');
          assert.equal(await session.ws.code(), 1005);
        }
      });
    }

    const bad = [{ transport: undefined }, { transport: 'abc' }];
    if (where === 'on its own') bad.push({ EIO: undefined }, { EIO: 'abc' });
    for (const query of bad) {
      test(`V06 ${where}: ${JSON.stringify(Object.entries(query)[0])} is refused`, async () => {
        assert.equal((await engine.get({ query })).status, 400);
        await expectRefused(engine, query);
      });
    }

    for (const method of ['POST', 'PUT']) {
      test(`V06 ${where}: ${method} without a session is refused`, async () => {
        assert.equal((await engine.request({ method })).status, 400);
      });
    }

    quick(`V06 ${where}: two GETs at once`, async (ahead) => {
      const session = await PollingSession.open(engine);
      const { reply } = await park(session, ahead);
      assert.ok([400, 500].includes((await session.get()).status));
      assert.deepEqual(await outcome(reply), [200, '1']);
      await session.expectGone();
    });

    quick(`V06 ${where}: an aborted GET`, async (ahead) => {
      const session = await PollingSession.open(engine);
      const { reply } = await park(session, ahead);
      reply.abort();
      await reply.catch(() => {});
      await sleep(ahead);
      await session.expectGone();
    });

    quick(`V06 ${where}: a close packet, polling`, async (ahead) => {
      const session = await PollingSession.open(engine);
      const { reply } = await park(session, ahead);
      assert.equal((await session.post('1')).text, 'ok');
      assert.deepEqual(await outcome(reply), [200, '6']);
      await session.expectGone();
    });

    test(`V06 ${where}: a closed WebSocket`, async () => {
      const session = await transports[1][1](engine);
      await session.close();
    });

    quick(`V06 ${where}: an upgrade, and what comes after it`, async () => {
      const session = await PollingSession.open(engine);
      const upgraded = await session.upgrade();
      upgraded.autoPong = true;
      await upgraded.send('4hello');
      assert.equal(await upgraded.next(), '4hello');
      assert.equal((await session.get()).status, 400);
      const second = await engine.ws({ query: { sid: session.sid } }).catch((err) => err);
      if (!(second instanceof Rejected)) assert.equal(await second.code(), 1005);
      await upgraded.send('4still here');
      assert.equal(await upgraded.next(), '4still here');
    });

    test(`V06 ${where}: any origin may read replies`, async () => {
      const { headers } = await engine.get({ headers: { Origin: 'http://page.example' } });
      assert.equal(headers['access-control-allow-origin'], '*');
    });
  });
}

describe('V06 Engine.IO v3', () => {
  const { engine } = withV3;
  const openPacket = { pingInterval: interval, pingTimeout: timeout };

  for (const [transport, open] of transports3) {
    quick(`V06 v3: handshake over ${transport}`, async () => {
      const session = await open(engine);
      const { sid, upgrades, pingInterval, pingTimeout } = session.open;
      assert.equal(typeof sid, 'string');
      assert.deepEqual(upgrades, transport === 'polling' ? ['websocket'] : []);
      assert.deepEqual({ pingInterval, pingTimeout }, openPacket);
    });

    quick(`V06 v3: text and binary come back over ${transport}`, async () => {
      const session = await open(engine);
      await session.send('4hello €');
      assert.equal(await session.next(), '4hello €');
      await session.send(Buffer.from([1, 2, 3, 4]), '4x');
      assert.deepEqual([await session.next(), await session.next()], [Buffer.from([1, 2, 3, 4]), '4x']);
    });

    quick(`V06 v3: the client pings over ${transport}`, async () => {
      const session = await open(engine);
      for (let i = 0; i < 2; i++) {
        await session.send('2');
        assert.equal(await session.next(), '3');
      }
    });

    test(`V06 v3: closed when no ping comes over ${transport}`, async () => {
      const session = await open(engine);
      if (transport === 'polling') {
        await sleep(interval + timeout + 100);
        await until('the end', async () => (await session.get()).status === 400);
      }
      await session.expectGone();
    });
  }

  quick('V06 v3: base64 when the client asks for it', async () => {
    const session = await PollingSession3.open(engine, { query: { b64: '1' } });
    await session.post('10:b4AQIDBA==');
    assert.equal((await session.get()).text, '10:b4AQIDBA==');
  });

  quick('V06 v3: a close packet, polling', async (ahead) => {
    const session = await PollingSession3.open(engine);
    const { reply } = await park(session, ahead);
    assert.equal((await session.post('1:1')).text, 'ok');
    assert.deepEqual(await outcome(reply), [200, '1:6']);
    await session.expectGone();
  });

  quick('V06 v3: two GETs at once', async (ahead) => {
    const session = await PollingSession3.open(engine);
    const { reply } = await park(session, ahead);
    assert.ok([400, 500].includes((await session.get()).status));
    assert.deepEqual(await outcome(reply), [200, '1:1']);
    await session.expectGone();
  });

  quick('V06 v3: an upgrade', async () => {
    const session = await PollingSession3.open(engine);
    const upgraded = await session.upgrade();
    await upgraded.send('4hello');
    assert.equal(await upgraded.next(), '4hello');
    assert.equal((await session.get()).status, 400);
  });
});

for (const [where, { socket }] of servers) {
  describe(`V06 Socket.IO v5 ${where}`, () => {
    /** A connected socket on WebSocket; auth events are taken. */
    const join = async (nsp = '/', auth = undefined, session = undefined) => {
      session ??= await transports[1][1](socket);
      session.autoPong = true;
      const data = await session.connect(nsp, auth);
      assert.deepEqual(Object.keys(data), ['sid']);
      assert.equal(await session.next(), `42${nsp === '/' ? '' : `${nsp},`}["auth",${JSON.stringify(auth ?? {})}]`);
      return { session, sid: data.sid };
    };

    for (const nsp of ['/', '/custom']) {
      for (const auth of [undefined, { token: '123' }]) {
        quick(`V06 ${where}: joining ${nsp} ${auth ? 'with' : 'without'} auth`, async () => {
          const { session, sid } = await join(nsp, auth);
          assert.notEqual(sid, session.sid);
        });
      }
    }

    quick(`V06 ${where}: an unknown namespace`, async () => {
      const session = await transports[1][1](socket);
      await session.send('40/random');
      assert.equal(await session.next(), '44/random,{"message":"Invalid namespace"}');
    });

    const closing = ['4abc', '42{}', '42abc["a"]', '42["message"', '42[]', '40[]', '45-[]', '452-["a"]x'];
    for (const packet of closing) {
      quick(`V06 ${where}: ${packet} closes the connection`, async () => {
        const { session } = await join();
        await session.send(packet);
        await session.expectClosed();
      });
    }

    quick(`V06 ${where}: an event before the namespace is joined closes the connection`, async () => {
      const session = await transports[1][1](socket);
      await session.send('42["message"]');
      await session.expectClosed();
    });

    quick(`V06 ${where}: joining twice closes the connection`, async () => {
      const { session } = await join();
      await session.send('40');
      await session.expectClosed();
    });

    quick(`V06 ${where}: joining nothing closes the connection after the time`, async () => {
      const start = performance.now();
      const session = await transports[1][1](socket);
      session.autoPong = true;
      await assert.rejects(async () => {
        for (;;) await session.next();
      }, /close 1005|end/);
      // Without the pongs the heartbeat would have ended it after half a second.
      assert.ok(performance.now() - start > 900);
    });

    quick(`V06 ${where}: leaving keeps the connection, and the namespace can be joined again`, async () => {
      const { session, sid } = await join();
      await session.send('41');
      await join('/custom', undefined, session); // when that is answered, the server has left the other one
      const again = await join('/', undefined, session);
      assert.notEqual(again.sid, sid);
      await session.send('42["message","hello"]');
      assert.equal(await session.next(), '42["message-back","hello"]');
    });

    quick(`V06 ${where}: an event with all JSON types comes back`, async () => {
      const { session } = await join();
      await session.send('42["message",1,"2",{"3":[true]},null]');
      assert.equal(await session.next(), '42["message-back",1,"2",{"3":[true]},null]');
    });

    quick(`V06 ${where}: an event with binary comes back`, async () => {
      const { session } = await join();
      const list = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
      await session.send(`452-["message",${list}]`, Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6]));
      assert.equal(await session.next(), `452-["message-back",${list}]`);
      assert.deepEqual([await session.next(), await session.next()], [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])]);
    });

    quick(`V06 ${where}: acknowledgements, plain and binary`, async () => {
      const { session } = await join();
      await session.send('42456["message-with-ack",1,"2",{"3":[false]}]');
      assert.equal(await session.next(), '43456[1,"2",{"3":[false]}]');
      const list = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
      await session.send(`452-789["message-with-ack",${list}]`, Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6]));
      assert.equal(await session.next(), `462-789[${list}]`);
      assert.deepEqual([await session.next(), await session.next()], [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])]);
    });

    quick(`V06 ${where}: the same over polling, several packets in a body`, async () => {
      const session = await PollingSession.open(socket);
      session.autoPong = true;
      await session.connect();
      assert.equal(await session.next(), '42["auth",{}]');
      await session.post(`42["message",1]${RS}421["message-with-ack",2]`);
      assert.deepEqual([await session.next(), await session.next()], ['42["message-back",1]', '431[2]']);
    });
  });
}
