// The reference twin of compat-tests/fixture: a general test server on the official Node implementation, controlled over
// HTTP. fixture/SPEC.md describes it; the section numbers below are those of that text.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server as Engine } from 'engine.io';
import { Server as SocketServer } from 'socket.io';
import msgpackParser from 'socket.io-msgpack-parser';
import { parseFlags } from './flags.js';

const flags = parseFlags({
  control: ['string', '127.0.0.1:0'],
  'no-epoll': ['bool', false],
  'own-listener': ['bool', false],
  'client-dist': ['string', ''],
  'tls-cert': ['string', ''],
  'tls-key': ['string', ''],
});
const tls = flags['tls-cert'] && { cert: readFileSync(flags['tls-cert']), key: readFileSync(flags['tls-key']) };

/* ---------- values (2) ---------- */

const isPlain = (v) => v !== null && typeof v === 'object' && !Array.isArray(v) && !Buffer.isBuffer(v);

/** A received JSON value with its extensions resolved. ctx: {args, i} for $arg, $args and $i. */
function decode(v, ctx = {}) {
  if (Array.isArray(v)) {
    return v.flatMap((e) => (isPlain(e) && e.$args === true && ctx.args ? ctx.args : [decode(e, ctx)]));
  }
  if (!isPlain(v)) return v;
  if (typeof v.$bin === 'string') return Buffer.from(v.$bin, 'base64');
  if (typeof v.$date === 'number') return new Date(v.$date);
  if (v.$undefined === true) return undefined;
  if (typeof v.$arg === 'number' && ctx.args) return ctx.args[v.$arg];
  if (v.$i === true && ctx.i !== undefined) return ctx.i;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, decode(e, ctx)]));
}

/** A JavaScript value in the form of the control interface. */
function encode(v) {
  if (Buffer.isBuffer(v) || v instanceof Uint8Array) return { $bin: Buffer.from(v).toString('base64') };
  if (v instanceof ArrayBuffer) return { $bin: Buffer.from(v).toString('base64') };
  if (v instanceof Error) return v.message;
  if (v instanceof Set) return [...v];
  if (Array.isArray(v)) return v.map(encode);
  if (v instanceof Date || !isPlain(v)) return v;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, encode(e)]));
}

function only(object, where, ...keys) {
  for (const key of Object.keys(object ?? {})) {
    if (!keys.includes(key)) throw new Error(`unknown key "${key}" in ${where}`);
  }
}

const url = (req) => new URL(req.url, 'http://localhost');

/** Conditions (3.8). */
function holds(condition, { req, handshake, event }) {
  if (!condition) return true;
  only(condition, 'if', 'query', 'auth', 'header', 'event', 'path');
  const query = handshake ? handshake.query : Object.fromEntries(url(req).searchParams);
  const headers = handshake ? handshake.headers : req.headers;
  const matches = (want, have) => Object.entries(want ?? {}).every(([k, v]) => have?.[k] === v);
  return (
    matches(condition.query, query) &&
    matches(condition.auth, handshake?.auth) &&
    matches(condition.header, headers) &&
    (condition.event === undefined || condition.event === event) &&
    (condition.path === undefined || (handshake ? handshake.url : req.url).startsWith(condition.path))
  );
}

/* ---------- options (3.1) ---------- */

const plainOptions = [
  'path', 'addTrailingSlash', 'destroyUpgrade', 'destroyUpgradeTimeout', 'serveClient', 'connectTimeout',
  'connectionStateRecovery', 'cleanupEmptyChildNamespaces', 'pingInterval', 'pingTimeout', 'upgradeTimeout',
  'maxHttpBufferSize', 'httpRequestBodyTimeout', 'maxBufferedChunks', 'transports', 'allowUpgrades', 'allowEIO3', 'perMessageDeflate', 'httpCompression',
];

function makeOptions(app, json = {}) {
  only(json, 'options', ...plainOptions, 'cookie', 'cors', 'initialPacket', 'parser', 'allowRequest', 'generateId');
  const options = {};
  for (const key of plainOptions) if (key in json) options[key] = json[key];
  if (json.cookie) options.cookie = json.cookie === true ? true : decode(json.cookie);
  if (json.cors) options.cors = makeCors(json.cors);
  if (json.initialPacket) options.initialPacket = decode(json.initialPacket);
  if (json.parser === 'msgpack') options.parser = msgpackParser;
  if (json.allowRequest) {
    const { reject, delay, if: condition, ...rest } = json.allowRequest;
    only(rest, 'allowRequest');
    options.allowRequest = async (req, callback) => {
      app.log('allow_request', requestOf(req));
      const verdict = reject && holds(condition, { req });
      if (delay) await app.sleep(delay);
      callback(verdict && typeof reject === 'string' ? reject : null, !verdict);
    };
  }
  return options;
}

