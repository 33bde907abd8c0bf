// A Node.js node of the mixed clusters. It is the twin of node/main.go on the official server, with the same flags.
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { parseFlags } from '../reference/flags.js';
import { openAdapter } from './adapters.js';

const flags = parseFlags({
  addr: ['string', '127.0.0.1:0'],
  adapter: ['string', 'redis'],
  backend: ['string', 'redis://127.0.0.1:6379'],
  recovery: ['duration', 0],
});
const { adapter, close } = await openAdapter(flags.adapter, flags.backend);
const http = createServer();
const io = new Server(http, {
  adapter,
  ...(flags.recovery && { connectionStateRecovery: { maxDisconnectionDuration: flags.recovery } }),
});

let heard = [];
io.on('sse', (...args) => {
  const ack = typeof args.at(-1) === 'function' ? args.pop() : undefined;
  heard.push(args);
  ack?.('node', args[0]);
});

io.on('connection', async (socket) => {
  const rooms = socket.handshake.auth.rooms ?? [];
  if (!socket.recovered) {
    socket.join(rooms);
    socket.data = { rooms: rooms.length };
  }
  socket.emit('ready', 'node', process.pid);
  socket.on('say', (room, text, ack) => {
    io.to(room).emit('said', text);
    ack('node');
  });
  socket.on('do', async (command, ack) => {
    try {
      ack(await perform(command));
    } catch (err) {
      ack({ error: err.message });
    }
  });
});

async function perform({ op, rooms = [], except = [], to = [], event, args = [], timeout = 0, close: closeConn = false }) {
  let target = io.to(rooms).except(except);
  if (timeout) target = target.timeout(timeout);
  switch (op) {
    case 'emit':
      target.emit(event, ...args);
      return {};
    case 'ack':
      return new Promise((resolve) => target.emit(event, ...args, (err, replies) => resolve({ error: err?.message, replies })));
    case 'fetch': {
      const sockets = await target.fetchSockets();
      return { sockets: sockets.map(({ id, rooms, data, handshake: { issued, ...handshake } }) => ({ id, rooms: [...rooms], data, handshake: { issued, ...handshake } })) };
    }
    case 'remote': {
      const [socket] = await target.fetchSockets();
      return { replies: [await socket.timeout(5000).emitWithAck(event, ...args)] };
    }
    case 'join':
      target.socketsJoin(to);
      return {};
    case 'leave':
      target.socketsLeave(to);
      return {};
    case 'disconnect':
      target.disconnectSockets(closeConn);
      return {};
    case 'sse':
      io.serverSideEmit(event, ...args);
      return {};
    case 'sse-ack':
      return new Promise((resolve) => io.serverSideEmit(event, ...args, (err, replies) => resolve({ error: err?.message, replies })));
    case 'count':
      return { count: await io.of('/').adapter.serverCount() };
    case 'heard': {
      const events = heard;
      heard = [];
      return { heard: events };
    }
  }
  throw new Error(`unknown operation ${op}`);
}

const cut = flags.addr.lastIndexOf(':');
http.listen(Number(flags.addr.slice(cut + 1)), flags.addr.slice(0, cut), () => console.log('listening on', `127.0.0.1:${http.address().port}`));
process.on('SIGTERM', async () => {
  await io.close();
  await close();
  process.exit(0);
});
