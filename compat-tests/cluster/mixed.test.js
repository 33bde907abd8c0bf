// Mixed clusters: two Node.js nodes and two Go nodes on one backend, official clients on each, and every operation from each
// kind of node. What is tested is that nobody can tell which kind a node is.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { LONG, chosen, missing, sleep, startBackend, startNode, until, within } from './harness.js';

const nodes = ['node1', 'go1', 'node2', 'go2'];
/** The nodes that act in turn: one of each kind. */
const actors = ['node1', 'go1'];

for (const adapter of chosen('redis', 'redis-sharded', 'redis-sharded-private', 'redis-sharded-static', 'redis-streams', 'postgres')) {
  describe(adapter, { concurrency: false, skip: missing(adapter) }, () => {
    let backend;
    const servers = {};
    /** One client on each node, in the rooms "all" and the name of its node; and a controller on each, in no room. */
    const clients = {};
    const controllers = {};

    const client = async (node, rooms) => {
      const socket = connect(`http://127.0.0.1:${servers[node].port}`, { transports: ['websocket'], reconnection: false, auth: { rooms }, forceNew: true });
      socket.events = [];
      socket.onAny((name, ...args) => {
        const ack = typeof args.at(-1) === 'function' ? args.pop() : undefined;
        if (name !== 'ready') socket.events.push([name, ...args]);
        if (name === 'none') ack?.();
        else if (name === 'bin') ack?.(Buffer.from([9, 8, 7]));
        else if (name !== 'mute') ack?.(`${node}:${args[0]}`);
      });
      await within(LONG, `${node} to greet`, new Promise((resolve) => socket.once('ready', resolve)));
      return socket;
    };
    const tell = async (node, command) => {
      const result = await within(LONG, `${node} to do ${command.op}`, controllers[node].emitWithAck('do', command));
      return result;
    };
    const done = async (node, command) => {
      const result = await tell(node, command);
      assert.equal(result.error, undefined, `${node}: ${command.op}`);
      return result;
    };
    const each = (f) => Promise.all(nodes.map(f));
    /** Waits until everything from a node has reached all clients, and returns what each got, by the name of its node. */
    let fences = 0;
    const received = async (from) => {
      const name = `fence${++fences}`;
      await done(from, { op: 'emit', event: name });
      // Rooms have channels of their own, whose messages may come later than the fence: it goes there, too.
      await done(from, { op: 'emit', event: name, rooms: ['all'] });
      const got = {};
      await each(async (node) => {
        if (!clients[node].connected) return;
        await until(`${node} to get the fence`, () => clients[node].events.filter(([e]) => e === name).length === 2);
        got[node] = clients[node].events.filter(([e]) => !e.startsWith('fence'));
        clients[node].events = [];
      });
      return got;
    };

    before(async () => {
      backend = await startBackend(adapter);
      for (const node of nodes) {
        // One of the Go nodes answers on the channel of the node that asks, which is an option of the classic adapter.
        const name = adapter === 'redis' && node === 'go2' ? 'redis-specific' : adapter;
        servers[node] = await startNode(node.slice(0, -1), { adapter: name, url: backend.url });
      }
      await each(async (node) => {
        controllers[node] = await client(node, []);
        clients[node] = await client(node, ['all', node]);
      });
      await each((node) => until(`${node} to count all nodes`, async () => (await done(node, { op: 'count' })).count === nodes.length));
      // Rooms are subscribed to in the background.
      for (const from of nodes) {
        for (const room of ['all', ...nodes]) {
          const members = room === 'all' ? nodes : [room];
          await until(`${from} to reach ${room}`, async () => {
            await done(from, { op: 'emit', event: 'probe', args: [from, room], rooms: [room] });
            await sleep(20);
            return members.every((node) => clients[node].events.some(([, f, r]) => f === from && r === room));
          });
        }
      }
      for (const from of nodes) await received(from);
    });
    after(async () => {
      for (const socket of [...Object.values(clients), ...Object.values(controllers)]) socket.close();
      await each((node) => servers[node]?.stop());
      await backend?.kill();
    });

    for (const from of actors) {
      test(`${from} emits to rooms, with exceptions`, async () => {
        const others = nodes.filter((node) => node !== from);
        for (const [rooms, except, want] of [
          [[], [], nodes],
          [['all'], [], nodes],
          [['all', others[0]], [from, others[1]], [others[0], others[2]]],
          [[others[1]], [], [others[1]]],
          [[clients[others[2]].id], [], [others[2]]],
          [[], [others[0]], nodes.filter((node) => node !== others[0])],
          [['all'], [clients[others[0]].id], nodes.filter((node) => node !== others[0])],
          [['nobody'], [], []],
        ]) {
          await done(from, { op: 'emit', event: 'e', args: [1, '2', { 3: ['4', null, true, 1.5, 'é€😀'] }], rooms, except });
          if (rooms.length === 1) {
            await until(`rooms ${rooms}`, () => want.every((node) => clients[node].events.length)); // channels of their own
          }
          const got = await received(from);
          for (const node of nodes) {
            const events = want.includes(node) ? [['e', 1, '2', { 3: ['4', null, true, 1.5, 'é€😀'] }]] : [];
            assert.deepEqual(got[node], events, `rooms ${rooms} except ${except}: ${node}`);
          }
        }
      });

      test(`${from} emits binary`, async () => {
        const args = [Buffer.from([1, 2, 3, 255]), { u8: Buffer.from([5, 6]), n: null }];
        await done(from, { op: 'emit', event: 'x', args });
        // Over PostgreSQL the official server fetches it, and what comes later may be faster.
        await each((node) => until(`${node} to get it`, () => clients[node].events.length));
        const got = await received(from);
        for (const node of nodes) assert.deepEqual(got[node], [['x', ...args]], node);
      });

      test(`${from} broadcasts with acknowledgements`, async () => {
        let r = await done(from, { op: 'ack', event: 'q', args: ['x'], rooms: ['all'], timeout: 5000 });
        assert.deepEqual(r.replies.sort(), nodes.map((node) => `${node}:x`).sort());
        r = await done(from, { op: 'ack', event: 'q', args: ['y'], rooms: nodes.slice(2), timeout: 5000 });
        assert.deepEqual(r.replies.sort(), nodes.slice(2).map((node) => `${node}:y`).sort());
        r = await done(from, { op: 'ack', event: 'bin', args: [Buffer.from([1])], rooms: nodes.slice(2), timeout: 5000 });
        assert.deepEqual(r.replies, [Buffer.from([9, 8, 7]), Buffer.from([9, 8, 7])]);
        r = await done(from, { op: 'ack', event: 'none', rooms: nodes.slice(2), timeout: 5000 });
        assert.equal(r.replies.length, 2);
        r = await done(from, { op: 'ack', event: 'q', rooms: ['nobody'], timeout: 5000 });
        assert.deepEqual(r.replies ?? [], []);
        r = await tell(from, { op: 'ack', event: 'mute', rooms: ['all'], timeout: 300 });
        assert.match(r.error, /operation has timed out/);
        await received(from);
      });

      test(`${from} fetches sockets`, async () => {
        const { sockets } = await done(from, { op: 'fetch', rooms: ['all'] });
        assert.deepEqual(sockets.map((s) => s.id).sort(), nodes.map((node) => clients[node].id).sort());
        for (const node of nodes) {
          const s = sockets.find((s) => s.id === clients[node].id);
          assert.deepEqual(s.rooms.sort(), ['all', node, s.id].sort());
          assert.deepEqual(s.data, { rooms: 2 });
          assert.deepEqual(Object.keys(s.handshake).sort(), ['address', 'auth', 'headers', 'issued', 'query', 'secure', 'time', 'url', 'xdomain']);
          assert.deepEqual(s.handshake.auth, { rooms: ['all', node] });
          assert.equal(s.handshake.query.EIO, '4');
          assert.equal(s.handshake.address.replace('::ffff:', ''), '127.0.0.1');
          assert.ok(Date.now() - s.handshake.issued < 600_000 && s.handshake.headers.host);
        }
        const other = nodes.find((node) => node.slice(0, 2) !== from.slice(0, 2));
        const { replies } = await done(from, { op: 'remote', rooms: [clients[other].id], event: 'q', args: ['r'] });
        assert.deepEqual(replies, [`${other}:r`]);
        await received(from);
      });

      test(`${from} lets sockets join and leave`, async () => {
        await done(from, { op: 'join', rooms: ['all'], except: ['node2'], to: ['new', 'newer'] });
        await done(from, { op: 'leave', rooms: ['all'], to: ['newer'] });
        const want = nodes.filter((node) => node !== 'node2');
        await until('the sockets to join', async () => {
          const { sockets = [] } = await done(from, { op: 'fetch', rooms: ['new'] });
          return sockets.length === want.length && sockets.every((s) => !s.rooms.includes('newer'));
        });
        await until('the new room to be reached', async () => {
          await done(from, { op: 'emit', event: 'n', rooms: ['new'] });
          await sleep(20);
          return want.every((node) => clients[node].events.length);
        });
        await done(from, { op: 'leave', to: ['new'] });
        await until('the sockets to leave', async () => !(await done(from, { op: 'fetch', rooms: ['new'] })).sockets?.length);
        assert.deepEqual((await received(from)).node2, []);
      });

      test(`${from} emits to the other nodes`, async () => {
        await each((node) => done(node, { op: 'heard' }));
        await done(from, { op: 'sse', event: 'sse', args: [1, { a: [true] }] });
        for (const node of nodes) {
          if (node === from) continue;
          const { heard } = await until(`${node} to hear it`, async () => {
            const r = await done(node, { op: 'heard' });
            return r.heard?.length && r;
          });
          assert.deepEqual(heard, [[1, { a: [true] }]], node);
        }
        const { replies } = await done(from, { op: 'sse-ack', event: 'sse', args: ['q'] });
        assert.deepEqual(replies.sort(), nodes.filter((node) => node !== from).map((node) => node.slice(0, -1)).sort());
        assert.deepEqual((await done(from, { op: 'heard' })).heard ?? [], []);
      });

      test(`${from} disconnects sockets`, async () => {
        const left = nodes.map((node) => new Promise((resolve) => clients[node].once('disconnect', resolve)));
        await done(from, { op: 'disconnect', rooms: ['all'], except: ['nobody'], close: from === 'go1' });
        for (const reason of await within(LONG, 'the clients to be disconnected', Promise.all(left))) {
          assert.equal(reason, 'io server disconnect');
        }
        await each(async (node) => {
          clients[node] = await client(node, ['all', node]);
        });
        for (const sender of nodes) {
          for (const room of ['all', ...nodes]) {
            await until(`${sender} to reach ${room} again`, async () => {
              await done(sender, { op: 'emit', event: 'probe', args: [sender, room], rooms: [room] });
              await sleep(20);
              return (room === 'all' ? nodes : [room]).every((node) => clients[node].events.some(([, f, r]) => f === sender && r === room));
            });
          }
        }
        for (const sender of nodes) await received(sender);
      });
    }
  });
}
