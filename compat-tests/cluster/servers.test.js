// The contract of compat-tests/server for clusters, as README.md of the folder above has it: two and three of these programs
// on each adapter, in Go, on the official server, and mixed.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { LONG, backendOf, chosen, freePort, missing, sleep, startBackend, startNode, until, within } from './harness.js';

/** The nodes of each cluster; there is no adapter for NATS on the official server. */
const clusters = [['go', 'go'], ['go', 'go', 'go'], ['node', 'node'], ['go', 'node', 'go']];

for (const adapter of chosen('memory', 'redis', 'redis-sharded', 'redis-streams', 'postgres', 'nats')) {
  describe(adapter, { concurrency: 2, skip: missing(adapter) }, () => {
    const kinds = {
      none: [['go'], ['node']],
      nats: clusters.filter((nodes) => !nodes.includes('node')),
    }[backendOf[adapter]] ?? clusters;
    for (const nodes of kinds) {
      test(nodes.join(', '), async (t) => {
        const backend = await startBackend(adapter);
        const servers = [];
        const clients = [];
        t.after(async () => {
          for (const client of clients) client.close();
          await Promise.all(servers.filter((server) => !server.ended).map((server) => server.stop()));
          await backend.kill();
        });
        const open = async (server, options = {}, nsp = '') => {
          const client = connect(`http://127.0.0.1:${server.port}${nsp}`, { reconnection: false, forceNew: true, ...options });
          clients.push(client);
          client.messages = [];
          client.on('msg', (m) => client.messages.push(m));
          client.on('bcast-ack', (m, ack) => m === 'silence' || ack(`${client.id}:${m}`));
          [client.auth] = await within(LONG, 'the event auth', new Promise((resolve, reject) => {
            client.once('auth', (...args) => resolve(args));
            client.once('connect_error', reject);
          }));
          return client;
        };
        const ask = (client, ...event) => within(LONG, `an answer to ${event[0]}`, client.emitWithAck(...event));
        const settled = (what, want, f) => until(what, async () => {
          const got = (await f()).sort();
          return got.length === want.length && (assert.deepEqual(got, [...want].sort()), true);
        }, LONG);
        /** Checks that every node knows of every other, and of all clients in the room "all". */
        const complete = async () => {
          const living = servers.filter((server) => !server.ended);
          const all = clients.filter((client) => client.connected && client.nsp === '/' && living.includes(client.server)); // those of others may not know yet
          for (const server of living) {
            const client = all.find((client) => client.server === server);
            await settled('the ids of all clients', all.map(({ id }) => id), () => ask(client, 'fetch'));
            if (adapter !== 'memory') {
              await settled('the answers of the other nodes', living.filter((other) => other !== server).map(({ pid }) => pid), () => ask(client, 'sse', 1));
            }
          }
          // Rooms may be subscribed to in the background.
          for (const from of all) {
            await until('broadcasts to reach all', async () => {
              from.emit('bcast', `probe ${from.id}`);
              await sleep(20);
              return all.every(({ messages }) => messages.includes(`probe ${from.id}`));
            }, LONG);
          }
          return all;
        };
        const join = async (kind) => {
          const server = await startNode(kind, { program: 'server', adapter, url: backend.url });
          servers.push(server);
          for (const options of [{ transports: ['websocket'] }, {}]) (await open(server, { ...options, auth: { token: 'é' } })).server = server;
        };

        for (const kind of nodes) await join(kind);
        const all = await complete();

        for (const client of all) {
          assert.deepEqual(client.auth, { token: 'é' });
          assert.deepEqual(await ask(client, 'echo', { a: [1, null] }), { a: [1, null] });
          assert.deepEqual(await ask(client, 'message-with-ack', 'text'), 'text');
          const back = new Promise((resolve) => client.once('message-back', (...args) => resolve(args)));
          client.emit('message', 'text', 1, Buffer.from([0, 255]));
          assert.deepEqual(await within(LONG, 'message-back', back), ['text', 1, Buffer.from([0, 255])]);

          // The contract gives them a second, which may be too little on a busy machine.
          const want = all.map(({ id }) => `${id}:hello`).sort();
          const replies = await until('all to answer in time', async () => {
            const some = await ask(client, 'bcast-ack', 'hello');
            return some.length >= want.length && some;
          }, LONG);
          assert.deepEqual(replies.sort(), want);
          for (const { messages } of all) messages.length = 0;
          for (let i = 0; i < 50; i++) client.emit('bcast', i);
          for (const { messages } of all) {
            // A probe may still have been under way.
            const got = () => messages.filter((m) => typeof m === 'number');
            await until('50 messages', () => got().length >= 50, LONG);
            assert.deepEqual(got(), Array.from({ length: 50 }, (_, i) => i));
          }
          client.emit('bcast', { binary: Buffer.from([1, 2, 3]), text: 'x'.repeat(20_000) });
          for (const { messages } of all) {
            const got = await until('binary', () => messages.find((m) => m.binary), LONG);
            assert.deepEqual(got, { binary: Buffer.from([1, 2, 3]), text: 'x'.repeat(20_000) });
          }
        }
        const custom = await open(servers[0], { auth: { custom: true } }, '/custom');
        assert.deepEqual(custom.auth, { custom: true });

        // Nobody answers: what there is comes after a second.
        assert.deepEqual(await ask(all[0], 'bcast-ack', 'silence'), []);

        // A client leaves, a node leaves, and another one comes.
        all.at(-1).close();
        await complete();
        if (adapter === 'memory') return;
        await servers.at(-1).stop();
        await complete();
        await join(nodes.at(-1));
        await complete();
      });
    }
  });
}

for (const adapter of chosen('redis')) test('two processes share a port', { skip: missing(adapter) || (process.platform !== 'linux' && 'only Linux spreads connections') }, async (t) => {
  const backend = await startBackend(adapter);
  const servers = [];
  const clients = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await Promise.all(servers.map((server) => server.stop()));
    await backend.kill();
  });
  const addr = `127.0.0.1:${await freePort()}`;
  for (let i = 0; i < 2; i++) servers.push(await startNode('go', { program: 'server', adapter, url: backend.url, addr, 'reuse-port': true }));
  const pids = new Set();
  await until('clients on both', async () => {
    const client = connect(`http://${addr}`, { transports: ['websocket'], forceNew: true });
    clients.push(client);
    await within(LONG, 'auth', new Promise((resolve) => client.once('auth', resolve)));
    const [other] = await within(LONG, 'an answer', client.emitWithAck('sse', 1));
    if (other) pids.add(other);
    return pids.size === 2;
  }, LONG);
  assert.deepEqual([...pids].sort(), servers.map(({ pid }) => pid).sort());
  await until('all clients to be known', async () => (await within(LONG, 'an answer', clients[0].emitWithAck('fetch'))).length === clients.length, LONG);

  // Over polling a session is many connections, and these are spread, too.
  const poll = (query, options) => fetch(`http://${addr}/socket.io/?EIO=4&transport=polling${query}`, { headers: { connection: 'close' }, ...options });
  const { sid } = JSON.parse((await (await poll('')).text()).slice(1));
  await until('a request to reach the process that does not know the session', async () => {
    const response = await poll(`&sid=${sid}`, { method: 'POST', body: '3' });
    const text = await response.text();
    return response.status === 400 && text.includes('Session ID unknown');
  }, LONG);
});
