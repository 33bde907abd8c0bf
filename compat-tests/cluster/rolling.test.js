// A rolling migration: three Node.js nodes behind nginx, official clients under constant acknowledged traffic, and one node after
// the other replaced by a Go node; in the end one of these by another. No event that was acknowledged may be lost, each client
// comes back by itself, and its rooms are as they were.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { io as connect } from 'socket.io-client';
import { startNginx } from '../proxy/nginx.js';
import { LONG, buildNode, chosen, freePort, missing, sleep, startBackend, startNode, until } from './harness.js';

/**
 * How clients are kept on their node in each cluster, whether sessions survive the loss of a connection, and whether nodes subscribe
 * to rooms: until the subscription to a new one has been made, they do not hear what is said there on other nodes.
 */
const setups = {
  redis: { conf: 'cluster-hash' },
  'redis-sharded': { conf: 'cluster-hash', subscribes: true },
  postgres: { conf: 'cluster-hash' },
  'redis-streams': { conf: 'cluster-cookie', recovery: '2m' },
};

const CLIENTS = 9;
const PHASE = 120; // events between replacements

/** An app's client: in the room "all" and that of its team, it says something all the time and keeps what it hears. */
class Client {
  heard = new Map(); // text → id of the socket that heard it last
  twice = []; // texts that one socket has heard twice
  reached = new Set(); // the rooms that are known to reach it from other nodes
  sessions = 0;
  history = [];
  said = 0;

  constructor(url, index, messages, reconnection) {
    this.index = index;
    this.messages = messages;
    this.rooms = ['all', `team${index % 3}`];
    this.socket = connect(url, {
      forceNew: true,
      ...reconnection,
      transports: index % 2 ? ['websocket'] : ['polling', 'websocket'],
      auth: { rooms: this.rooms },
      withCredentials: true, // for cluster-cookie.conf
      extraHeaders: { 'X-Forwarded-For': `10.0.${index}.${7 * index + 1}` }, // for cluster-hash.conf
    });
    this.socket.on('said', (text) => {
      // Two may: the node that a client has left hears of an event at once, the one that it is on by then perhaps later.
      const { id } = this.socket;
      if (this.heard.get(text) === id) this.twice.push(text);
      this.heard.set(text, id);
      const { room, node } = messages.byText.get(text);
      if (node !== this.node) this.reached.add(room);
    });
    this.socket.on('disconnect', (reason) => {
      this.connected = false;
      this.history.push(`${reason} at ${messages.length}`);
    });
    this.socket.on('ready', (kind, node) => {
      this.node = node;
      if (!this.socket.recovered) {
        this.sessions++;
        this.reached.clear();
      }
      this.history.push(`${this.socket.recovered ? 'resumed' : 'session'} on ${kind} at ${messages.length}`);
      // The official adapter may lose or repeat what was under way when the session was lost, or is when it is resumed: it
      // sends its own events ahead of those of other nodes that are before them in the stream.
      if (this.socket.recovered && [kind, this.kind].includes('node')) {
        for (const m of messages.slice(messages.settled)) m.unsure.add(this);
      }
      this.kind = kind;
      this.connected = true;
    });
  }

  async talk(stopped) {
    for (; !stopped(); await sleep(80)) {
      if (!this.connected) continue;
      const room = this.rooms[this.said % 2];
      const message = { room, text: `${this.index}:${this.said++}`, node: this.node, audience: new Map(), unsure: new Set() };
      for (const client of this.clients) {
        if (!client.rooms.includes(room) || (this.subscribes && !client.reached.has(room))) continue;
        // Those that are in a session now have to hear it, unless this session ends first. One that resumes it later is in it.
        if (client.connected || client.resumes) message.audience.set(client, client.sessions);
      }
      this.messages.push(message);
      this.messages.byText.set(message.text, message);
      message.acked = await this.socket.timeout(LONG).emitWithAck('say', room, message.text).then(() => true, () => false);
    }
  }
}