function makeCors(json) {
  if (json.$perRequest) {
    const { header, options } = json.$perRequest;
    const made = Object.fromEntries(Object.entries(options).map(([k, v]) => [k, makeCors(v)]));
    return (req, callback) => callback(null, made[req.headers[header]] ?? { origin: false });
  }
  only(json, 'cors', 'origin', 'credentials', 'methods', 'allowedHeaders', 'exposedHeaders', 'maxAge',
    'optionsSuccessStatus', 'preflightContinue');
  const origin = (v) => {
    if (Array.isArray(v)) return v.map(origin);
    if (v?.$regexp !== undefined) return new RegExp(v.$regexp);
    if (v?.$call) {
      const { allow = [], fail = [] } = v.$call;
      return (o, callback) => (fail.includes(o) ? callback(new Error('origin refused')) : callback(null, allow.includes(o)));
    }
    return v;
  };
  return 'origin' in json ? { ...json, origin: origin(json.origin) } : { ...json };
}

const requestOf = (req) => ({ url: req.url, method: req.method, upgrade: req.headers.upgrade !== undefined });

/* ---------- an app ---------- */

class App {
  constructor(config) {
    only(config, 'config', 'kind', 'port', 'options', 'http', 'engineMiddlewares', 'headers', 'namespaces', 'dynamic',
      'engine', 'record');
    this.config = config;
    this.start = performance.now();
    this.entries = [];
    this.waiting = new Set(); // called when an entry is added or the app closes
    this.gates = new Map();
    this.closed = new AbortController();
    this.sockets = new Set();
    this.parents = [];
    this.engines = [];
  }

  log(type, fields = {}) {
    this.entries.push({ n: this.entries.length, t: Math.round((performance.now() - this.start) * 10) / 10, type, ...encode(fields) });
    this.wake();
  }

  wake() {
    for (const f of [...this.waiting]) f();
  }

  records(name) {
    return this.config.record?.includes(name);
  }

  /** Waits, at most until the app closes. */
  sleep(ms) {
    return sleep(ms, undefined, { signal: this.closed.signal }).catch(() => {});
  }

  gate(name) {
    if (!this.gates.has(name)) this.gates.set(name, Promise.withResolvers?.() ?? withResolvers());
    return this.gates.get(name);
  }

  async open() {
    const { config } = this;
    this.options = makeOptions(this, config.options);
    this.port = config.port ?? 0;
    if (config.kind === 'engineio') {
      this.engine = new Engine(this.options);
      this.setUpEngine(this.engine);
      this.makeHTTP((server) => this.engine.attach(server, this.options));
    } else {
      const start = config.http?.start ?? 'attach';
      this.makeHTTP((server) => {
        if (start === 'constructor') this.io = new SocketServer(server, this.options);
        else this.io = new SocketServer(this.options)[start === 'listen' ? 'listen' : 'attach'](server);
      });
      this.engine = this.io.engine;
      this.setUpEngine(this.engine);
      this.setUpNamespaces();
    }
    await this.listen();
  }

  /** The app's HTTP server (3.2) with the server under test attached to it. */
  makeHTTP(attach) {
    const { http: json = {} } = this.config;
    only(json, 'http', 'routes', 'upgrades', 'engines', 'start');
    const handler = (req, res) => {
      const route = json.routes?.[url(req).pathname];
      if (!route) return res.writeHead(404).end('no route');
      return res.writeHead(route.status ?? 200, route.headers ?? {}).end(route.body ?? '');
    };
    const server = tls ? https.createServer(tls, handler) : http.createServer(handler);
    server.keepAliveTimeout = 0; // a test may be slower than the default of 5 s, and then lose a request to the race
    server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    if (json.upgrades) {
      server.on('upgrade', async (req, socket, head) => {
        const delay = json.upgrades[url(req).pathname];
        if (delay === undefined) return;
        socket.on('error', () => {});
        if (delay) await this.sleep(delay);
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n');
        socket.write(head);
        socket.pipe(socket);
      });
    }
    attach(server);
    this.engines = (json.engines ?? []).map((options) => {
      const engine = new Engine(options);
      engine.attach(server, options);
      engine.on('connection', (session) => session.on('message', (data) => session.send(data)));
      return engine;
    });
    this.httpServer = server;
  }

