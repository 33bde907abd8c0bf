// Clients that lose their connection resume their session on another node, from a Node.js node on a Go node and back: the id,
// rooms and data, and what they have missed, in order. Over Redis streams, where the official adapters can do that.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { LONG, chosen, missing, startBackend, startNode, until, within } from './harness.js';

describe('connection state recovery across nodes', () => {
  for (const adapter of chosen('redis-streams')) {
    test(adapter, { skip: missing(adapter) }, async (t) => {
      const backend = await startBackend(adapter);
      const servers = {};
      const controllers = {};
      const sockets = [];
      t.after(async () => {
        for (const socket of sockets) socket.close();
        await Promise.all(Object.values(servers).map((server) => server.ended || server.stop()));
        await backend.kill();
      });
      const greeted = (socket) => within(LONG, 'a greeting', new Promise((resolve, reject) => {
        socket.once('ready', resolve);
        socket.once('connect_error', reject);
      }));
      const open = async (kind, rooms) => {
        const socket = connect(`http://127.0.0.1:${servers[kind].port}`, { transports: ['websocket'], reconnection: false, forceNew: true, auth: { rooms } });
        sockets.push(socket);
        socket.events = [];
        socket.onAny((...event) => event[0] !== 'ready' && socket.events.push(event));
        await greeted(socket);
        return socket;
      };
      for (const kind of ['node', 'go']) {
        servers[kind] = await startNode(kind, { adapter, url: backend.url, recovery: '2m' });
        controllers[kind] = await open(kind, []);
      }
      const tell = async (kind, command) => {
        const result = await within(LONG, `${kind} to do ${command.op}`, controllers[kind].emitWithAck('do', command));
        assert.equal(result.error, undefined, command.op);
        return result;
      };
      const describeSocket = async (kind, id) => (await tell(kind, { op: 'fetch' })).sockets.find((s) => s.id === id);

      const socket = await open('node', ['all', 'mine']);
      const { id } = socket;
      await tell('go', { op: 'join', rooms: ['mine'], to: ['later'] });
      await until('the socket to join', async () => (await describeSocket('node', id)).rooms.includes('later'), LONG);
      const before = await describeSocket('go', id);
      assert.deepEqual(before.rooms.sort(), ['all', 'mine', 'later', id].sort());
      assert.deepEqual(before.data, { rooms: 2 });

      let from = 'node';
      for (const to of ['go', 'node', 'go', 'go']) {
        await tell(from, { op: 'emit', event: 'live', args: [from], rooms: ['mine'] });
        await until('an event with an offset', () => socket.events.length === 1, LONG);
        const [[event, text, offset]] = socket.events.splice(0);
        assert.deepEqual([event, text], ['live', from]);
        assert.match(offset, /^\d+-\d+$/);

        socket.io.engine.close();
        await until('the socket to be gone', async () => !(await describeSocket(to, id)), LONG);
        const binary = Buffer.from([0, 1, 255]);
        for (const kind of ['node', 'go']) {
          await tell(kind, { op: 'emit', event: 'missed', args: [kind, 'to a room'], rooms: ['mine'] });
          await tell(kind, { op: 'emit', event: 'missed', args: [kind, { binary }], rooms: ['later', 'mine'] });
          await tell(kind, { op: 'emit', event: 'missed', args: [kind, 'to all'] });
          await tell(kind, { op: 'emit', event: 'missed', args: [kind, 'to itself'], rooms: [id] });
          await tell(kind, { op: 'emit', event: 'not for it', rooms: ['others'] });
          await tell(kind, { op: 'emit', event: 'not for it', rooms: ['all'], except: ['later'] });
          // The controllers are sent "to all", too, by its last event each: so it is in the stream.
          for (const other of Object.values(controllers)) {
            await until('what was sent to all', () => other.events.some(([, k, text]) => k === kind && text === 'to all'), LONG);
            other.events.length = 0;
          }
        }
        socket.io.uri = `http://127.0.0.1:${servers[to].port}`;
        socket.connect();
        await greeted(socket);
        assert.equal(socket.recovered, true, `from ${from} to ${to}`);
        assert.equal(socket.id, id);
        const want = ['node', 'go'].flatMap((kind) => ['to a room', { binary }, 'to all', 'to itself'].map((text) => ['missed', kind, text]));
        await until('what it has missed', () => socket.events.length >= want.length, LONG);
        assert.deepEqual(socket.events.splice(0).map((event) => event.slice(0, 3)), want);
        const after = await describeSocket(from, id);
        assert.deepEqual(after.rooms.sort(), before.rooms);
        assert.deepEqual(after.data, before.data);
        from = to;
      }

      // A session is stored when its connection ends; a node that is killed stores none.
      servers.go.signal('SIGKILL');
      await until('the client to know', () => !socket.connected, LONG);
      socket.io.uri = `http://127.0.0.1:${servers.node.port}`;
      socket.connect();
      await greeted(socket);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
    });
  }
});
