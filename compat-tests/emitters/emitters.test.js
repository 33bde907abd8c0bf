// Emitters of both kinds, on clusters of a Node.js node and a Go node: every operation, and what clients get of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { LONG, chosen, missing, sleep, startBackend, startNode, until, within } from '../cluster/harness.js';
import { startEmitter } from './harness.js';

/** The kinds of emitters, and of nodes, by what connects them. */
const kinds = (adapter) => ({
  emitters: ['redis', 'postgres'].includes(adapter) ? ['go', 'node'] : ['go'],
  nodes: adapter === 'nats' ? ['go1', 'go2'] : ['node', 'go'],
});

/** Node.js servers ignore what the official emitter for PostgreSQL sends. */
const reached = (adapter, emitter, nodes) => nodes.filter((node) => adapter !== 'postgres' || emitter !== 'node' || node !== 'node');

for (const adapter of chosen('redis', 'redis-sharded', 'redis-sharded-private', 'redis-sharded-static', 'redis-streams', 'postgres', 'nats')) {
  const { emitters, nodes } = kinds(adapter);

  describe(adapter, { concurrency: false, skip: missing(adapter) }, () => {
    let backend;
    const servers = {};
    const processes = {};
    /** One client on each node, in the rooms "all", the name of its node and "é*". */
    const clients = {};
    /** Another one on each node, which asks the node what it knows. It hears nothing but fences. */
    const controllers = {};

    const client = async (node, rooms) => {
      const socket = connect(`http://127.0.0.1:${servers[node].port}`, { transports: ['websocket'], reconnection: false, auth: { rooms }, forceNew: true });
      socket.events = [];
      socket.onAny((name, ...args) => name !== 'ready' && socket.events.push([name, ...args]));
      await within(LONG, `${node} to greet`, new Promise((resolve) => socket.once('ready', resolve)));
      return socket;
    };
    const join = async (node) => {
      clients[node] = await client(node, ['all', node, 'é*']);
    };
    const ask = (node, op) => within(LONG, `${node} to answer`, controllers[node].emitWithAck('do', { op }));
    const emit = async (emitter, command) => assert.equal(await processes[emitter].send({ op: 'emit', ...command }), 'done');

    /** Waits until an emitter reaches the clients of nodes in each of their rooms, and forgets what was sent for that. */
    const settle = async (emitter, who) => {
      for (const room of ['all', 'é*', ...who, ...who.map((node) => clients[node].id), undefined]) {
        const rooms = room === undefined ? [] : [room];
        const members = who.filter((node) => [undefined, 'all', 'é*', node, clients[node].id].includes(room));
        await until(`the ${emitter} emitter to reach ${room}`, async () => {
          await emit(emitter, { event: 'probe', args: [room ?? null], rooms });
          await sleep(20);
          return members.every((node) => clients[node].events.some(([name, to]) => name === 'probe' && to === (room ?? null)));
        });
      }
      await fence(emitter, who);
    };
    let fences = 0;
    /** Waits until everything from an emitter has reached the clients of nodes, and returns what each got. */
    const fence = async (emitter, who) => {
      const name = `fence${++fences}`;
      const all = [[], ['all']]; // rooms may have channels of their own
      for (const rooms of all) await emit(emitter, { event: name, rooms });
      const got = {};
      for (const node of nodes) {
        if (who.includes(node)) await until(`${node} to get the fence`, () => clients[node].events.filter(([event]) => event === name).length === all.length);
        got[node] = clients[node].events.filter(([event]) => !/^(fence|probe)/.test(event));
        clients[node].events = [];
      }
      return got;
    };

    before(async () => {
      backend = await startBackend(adapter);
      for (const node of nodes) servers[node] = await startNode(node.replace(/\d/, ''), { adapter, url: backend.url });
      for (const emitter of emitters) processes[emitter] = await startEmitter(emitter, { adapter, url: backend.url });
      for (const node of nodes) {
        controllers[node] = await client(node, []);
        await join(node);
      }
      for (const emitter of emitters) await settle(emitter, reached(adapter, emitter, nodes));
    });

    after(async () => {
      for (const socket of [...Object.values(clients), ...Object.values(controllers)]) socket.close();
      for (const emitter of Object.values(processes)) await emitter.stop();
      for (const server of Object.values(servers)) await server.stop();
      await backend.kill();
    });

    for (const emitter of emitters) {
      const who = reached(adapter, emitter, nodes);
      const [first, last] = [who[0], who.at(-1)];

      /** Has the emitter do something, and checks that the clients of nodes get the event, each once, and the others nothing. */
      const expect = async (command, event, members) => {
        await emit(emitter, { event: event[0], args: encoded(event.slice(1)), ...command });
        await until(`${event[0]} to arrive`, () => members.every((node) => clients[node].events.some(([name]) => name === event[0])));
        const got = await fence(emitter, who);
        for (const node of nodes) assert.deepEqual(got[node], members.includes(node) ? [event] : [], `${node}: ${event[0]}`);
      };

      describe(`${emitter} emitter`, { concurrency: false }, () => {
        test('everybody, and nothing but the name', () => expect({}, ['hello'], who));
        test('arguments of every type', () => expect({}, ['args', 1, -1.5, 9007199254740991, 'ünïcode 😀 \u2028"\\', null, true, { a: [{ é: 2 }], '': {} }], who));
        test('binary', () => expect({}, ['bin', Buffer.from([0, 1, 255]), { deep: [Buffer.from('é'), 'text'] }, Buffer.alloc(0)], who));
        test('large, text and binary', async () => {
          await expect({ rooms: ['all'] }, ['text', 'é'.repeat(100_000)], who);
          await expect({ rooms: ['all'] }, ['bytes', Buffer.alloc(200_000, 254)], who);
          await expect({ rooms: ['all'] }, ['just over', 'x'.repeat(7990)], who);
        });
        test('volatile and not compressed', () => expect({ volatile: true, compress: false }, ['flags', 1], who));
        test('rooms', async () => {
          await expect({ rooms: [first] }, ['one', 1], [first]);
          await expect({ rooms: [first, last, 'all'] }, ['each once'], who);
          await expect({ rooms: ['é*'] }, ['a strange name'], who);
          await expect({ rooms: ['nobody'] }, ['nobody'], []);
          await expect({ rooms: [clients[last].id] }, ['socket'], [last]);
        });
        test('except', async () => {
          await expect({ except: [last] }, ['others'], who.filter((node) => node !== last));
          await expect({ rooms: ['all'], except: [clients[last].id, 'unknown'] }, ['others in the room'], who.filter((node) => node !== last));
          await expect({ rooms: ['all'], except: ['é*'] }, ['nobody'], []);
        });
        test('another namespace', () => expect({ of: '/other', rooms: ['all'] }, ['elsewhere'], []));
        test('join and leave', async () => {
          await emit(emitter, { op: 'join', rooms: ['all'], to: ['x', 'y'] });
          await emit(emitter, { op: 'join', rooms: [last], except: ['unknown'], to: ['z'] });
          const rooms = async (node) => (await ask(node, 'fetch')).sockets.find(({ id }) => id === clients[node].id).rooms;
          const are = (node, want) => until(`rooms of ${node}`, async () => (await rooms(node)).filter((room) => room.length === 1).sort().join() === want);
          for (const node of who) await are(node, node === last ? 'x,y,z' : 'x,y');
          await until('the new room to be reached', async () => {
            await emit(emitter, { event: 'probe', rooms: ['z'] });
            await sleep(20);
            return clients[last].events.some(([name]) => name === 'probe');
          });
          await fence(emitter, who);
          await expect({ rooms: ['z'] }, ['joined'], [last]);
          await emit(emitter, { op: 'leave', rooms: ['x'], except: [clients[last].id], to: ['x'] });
          await emit(emitter, { op: 'leave', to: ['y', 'z'] });
          for (const node of who) await are(node, node === last ? 'x' : '');
          await emit(emitter, { op: 'leave', to: ['x'] });
          for (const node of who) await are(node, '');
        });
        test('server-side', async () => {
          const args = [1, 'ü', { a: [null] }];
          await emit(emitter, { op: 'sse', event: 'sse', args });
          for (const node of who) {
            let heard = [];
            await until(`${node} to hear`, async () => (heard = (await ask(node, 'heard')).heard ?? []).length > 0);
            assert.deepEqual(heard, [args]);
          }
          assert.deepEqual(await fence(emitter, who), Object.fromEntries(nodes.map((node) => [node, []])));
        });
        test('what cannot be emitted', async () => {
          for (const event of ['connect', 'disconnect', 'newListener']) {
            assert.match(await processes[emitter].send({ op: 'emit', event }), /^failed .*"\w+" is a reserved event name$/);
          }
        });
        test('disconnect', async () => {
          await emit(emitter, { op: 'disconnect', rooms: [last] });
          await until('the socket to be disconnected', () => !clients[last].connected);
          for (const node of nodes) if (node !== last) assert.ok(clients[node].connected);
          await join(last);
          await settle(emitter, who);
          await emit(emitter, { op: 'disconnect', rooms: ['all'], close: true });
          await until('all to be disconnected', () => who.every((node) => !clients[node].connected));
          for (const node of who) {
            assert.ok(controllers[node].connected);
            await join(node);
          }
          for (const other of emitters) await settle(other, reached(adapter, other, nodes));
        });
      });
    }
  });

  // The other nodes that there are have a namespace beside "/".
  describe(`${adapter}: namespaces`, { concurrency: false, skip: missing(adapter) }, () => {
    test('each emitter reaches its clients and no others', async () => {
      const backend = await startBackend(adapter);
      const servers = {};
      for (const node of nodes) servers[node] = await startNode(node.replace(/\d/, ''), { program: 'server', adapter, url: backend.url });
      const open = async (node, namespace) => {
        const socket = connect(`http://127.0.0.1:${servers[node].port}${namespace}`, { transports: ['websocket'], reconnection: false, forceNew: true });
        socket.events = [];
        socket.onAny((name, ...args) => name !== 'auth' && socket.events.push([name, ...args]));
        await within(LONG, `${node} to connect`, new Promise((resolve) => socket.once('connect', resolve)));
        return socket;
      };
      const main = {};
      const custom = {};
      for (const node of nodes) [main[node], custom[node]] = [await open(node, '/'), await open(node, '/custom')];
      for (const kind of emitters) {
        const emitter = await startEmitter(kind, { adapter, url: backend.url });
        const who = reached(adapter, kind, nodes);
        for (const [of, there, others] of [['custom', custom, main], ['/custom', custom, main], ['/', main, custom]]) {
          if (of === 'custom' && adapter === 'postgres' && kind === 'node') continue; // it adds no slash
          await until(`clients of ${of} to be reached`, async () => {
            assert.equal(await emitter.send({ op: 'emit', of, event: 'there', args: [of] }), 'done');
            await sleep(20);
            return who.every((node) => there[node].events.some(([, to]) => to === of));
          });
          for (const node of nodes) {
            assert.deepEqual(others[node].events, [], `${kind}: ${node}`);
            [there[node].events, others[node].events] = [[], []];
          }
        }
        await emitter.stop();
      }
      for (const socket of [...Object.values(main), ...Object.values(custom)]) socket.close();
      for (const server of Object.values(servers)) await server.stop();
      await backend.kill();
    });
  });
}

/** Arguments as the commands have them. */
const encoded = (value) =>
  Buffer.isBuffer(value) ? { $bin: value.toString('base64') }
  : Array.isArray(value) ? value.map(encoded)
  : value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, v]) => [key, encoded(v)]))
  : value;