  listen() {
    return new Promise((resolve, reject) => {
      this.httpServer.once('error', reject);
      this.httpServer.listen(this.port, '127.0.0.1', () => {
        this.httpServer.removeListener('error', reject);
        this.port = this.httpServer.address().port;
        resolve();
      });
    });
  }

  setUpEngine(engine) {
    const { config } = this;
    engine.on('connection_error', ({ req, code, message, context }) => {
      this.log('connection_error', { code, message, context: context ?? {}, url: req.url });
    });
    for (const [index, mw] of (config.engineMiddlewares ?? []).entries()) engine.use(this.engineMiddleware(mw, index));
    if (config.headers) {
      only(config.headers, 'headers', 'initial', 'all');
      engine.on('initial_headers', (headers, req) => {
        this.log('initial_headers', { url: req.url });
        Object.assign(headers, config.headers.initial);
      });
      engine.on('headers', (headers, req) => {
        this.log('headers', { url: req.url });
        Object.assign(headers, config.headers.all);
      });
    }
    if (config.options?.generateId) this.setUpIDs(engine, config.options.generateId);
    engine.on('connection', (session) => this.onSession(session));
  }

  engineMiddleware(mw, index) {
    only(mw, 'engineMiddlewares', 'if', 'delay', 'setHeaders', 'fail', 'throw', 'end');
    return async (req, res, next) => {
      this.log('engine_middleware', { index, ...requestOf(req) });
      if (!holds(mw.if, { req })) return next();
      if (mw.delay) await this.sleep(mw.delay);
      for (const [k, v] of Object.entries(mw.setHeaders ?? {})) res.setHeader(k, v);
      if (mw.fail) return next(new Error(mw.fail));
      if (mw.throw) throw new Error(mw.throw);
      if (mw.end) {
        res.writeHead(mw.end.status ?? 200, mw.end.headers ?? {});
        return res.end(mw.end.body ?? '');
      }
      return next();
    };
  }

  setUpIDs(engine, { prefix, delay, fail, ...rest }) {
    only(rest, 'generateId');
    let count = 0;
    engine.generateId = (req) => {
      this.log('generate_id', { url: req.url });
      const make = () => {
        if (fail) throw new Error(fail);
        return `${prefix}${count++}`;
      };
      return delay ? this.sleep(delay).then(make) : make();
    };
  }

  onSession(session) {
    const { engine: json = {} } = this.config;
    only(json, 'engine', 'echo', 'log', 'onSession');
    const sid = session.id;
    this.log('session', { sid, transport: session.transport.name, protocol: session.protocol, url: session.request.url });
    session.on('close', (reason, err) => this.log('session_close', { sid, reason, description: text(err) }));
    session.on('upgrade', (transport) => this.log('upgrade', { sid, transport: transport.name }));
    if (this.records('packets')) {
      const log = (type) => (packet) => this.log(type, { sid, packet: packet.type, data: packet.data ?? null });
      session.on('packet', log('packet'));
      session.on('packetCreate', log('packet_create'));
    }
    if (this.records('flush')) {
      session.on('flush', () => this.log('flush', { sid }));
      session.on('drain', () => this.log('drain', { sid }));
    }
    if (this.records('heartbeat')) session.on('heartbeat', () => this.log('heartbeat', { sid }));
    if (this.config.kind !== 'engineio') return;
    session.on('message', (data) => {
      if (json.log) this.log('message', { sid, data });
      if (json.echo) session.send(data);
    });
    this.act(json.onSession, { session });
  }

  /* namespaces (3.5, 3.6) */

  setUpNamespaces() {
    const { io, config } = this;
    if (this.records('rooms')) {
      const follow = (nsp) => {
        for (const event of ['create-room', 'join-room', 'leave-room', 'delete-room']) {
          nsp.adapter.on(event, (room, id) => this.log(event, { nsp: nsp.name, room, ...(id && { id }) }));
        }
      };
      follow(io.of('/'));
      io.of('/').on('new_namespace', follow);
    }
    io.of('/').on('new_namespace', (nsp) => this.log('new_namespace', { name: nsp.name }));
    for (const [name, behaviour] of Object.entries({ '/': {}, ...config.namespaces })) this.behave(io.of(name), behaviour);
    for (const { regexp, allow, ...behaviour } of config.dynamic ?? []) {
      const match = regexp !== undefined ? new RegExp(regexp) : this.matcher(allow ?? {});
      const parent = io.of(match);
      this.parents.push(parent);
      this.behave(parent, behaviour);
    }
  }

