// The reference twin of compat-tests/server: the same flags and the same contract, on the official Node server.
// README.md of this folder's parent describes the contract.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Server as Engine } from 'engine.io';
import { Server } from 'socket.io';
import msgpackParser from 'socket.io-msgpack-parser';
import { parseFlags } from './flags.js';

const flags = parseFlags({
  addr: ['string', '127.0.0.1:3000'],
  'ping-interval': ['duration', 25000],
  'ping-timeout': ['duration', 20000],
  'connect-timeout': ['duration', 45000],
  'max-payload': ['int', 1000000],
  'cors-origin': ['string', '*'],
  'allow-eio3': ['bool', false],
  recovery: ['duration', 0],
  deflate: ['bool', false],
  parser: ['string', 'default'],
  'tls-cert': ['string', ''],
  'tls-key': ['string', ''],
  adapter: ['string', 'memory'],
  backend: ['string', 'redis://127.0.0.1:6379'],
  // Of no meaning here; accepted so that both programs take the same arguments.
  'no-epoll': ['bool', false],
  'own-listener': ['bool', false],
});

const options = {
  pingInterval: flags['ping-interval'],
  pingTimeout: flags['ping-timeout'],
  maxHttpBufferSize: flags['max-payload'],
  allowEIO3: flags['allow-eio3'],
  perMessageDeflate: flags.deflate,
};
if (flags['cors-origin']) options.cors = { origin: flags['cors-origin'] };

const httpServer = flags['tls-cert']
  ? https.createServer({ cert: readFileSync(flags['tls-cert']), key: readFileSync(flags['tls-key']) })
  : http.createServer();
httpServer.keepAliveTimeout = 0;
httpServer.on('request', (req, res) => res.writeHead(404).end());

const engine = new Engine(options);
engine.attach(httpServer, { path: '/engine.io' });
engine.on('connection', (session) => session.on('message', (data) => session.send(data)));

// The adapters are of the package in ../cluster, which is not needed without.
const nodes = flags.adapter !== 'memory' && (await (await import('../cluster/adapters.js')).openAdapter(flags.adapter, flags.backend));
const io = new Server(httpServer, {
  ...options,
  connectTimeout: flags['connect-timeout'],
  ...(flags.recovery && { connectionStateRecovery: { maxDisconnectionDuration: flags.recovery } }),
  ...(nodes && { adapter: nodes.adapter }),
  ...(flags.parser === 'msgpack' && { parser: msgpackParser }),
});
const report = (err) => err && console.error(err.message);
io.on('sse', (...args) => typeof args.at(-1) === 'function' && args.pop()(process.pid));
const auth = (socket) => socket.emit('auth', socket.handshake.auth);
io.of('/custom').on('connection', auth);
io.on('connection', (socket) => {
  socket.join('all');
  socket.on('message', (...args) => socket.emit('message-back', ...args));
  socket.on('message-with-ack', (...args) => args.pop()(...args));
  socket.on('echo', (arg, ack) => ack(arg));
  socket.on('bcast', (arg) => io.to('all').emit('msg', arg));
  socket.on('fetch', (...args) => {
    const ack = args.pop();
    io.in('all').fetchSockets().then((sockets) => ack(sockets.map(({ id }) => id)), (err) => (report(err), ack([])));
  });
  socket.on('sse', (...args) => {
    const ack = args.pop();
    io.serverSideEmit('sse', ...args, (err, answers) => (report(err), ack(answers)));
  });
  socket.on('bcast-ack', (...args) => {
    const ack = args.pop();
    io.to('all').timeout(1000).emit('bcast-ack', ...args, (err, answers) => (report(err), ack(answers)));
  });
  auth(socket);
});

const cut = flags.addr.lastIndexOf(':');
httpServer.listen(Number(flags.addr.slice(cut + 1)), flags.addr.slice(0, cut) || undefined, () => {
  const { address, port } = httpServer.address();
  console.log(`listening on ${address}:${port}`);
});

process.on('SIGTERM', async () => {
  engine.close();
  io.close();
  httpServer.closeAllConnections();
  if (nodes) await nodes.close();
  // Clients that never answer the close frame must not keep the process.
  setTimeout(() => process.exit(0), 200);
});