describe('rolling migration', { concurrency: true }, () => { // they wait most of the time
  for (const adapter of chosen(...Object.keys(setups))) {
    test(adapter, { skip: missing(adapter, 'nginx') }, async (t) => {
      const { conf, recovery, subscribes } = setups[adapter];
      // A session has to be in Redis before its client comes back.
      const reconnection = recovery ? { reconnectionDelayMax: 1000 } : { reconnectionDelay: 50, reconnectionDelayMax: 200 };
      await buildNode();
      const backend = await startBackend(adapter);
      const servers = [];
      const clients = [];
      let stopped = false;
      t.after(async () => {
        stopped = true;
        for (const { socket } of clients) socket.close();
        await Promise.all(servers.map((server) => server.ended || server.stop()));
        await backend.kill();
      });
      const open = (kind, port) => startNode(kind, { adapter, url: backend.url, addr: `127.0.0.1:${port}`, ...(recovery && { recovery }) });
      for (let i = 0; i < 3; i++) servers.push(await open('node', await freePort()));
      const nginx = await startNginx(t, conf, ...servers.map(({ port }) => port));

      // By their text, too, and the number of those that everyone had before the last replacement.
      const messages = Object.assign([], { byText: new Map(), settled: 0 });
      const join = async () => {
        const client = new Client(`http://127.0.0.1:${nginx.port}`, clients.length, messages, reconnection);
        Object.assign(client, { clients, subscribes, resumes: Boolean(recovery) });
        clients.push(client);
        await until('a client to connect', () => client.connected, LONG);
        return client;
      };
      while (clients.length < CLIENTS) await join();
      const [{ socket: controller }] = clients;
      const tell = async (command) => {
        const result = await until('an answer', () => controller.timeout(LONG).emitWithAck('do', command).catch(() => false), LONG);
        assert.equal(result.error, undefined, `${command.op}: ${result.error}`);
        return result;
      };
      const ids = clients.map(({ socket }) => socket.id);
      const rooms = (client) => [...client.rooms, client.socket.id];
      if (recovery) {
        // Nobody joins this room again: sessions keep it.
        await tell({ op: 'join', rooms: ['team1'], to: ['promoted'] });
        for (const client of clients) if (client.index % 3 === 1) client.rooms.push('promoted');
      }

      /** Waits until all that has been acknowledged of what was said by now has reached those who have been connected since. */
      let checked = 0;
      const deliveries = async () => {
        const from = checked;
        for (const now = messages.length; checked < now; checked++) {
          const m = messages[checked];
          await until(`the end of saying ${m.text}`, () => m.acked !== undefined, LONG);
          for (const [client, session] of m.acked ? m.audience : []) {
            await until(`client ${client.index} to hear ${m.text}`, () => client.heard.has(m.text) || client.sessions !== session || m.unsure.has(client), LONG);
          }
        }
        messages.settled = from;
      };
      const talks = clients.map((client) => client.talk(() => stopped));
      const traffic = async (n) => {
        const target = messages.length + n;
        await until('traffic', () => messages.length >= target, LONG);
        await deliveries();
      };
      await traffic(PHASE);

      for (const i of [0, 1, 2, 0]) {
        const { port } = servers[i];
        await servers[i].stop();
        servers[i] = await open('go', port);
        await until('all clients to come back', () => clients.every(({ connected }) => connected), LONG);
        // New ones come, until there are some on Go nodes.
        while (!clients.some(({ kind }) => kind === 'go')) {
          talks.push((await join()).talk(() => stopped));
          await sleep(200); // nginx tries a server again after a second
        }
        t.diagnostic(`clients on each node: ${clients.map(({ kind }) => kind)}`);
        await traffic(PHASE);
      }

      stopped = true;
      await Promise.all(talks);
      await deliveries();
      const acked = messages.filter((m) => m.acked);
      t.diagnostic(`${acked.length} of ${messages.length} events acknowledged`);
      assert.ok(acked.length > 3 * PHASE && acked.length > messages.length * 0.8);
      assert.ok(acked.filter(({ audience }) => audience.size > 1).length > 3 * PHASE, 'there was nobody to hear it');
      for (const m of messages) {
        for (const client of clients) {
          if (!client.rooms.includes(m.room)) assert.ok(!client.heard.has(m.text), `client ${client.index} has heard what is not for it`);
          if (!m.unsure.has(client)) assert.ok(!client.twice.includes(m.text), `client ${client.index} has heard ${m.text}, number ${messages.indexOf(m)}, twice: ${client.history}`);
        }
      }
      for (const client of clients) {
        assert.equal(client.kind, 'go', `client ${client.index}: ${client.history}`);
        if (recovery) assert.equal(client.sessions, 1, `client ${client.index} has lost its session: ${client.history}`);
        else assert.ok(client.sessions > 1 || client.index >= CLIENTS);
      }
      if (recovery) assert.deepEqual(clients.slice(0, CLIENTS).map(({ socket }) => socket.id), ids);
      // A session whose client has given it up, because a poll failed, goes with its heartbeat.
      const sockets = await until('those sockets only that clients know of', async () => {
        const { sockets } = await tell({ op: 'fetch' });
        return sockets.length <= clients.length && sockets;
      }, 2 * LONG);
      assert.equal(sockets.length, clients.length, 'sockets in the cluster');
      for (const client of clients) {
        assert.deepEqual(sockets.find(({ id }) => id === client.socket.id).rooms.sort(), rooms(client).sort(), `client ${client.index}`);
      }
    });
  }
});