  matcher({ names, auth, delay, fail, ...rest }) {
    only(rest, 'allow');
    return async (name, payload, next) => {
      this.log('namespace_check', { name, auth: payload ?? null });
      if (delay) await this.sleep(delay);
      if (fail) return next(new Error(fail));
      const known = !names || names.includes(name);
      return next(null, known && Object.entries(auth ?? {}).every(([k, v]) => payload?.[k] === v));
    };
  }

  behave(nsp, json) {
    only(json, 'behaviour', 'middlewares', 'onConnection', 'on', 'once', 'use', 'onDisconnecting', 'onDisconnect',
      'onError', 'any', 'anyOutgoing', 'prependAny');
    for (const [index, mw] of (json.middlewares ?? []).entries()) {
      only(mw, 'middleware', 'if', 'actions', 'fail');
      nsp.use(async (socket, next) => {
        this.log('middleware', { nsp: socket.nsp.name, id: socket.id, index, connected: socket.connected });
        if (!holds(mw.if, { handshake: socket.handshake })) return next();
        const pending = this.act(mw.actions, { socket });
        if (pending) await pending;
        if (!mw.fail) return next();
        const err = new Error(mw.fail.message);
        if ('data' in mw.fail) err.data = decode(mw.fail.data);
        return next(err);
      });
    }
    nsp.on('connection', (socket) => this.onConnection(socket, json));
  }

  onConnection(socket, json) {
    const about = { nsp: socket.nsp.name, id: socket.id };
    this.log('connection', this.describe(socket));
    const split = (args) => {
      const ack = typeof args.at(-1) === 'function' ? args.at(-1) : undefined;
      return { ack, args: ack ? args.slice(0, -1) : args };
    };
    const listener = (event, actions) => (...all) => {
      const { ack, args } = split(all);
      this.log('event', { ...about, event, args, ack: ack !== undefined });
      this.act(actions, { socket, args, ack });
    };
    for (const [event, actions] of Object.entries(json.on ?? {})) socket.on(event, listener(event, actions));
    for (const [event, actions] of Object.entries(json.once ?? {})) socket.once(event, listener(event, actions));
    for (const [index, mw] of (json.use ?? []).entries()) socket.use(this.socketMiddleware(mw, index, socket, split));
    for (const key of ['any', 'anyOutgoing']) {
      for (let index = 0; index < (json[key] ?? 0); index++) {
        socket[key === 'any' ? 'onAny' : 'onAnyOutgoing']((event, ...all) => {
          const { ack, args } = split(all);
          this.log(key === 'any' ? 'any' : 'any_outgoing', { ...about, index, event, args, ack: ack !== undefined });
        });
      }
    }
    if (json.prependAny) {
      socket.prependAny((event, ...all) => {
        const { ack, args } = split(all);
        this.log('any', { ...about, index: -1, event, args, ack: ack !== undefined });
      });
    }
    for (const [event, key] of [['disconnecting', 'onDisconnecting'], ['disconnect', 'onDisconnect']]) {
      socket.on(event, (reason, description) => {
        this.log(event, { ...about, reason, description: text(description), rooms: [...socket.rooms], connected: socket.connected });
        this.act(json[key], { socket });
      });
    }
    socket.on('error', (err) => {
      this.log('error', { ...about, message: text(err) });
      this.act(json.onError, { socket });
    });
    this.act(json.onConnection, { socket });
  }

  socketMiddleware(mw, index, socket, split) {
    only(mw, 'use', 'if', 'rewrite', 'fail');
    return (packet, next) => {
      const [event, ...all] = packet;
      const { ack, args } = split(all);
      this.log('socket_middleware', { nsp: socket.nsp.name, id: socket.id, index, event, args });
      if (!holds(mw.if, { handshake: socket.handshake, event })) return next();
      if (mw.rewrite) packet.splice(0, packet.length, ...decode(mw.rewrite, { args }), ...(ack ? [ack] : []));
      return next(mw.fail ? new Error(mw.fail) : undefined);
    };
  }

