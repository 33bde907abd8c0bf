// The official client as the tests use it: every socket has a connection of its own, does not reconnect unless the test
// wants that, keeps what it receives, and is closed when its endpoint is released.
//
//   const socket = await connect(app, { transports: ['websocket'], auth: { token: 'x' } });
//   socket.emit('message', 1);
//   assert.deepEqual(await socket.inbox.next(), ['message-back', 1]);
import assert from 'node:assert/strict';
import { Fetch } from 'engine.io-client';
import { Manager } from 'socket.io-client';
import { Queue, SOON, within } from './wait.js';

/** The ways a client may reach a server: [name, options]. */
export const ways = [
  ['polling', { transports: ['polling'] }],
  ['polling by fetch', { transports: [Fetch] }],
  ['websocket', { transports: ['websocket'] }],
  ['upgrade', { transports: ['polling', 'websocket'] }],
];

/** The options of one way by its name. */
export const way = (name) => ways.find(([n]) => n === name)[1];

/**
 * A socket that is connecting. options: those of the official Manager, and
 *   nsp, auth   namespace and auth payload
 *   on          the socket whose connection is to be shared
 * socket.inbox holds the events received, as arrays; socket.ends the reasons of disconnection.
 */
export function open(endpoint, { nsp = '/', auth, on, ...options } = {}) {
  const manager = on?.io ?? new Manager(endpoint.url, { path: endpoint.path, reconnection: false, autoConnect: false, ...options });
  const socket = manager.socket(nsp, { auth });
  socket.inbox = new Inbox();
  socket.ends = [];
  socket.onAny((...event) => socket.inbox.push(event));
  socket.on('disconnect', (reason) => socket.ends.push(reason));
  if (!on) endpoint.onRelease(() => manager.disconnect());
  socket.connect();
  return socket;
}

/**
 * A connected socket, of which the application of an app knows, too; in the upgrade way the upgrade is done. Throws the client's
 * connect_error.
 */
export async function connect(endpoint, options = {}) {
  const socket = open(endpoint, options);
  await connected(socket);
  await endpoint.waitFor?.({ type: 'connection', id: socket.id });
  if (options.transports?.length > 1) await upgraded(socket);
  return socket;
}

/** Waits until a socket is connected; throws the connect_error. */
export async function connected(socket) {
  if (socket.connected) return;
  let onConnect;
  let onError;
  const outcome = new Promise((resolve, reject) => {
    socket.on('connect', (onConnect = resolve));
    socket.on('connect_error', (onError = reject));
  });
  await within(SOON, 'connect', outcome).finally(() => {
    socket.off('connect', onConnect);
    socket.off('connect_error', onError);
  });
}

/** The error that a socket is refused with. */
export async function refused(endpoint, options) {
  const socket = open(endpoint, options);
  const [err] = await once(socket, 'connect_error');
  assert.equal(socket.connected, false);
  return err;
}

/** Waits until the connection of a socket is on WebSocket. */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== 'websocket') await once(engine, 'upgrade');
}

/** The arguments of the next event of an emitter of the official client, within ms. */
export function once(emitter, event, ms = SOON) {
  let listener;
  const fired = new Promise((resolve) => emitter.on(event, (listener = (...args) => resolve(args))));
  return within(ms, `event ${event}`, fired).finally(() => emitter.off(event, listener));
}

/** Why a socket was disconnected, or will be. */
export async function ended(socket) {
  return socket.ends.length ? socket.ends[0] : (await once(socket, 'disconnect'))[0];
}

/** What arrives on a socket, in order. */
class Inbox extends Queue {
  /** The events up to the one with this name, which is left out. */
  async until(name) {
    const events = [];
    for (;;) {
      const event = await this.next(`event ${name} after ${JSON.stringify(events).slice(0, 500)}`);
      if (event[0] === name) return events;
      events.push(event);
    }
  }
}

/** A value with its binary parts, of whatever type, as {hex}, so that values can be compared. */
export function plain(v) {
  if (v instanceof ArrayBuffer) return { hex: Buffer.from(v).toString('hex') };
  if (ArrayBuffer.isView(v)) return { hex: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('hex') };
  if (Array.isArray(v)) return v.map(plain);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, plain(e)]));
}

/** The same for a value in the form of the control interface (fixture/SPEC.md, Values). */
export function plainSpec(v) {
  if (Array.isArray(v)) return v.map(plainSpec);
  if (v === null || typeof v !== 'object') return v;
  if (typeof v.$bin === 'string') return { hex: Buffer.from(v.$bin, 'base64').toString('hex') };
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, plainSpec(e)]));
}

/** A value for the control interface, its binary parts as $bin. */
export function spec(v) {
  if (v instanceof ArrayBuffer) return { $bin: Buffer.from(v).toString('base64') };
  if (ArrayBuffer.isView(v)) return { $bin: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64') };
  if (Array.isArray(v)) return v.map(spec);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, spec(e)]));
}
