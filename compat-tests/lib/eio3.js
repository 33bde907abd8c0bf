// Engine.IO v3 as its clients speak it: the two payload encodings, and sessions like those of lib/session.js.
//
//   encodeText, decodeText        payloads as text: `<length>:<packet>`, binary as `b4<base64>`
//   encodeBinary, decodeBinary    payloads as bytes
//   PollingSession3, WebSocketSession3, transports3
//
// Packets are text with their type digit, and bytes for binary messages (without a type), as in lib/session.js. Other than there,
// text packets that are binary by their encoding (`b4…`) come out of decodeText as bytes.
import assert from 'node:assert/strict';
import { parsePacket } from './packets.js';
import { SOON } from './wait.js';

/** Lengths count UTF-16 units, which is what length means in JavaScript. */
export const encodeText = (packets) =>
  packets.map((p) => (typeof p === 'string' ? p : `b4${p.toString('base64')}`)).map((p) => `${p.length}:${p}`).join('');

export function decodeText(payload) {
  const packets = [];
  for (let at = 0; at < payload.length; ) {
    const m = /^(\d+):/.exec(payload.slice(at, at + 20));
    assert.ok(m, `no length at ${at} of ${payload}`);
    at += m[0].length;
    const packet = payload.slice(at, (at += Number(m[1])));
    assert.equal(packet.length, Number(m[1]), payload);
    packets.push(packet.startsWith('b4') ? Buffer.from(packet.slice(2), 'base64') : packet);
  }
  return packets;
}

/** The bytes of a payload with packets of both kinds. In it lengths count bytes. */
export const encodeBinary = (packets) =>
  Buffer.concat(packets.map((packet) => {
    const isText = typeof packet === 'string';
    const data = isText ? Buffer.from(packet) : Buffer.concat([Buffer.from([4]), packet]);
    return Buffer.concat([Buffer.from([isText ? 0 : 1, ...String(data.length).split('').map(Number), 0xff]), data]);
  }));

export function decodeBinary(payload) {
  const packets = [];
  for (let at = 0; at < payload.length; ) {
    const isText = payload[at] === 0;
    assert.ok(isText || payload[at] === 1, `kind ${payload[at]}`);
    const end = payload.indexOf(0xff, at);
    const length = Number([...payload.subarray(at + 1, end)].join(''));
    const data = payload.subarray(end + 1, (at = end + 1 + length));
    assert.equal(data.length, length);
    if (!isText) assert.equal(data[0], 4, 'binary packets are messages');
    packets.push(isText ? data.toString() : Buffer.from(data.subarray(1)));
  }
  return packets;
}

/** The packets of a poll response, by its content type. */
export const decodeResponse = (res) =>
  res.headers['content-type'] === 'application/octet-stream' ? decodeBinary(res.body) : decodeText(res.text);

class Session3 {
  async next(ms = SOON) {
    return this.receive(ms);
  }

  /** The next Socket.IO packet, parsed (lib/packets.js). */
  async nextPacket(ms = SOON) {
    return parsePacket(await this.next(ms));
  }

  /** Joins a namespace other than `/`, which clients of this protocol are in by themselves. query: its query string. */
  async connect(nsp, query = '') {
    await this.send(`40${nsp}${query && `?${query}`},`);
    assert.equal(await this.next(), `40${nsp},`);
  }
}

export class PollingSession3 extends Session3 {
  #queue = [];

  /** endpoint is where the session lives; query and headers go with every request. */
  static async open(endpoint, { query = {}, headers = {} } = {}) {
    const first = await endpoint.get({ query: { EIO: '3', ...query }, headers });
    assert.equal(first.status, 200, first.text);
    const [open, ...rest] = decodeText(first.text);
    assert.equal(open[0], '0', first.text);
    return new PollingSession3(endpoint, JSON.parse(open.slice(1)), rest, { query: { EIO: '3', ...query }, headers, first });
  }

  constructor(endpoint, open, rest, { query, headers, first }) {
    super();
    Object.assign(this, { endpoint, open, sid: open.sid, query: { ...query, sid: open.sid }, headers, first });
    this.#queue.push(...rest);
  }

  get(options = {}) {
    return this.endpoint.get({ query: this.query, headers: this.headers, ...options });
  }

  post(body, { headers, ...options } = {}) {
    return this.endpoint.post(body, { query: this.query, headers: { ...this.headers, ...headers }, ...options });
  }

  /** Sends packets in the encoding that clients choose: binary if one of them is and the session is not one of base64. */
  async send(...packets) {
    const isBinary = !this.query.b64 && packets.some((p) => typeof p !== 'string');
    const res = isBinary
      ? await this.post(encodeBinary(packets), { headers: { 'Content-Type': 'application/octet-stream' } })
      : await this.post(encodeText(packets), { headers: { 'Content-Type': 'text/plain;charset=UTF-8' } });
    assert.deepEqual([res.status, res.text], [200, 'ok']);
  }

  async receive(ms) {
    if (!this.#queue.length) {
      const res = await this.get({ timeout: ms });
      assert.equal(res.status, 200, res.text);
      this.#queue.push(...decodeResponse(res));
    }
    return this.#queue.shift();
  }

  async expectGone() {
    const res = await this.get({ agent: false }); // a kept connection may have ended with the session
    assert.deepEqual([res.status, res.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  }

  /** Opens the WebSocket of an upgrade and probes; the caller sends `5` when it likes. */
  async probe() {
    const ws = await this.endpoint.ws({ query: this.query, headers: this.headers });
    ws.send('2probe');
    assert.equal(await ws.message(), '3probe');
    return ws;
  }

  /** The whole upgrade, as clients do it. */
  async upgrade() {
    const parked = this.get();
    const ws = await this.probe();
    this.#queue.push(...decodeResponse(await parked).filter((p) => p !== '6'));
    ws.send('5');
    return new WebSocketSession3(ws, this.open, this.#queue.splice(0));
  }

  async close() {
    await this.post('1:1');
  }
}

export class WebSocketSession3 extends Session3 {
  #queue;

  static async open(endpoint, { query = {}, ...options } = {}) {
    const ws = await endpoint.ws({ query: { EIO: '3', ...query }, ...options });
    const first = await ws.message();
    assert.equal(first[0], '0', first);
    return new WebSocketSession3(ws, JSON.parse(first.slice(1)));
  }

  constructor(ws, open, queue = []) {
    super();
    Object.assign(this, { ws, open, sid: open.sid });
    this.#queue = queue;
  }

  async send(...packets) {
    for (const packet of packets) this.ws.send(typeof packet === 'string' ? packet : Buffer.concat([Buffer.from([4]), packet]));
  }

  async receive(ms) {
    if (this.#queue.length) return this.#queue.shift();
    const message = await this.ws.message(ms);
    if (typeof message === 'string') return message.startsWith('b4') ? Buffer.from(message.slice(2), 'base64') : message;
    assert.equal(message[0], 4, 'binary packets are messages');
    return message.subarray(1);
  }

  async expectGone() {
    await this.ws.code();
  }

  async close() {
    this.ws.close();
    await this.ws.code();
  }
}

/** Both ways to have a session: [name, (endpoint, options) => session]. */
export const transports3 = [
  ['polling', (endpoint, options) => PollingSession3.open(endpoint, options)],
  ['websocket', (endpoint, options) => WebSocketSession3.open(endpoint, options)],
];