  describe(socket) {
    return {
      nsp: socket.nsp.name,
      id: socket.id,
      sid: socket.conn.id,
      transport: socket.conn.transport.name,
      protocol: socket.conn.protocol,
      connected: socket.connected,
      recovered: socket.recovered,
      rooms: [...socket.rooms],
      data: socket.data,
      handshake: socket.handshake,
    };
  }

  /* operations (5) and actions (6) */

  /** Runs actions; returns a promise only if one of them has to wait. */
  act(actions = [], ctx, from = 0) {
    for (let i = from; i < actions.length; i++) {
      const pending = this.actOne(actions[i], ctx);
      if (pending) {
        return pending
          .catch((err) => this.closed.signal.aborted || this.log('action_error', { message: err.message }))
          .then(() => this.act(actions, ctx, i + 1));
      }
    }
    return undefined;
  }

  actOne({ server, ...op }, ctx) {
    try {
      if (op.op === 'throw') throw Object.assign(new Error(op.message), { thrown: true });
      if (op.op === 'delay') return this.sleep(op.ms);
      if (op.op === 'wait') return this.gate(op.gate).promise;
      if (op.op === 'ack') {
        ctx.ack?.(...decode(op.args ?? [], ctx));
        return undefined;
      }
      if (!ctx.socket) return this.run({ sid: ctx.session.id, ...op }, { ...ctx });
      const elsewhere = 'nsp' in op || 'parent' in op;
      const address = elsewhere ? {} : { nsp: ctx.socket.nsp.name };
      return this.run({ ...address, ...op }, { ...ctx, own: !server && !elsewhere });
    } catch (err) {
      if (err.thrown) throw err;
      this.log('action_error', { message: err.message });
      return undefined;
    }
  }

  /** One operation. Returns the result, or a promise of it; throws if it is refused. */
  run(op, ctx = {}) {
    const f = Object.hasOwn(operations, op.op) && operations[op.op];
    if (!f) throw new Error(`unknown operation "${op.op}"`);
    only(op, op.op, ...addressing, ...f.keys);
    return f.run(this, op, ctx);
  }

  namespace({ nsp = '/', parent }) {
    if (parent !== undefined) return this.parents[parent];
    const found = this.io._nsps.get(nsp);
    if (!found) throw new Error('unknown namespace');
    return found;
  }

  socket(op, ctx) {
    if (ctx.own && op.socket === undefined) return ctx.socket;
    const socket = this.namespace(op).sockets.get(op.socket);
    if (!socket) throw new Error('unknown socket');
    return socket;
  }

  /** What an operation with modifiers goes to, and whether that is a plain socket. */
  operator(op, ctx) {
    const single = (ctx.own && op.socket === undefined) || op.socket !== undefined;
    let target = single ? this.socket(op, ctx) : this.namespace(op);
    if (op.broadcast) target = target.broadcast;
    if (op.local) target = target.local;
    if (op.to !== undefined) target = target.to(op.to);
    if (op.except !== undefined) target = target.except(op.except);
    const isSocket = single && !op.broadcast && !op.local && op.to === undefined && op.except === undefined;
    if (op.volatile) target = target.volatile;
    if (op.compress !== undefined) target = target.compress(op.compress);
    if (op.timeout !== undefined) target = target.timeout(op.timeout);
    return { target, isSocket };
  }

  session(op, ctx) {
    if (ctx.session && op.sid === ctx.session.id) return ctx.session;
    if (op.sid === undefined) return this.socket(op, ctx).conn;
    if (!Object.hasOwn(this.engine.clients, op.sid)) throw new Error('unknown session');
    return this.engine.clients[op.sid];
  }

  async closeServer() {
    if (this.io) return this.io.close();
    this.engine.close();
    return new Promise((resolve) => this.httpServer.close(resolve));
  }

  /** Section 7. */
  async close() {
    this.closed.abort();
    for (const gate of this.gates.values()) gate.resolve();
    const done = this.closeServer();
    for (const engine of this.engines) engine.close();
    this.wake();
    await new Promise(setImmediate);
    this.httpServer.closeAllConnections();
    for (const socket of this.sockets) socket.destroy();
    await done;
  }
}

function withResolvers() {
  const out = {};
  out.promise = new Promise((resolve) => (out.resolve = resolve));
  return out;
}

const text = (err) => (err === undefined || err === null ? null : err instanceof Error ? err.message : String(err));

