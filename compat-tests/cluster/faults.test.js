// A node that dies with work in flight, in a cluster of Node.js and Go nodes: who waits for it is told so in time, the others go
// on, and nothing arrives twice.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { LONG, chosen, missing, sleep, startBackend, startNode, until, within } from './harness.js';

describe('a node is killed', { concurrency: 2 }, () => {
  for (const adapter of chosen('redis', 'redis-sharded', 'redis-streams', 'postgres')) {
    for (const victim of adapter === 'redis' ? ['go', 'node'] : ['go']) {
      test(`${adapter}: ${victim}`, { skip: missing(adapter) }, async (t) => {
        const backend = await startBackend(adapter);
        const servers = {};
        const clients = {};
        const opened = [];
        t.after(async () => {
          for (const client of opened) client.close();
          await Promise.all(Object.values(servers).map((server) => server.ended || server.stop()));
          await backend.kill();
        });
        const enter = async (name, rooms) => {
          const client = connect(`http://127.0.0.1:${servers[name].port}`, { transports: ['websocket'], reconnection: false, forceNew: true, auth: { rooms } });
          opened.push(client);
          client.heard = [];
          client.on('said', (text) => client.heard.push(text));
          client.on('ask', (ack) => ack(name));
          client.gone = new Promise((resolve) => client.once('disconnect', resolve));
          await within(LONG, `${name} to greet`, new Promise((resolve) => client.once('ready', resolve)));
          return client;
        };
        const open = async (name, kind) => {
          servers[name] = await startNode(kind, { adapter, url: backend.url });
          clients[name] = await enter(name, ['all', name]);
        };
        const tell = (name, command, client = clients[name]) => within(LONG, `${name} to do ${command.op}`, client.emitWithAck('do', command));
        /** The same from a client of its own, as Go nodes do what one client asks for one after the other. */
        const idle = {};
        const ask = (name, command) => tell(name, command, idle[name].pop());
        const counts = (n) => Promise.all(living.map((name) => until(`${name} to count ${n} nodes`, async () => (await tell(name, { op: 'count' })).count === n, LONG)));
        /** Each living node reaches the client of each other, and room "all". */
        const reach = async (from, to, text) => {
          await until(`${from} to reach ${to}`, async () => {
            await within(LONG, 'an answer', clients[from].emitWithAck('say', to, text));
            return clients[to].heard.includes(text);
          }, LONG);
        };

        const living = ['node', 'go'];
        await open('node', 'node');
        await open('go', 'go');
        await open('victim', victim);
        await counts(3);
        for (const name of living) await reach('victim', name, 'probe');
        await until('the room to be reached', async () => {
          await clients.victim.emitWithAck('say', 'all', 'all');
          return living.every((name) => clients[name].heard.includes('all'));
        }, LONG);

        // It does not answer, and dies while others wait for that.
        for (const name of living) idle[name] = await Promise.all([1, 2, 3].map(() => enter(name, [])));
        servers.victim.signal('SIGSTOP');
        const requests = living.flatMap((name) => [
          ask(name, { op: 'fetch', rooms: ['all'] }).then(({ error, sockets }) => {
            // Whether it gives what has come differs; that something is missing is told.
            assert.match(error, /time|context deadline/, `fetch from ${name}`);
            assert.equal(sockets, undefined);
          }),
          ask(name, { op: 'sse-ack', event: 'sse', args: ['q'] }).then(({ error, replies }) => {
            assert.match(error, /time|context deadline/, `sse from ${name}`);
            assert.deepEqual(replies, [name === 'go' ? 'node' : 'go']);
          }),
          ask(name, { op: 'ack', event: 'ask', rooms: ['all'], timeout: 4000 }).then(({ error, replies }) => {
            assert.equal(error, 'operation has timed out');
            assert.deepEqual(replies.sort(), ['go', 'node']);
          }),
        ]);
        for (const from of living) for (const to of living) await reach(from, to, `meanwhile from ${from}`);
        await sleep(1000); // the requests are under way by now; that cannot be seen from here
        servers.victim.signal('SIGKILL');
        assert.equal(await within(LONG, 'the victim to die', servers.victim.exited), 'SIGKILL');
        await within(LONG, 'its client to know', clients.victim.gone);
        await Promise.all(requests);

        // It is forgotten, and requests are complete again.
        await counts(2);
        for (const name of living) {
          assert.equal((await tell(name, { op: 'fetch', rooms: ['all'] })).sockets.length, 2);
          assert.deepEqual((await tell(name, { op: 'sse-ack', event: 'sse', args: ['q'] })).replies, [name === 'go' ? 'node' : 'go']);
          assert.deepEqual((await tell(name, { op: 'ack', event: 'ask', rooms: ['all'], timeout: 10_000 })).replies.sort(), ['go', 'node']);
        }

        // Another one takes its place, and dies while it publishes: what the others hear is a beginning of what was said, in order.
        await open('victim', victim);
        await counts(3);
        for (const name of living) clients[name].heard.length = 0;
        await until('the room to be reached', async () => {
          await clients.victim.emitWithAck('say', 'all', -1);
          return living.every((name) => clients[name].heard.includes(-1));
        }, LONG);
        for (let i = 0; i < 3000; i++) clients.victim.emit('say', 'all', i, () => {});
        await until('some of it', () => living.every((name) => clients[name].heard.some((i) => i > 100)), LONG);
        servers.victim.signal('SIGKILL');
        await within(LONG, 'its client to know', clients.victim.gone);
        await counts(2);
        for (const name of living) {
          // What was under way has come by then: this is behind it.
          for (const from of living) await reach(from, name, `done ${from}`);
          const heard = clients[name].heard.filter((i) => i >= 0);
          assert.deepEqual(heard, heard.map((_, i) => i), name);
        }
      });
    }
  }
});