const addressing = ['op', 'nsp', 'parent', 'socket'];
const modifiers = ['broadcast', 'local', 'to', 'except', 'volatile', 'compress', 'timeout'];
const hasModifier = (op) => modifiers.some((m) => m in op);
const none = (f) => (...args) => {
  f(...args);
  return null;
};

const operations = {
  emit: {
    keys: ['args', 'count', ...modifiers],
    run: none((app, op, ctx) => {
      for (let i = 0; i < (op.count ?? 1); i++) app.operator(op, ctx).target.emit(...decode(op.args, { ...ctx, i }));
    }),
  },
  emitAck: {
    keys: ['args', ...modifiers],
    run: (app, op, ctx) => new Promise((resolve, reject) => {
      const { target, isSocket } = app.operator(op, ctx);
      const fail = (err, responses) => reject(Object.assign(err, responses && { responses }));
      target.emit(...decode(op.args, ctx), (...args) => {
        if (isSocket && op.timeout === undefined) return resolve(args);
        const [err, ...rest] = args;
        if (err) return fail(err, isSocket ? undefined : rest[0]);
        return resolve(isSocket ? rest : rest[0]);
      });
    }),
  },
  emitPromise: {
    keys: ['args', ...modifiers],
    run: async (app, op, ctx) => app.operator(op, ctx).target.emitWithAck(...decode(op.args, ctx)),
  },
  send: {
    keys: ['args', ...modifiers],
    run: none((app, op, ctx) => app.operator(op, ctx).target.send(...decode(op.args, ctx))),
  },
  join: {
    keys: ['rooms', ...modifiers],
    run: none((app, op, ctx) => {
      const { target, isSocket } = app.operator(op, ctx);
      if (isSocket && !hasModifier(op)) target.join(op.rooms);
      else target.socketsJoin(op.rooms);
    }),
  },
  leave: {
    keys: ['rooms', ...modifiers],
    run: none((app, op, ctx) => {
      const { target, isSocket } = app.operator(op, ctx);
      if (isSocket && !hasModifier(op)) op.rooms.forEach((room) => target.leave(room));
      else target.socketsLeave(op.rooms);
    }),
  },
  disconnect: {
    keys: ['close', ...modifiers],
    run: none((app, op, ctx) => {
      const { target, isSocket } = app.operator(op, ctx);
      if (isSocket) target.disconnect(op.close ?? false);
      else target.disconnectSockets(op.close ?? false);
    }),
  },
  fetch: {
    keys: modifiers,
    run: async (app, op, ctx) => {
      const sockets = await app.operator(op, ctx).target.fetchSockets();
      return sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms, data, handshake }));
    },
  },
  socket: { keys: [], run: (app, op, ctx) => app.describe(app.socket(op, ctx)) },
  setData: { keys: ['data'], run: none((app, op, ctx) => Object.assign(app.socket(op, ctx).data, decode(op.data, ctx))) },
  rooms: {
    keys: [],
    run: (app, op) => Object.fromEntries([...app.namespace(op).adapter.rooms].map(([room, ids]) => [room, [...ids]])),
  },
  namespaces: { keys: [], run: (app) => [...app.io._nsps.keys()] },
  createNamespace: {
    keys: ['name', 'behaviour'],
    run: none((app, op) => {
      const nsp = app.io.of(op.name);
      if (op.behaviour) app.behave(nsp, op.behaviour);
    }),
  },
  serverSideEmit: { keys: ['args'], run: none((app, op) => app.namespace(op).serverSideEmit(...decode(op.args))) },
  onServerSide: {
    keys: ['event'],
    run: none((app, op) => {
      const nsp = app.namespace(op);
      nsp.on(op.event, (...args) => app.log('server_side_event', { nsp: nsp.name, event: op.event, args }));
    }),
  },
  release: { keys: ['gate'], run: none((app, op) => app.gate(op.gate).resolve()) },
  sessions: { keys: [], run: (app) => Object.keys(app.engine.clients) },
  clientsCount: { keys: [], run: (app) => app.engine.clientsCount },
  sessionSend: {
    keys: ['sid', 'data', 'count', 'compress'],
    run: none((app, op, ctx) => {
      const session = app.session(op, ctx);
      for (let i = 0; i < (op.count ?? 1); i++) {
        const data = decode(op.data, { i });
        session.send(typeof data === 'string' ? data.replaceAll('$i', i) : data, { compress: op.compress });
      }
    }),
  },
  sessionClose: { keys: ['sid', 'discard'], run: none((app, op, ctx) => app.session(op, ctx).close(op.discard)) },
  writable: { keys: ['sid'], run: (app, op, ctx) => app.session(op, ctx).transport.writable },
  closeServer: { keys: [], run: (app) => app.closeServer().then(() => null) },
  closeEngine: { keys: [], run: none((app) => app.engine.close()) },
  attach: {
    keys: [],
    run: async (app) => {
      if (app.io) {
        app.makeHTTP((server) => app.io.attach(server));
        app.engine = app.io.engine;
        app.setUpEngine(app.engine);
      }
      await app.listen();
      return null;
    },
  },
};

/* ---------- the control interface (2) ---------- */

const apps = new Map();
let lastApp = 0;

const control = http.createServer(async (req, res) => {
  const reply = (status, body) => {
    const bytes = Buffer.from(JSON.stringify(body));
    res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length }).end(bytes);
  };
  try {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : undefined;
    const target = url(req);
    const [, , id, what] = target.pathname.split('/');
    if (req.method === 'POST' && target.pathname === '/apps') {
      const app = new App(body);
      await app.open();
      apps.set(String(++lastApp), app);
      return reply(200, { app: String(lastApp), port: app.port });
    }
    if (req.method === 'GET' && target.pathname === '/left') {
      const { timers, others } = leftBehind();
      const own = ['TCPServerWrap', ...others.filter((name) => name === 'TCPSocketWrap')];
      return reply(200, { left: timers + others.length - own.length });
    }
    const app = apps.get(id);
    if (!app) return reply(404, { error: { message: 'unknown app' } });
    if (req.method === 'DELETE') {
      apps.delete(id);
      await app.close();
      return reply(200, { result: null });
    }
    if (req.method === 'POST' && what === 'do') return reply(200, await perform(app, body));
    if (req.method === 'GET' && what === 'log') return reply(200, await readLog(app, target.searchParams));
    return reply(404, { error: { message: 'unknown request' } });
  } catch (err) {
    return reply(400, { error: { message: err.message } });
  }
});

/** Runs operations back to back in one turn of the event loop, and then waits for those that wait. */
async function perform(app, body) {
  const failed = (err) => ({ error: { message: err.message, ...(err.responses && { responses: encode(err.responses) }) } });
  const one = (op) => {
    try {
      const result = app.run(op);
      if (!(result instanceof Promise)) return { result: encode(result ?? null) };
      return result.then((value) => ({ result: encode(value ?? null) }), failed);
    } catch (err) {
      return failed(err);
    }
  };
  return Array.isArray(body) ? Promise.all(body.map(one)) : one(body);
}

async function readLog(app, params) {
  const since = Number(params.get('since') ?? 0);
  if (app.entries.length <= since && !app.closed.signal.aborted) {
    await new Promise((resolve) => {
      const timer = setTimeout(done, Number(params.get('wait') ?? 0));
      function done() {
        clearTimeout(timer);
        app.waiting.delete(done);
        resolve();
      }
      app.waiting.add(done);
    });
  }
  return { entries: app.entries.slice(since), next: Math.max(since, app.entries.length) };
}

control.keepAliveTimeout = 0;
const cut = flags.control.lastIndexOf(':');
control.listen(Number(flags.control.slice(cut + 1)), flags.control.slice(0, cut), () => {
  const { address, port } = control.address();
  console.log(`control on ${address}:${port}`);
});

/**
 * What the servers have left behind. Timers are told apart because the reference itself leaves some: a polling session that
 * dies between two GETs keeps one for 30 s.
 */
function leftBehind() {
  const resources = process.getActiveResourcesInfo();
  return {
    timers: resources.filter((name) => name === 'Timeout').length,
    others: resources.filter((name) => !['Timeout', 'PipeWrap', 'TTYWrap', 'Immediate'].includes(name)),
  };
}

process.once('SIGTERM', async () => {
  await Promise.all([...apps.values()].map((app) => app.close()));
  control.close();
  control.closeAllConnections();
  for (const end = performance.now() + 30_000; leftBehind().others.length; await sleep(20)) {
    if (performance.now() < end) continue;
    process.stderr.write(`left behind: ${leftBehind().others.join(' ')}\n`);
    process.exit(4);
  }
  process.exit(0);
});
