// Engine.IO v4 sessions spoken by hand. PollingSession and WebSocketSession have the same surface, so that one test body
// can run over both:
//   sid, open (the JSON of the open packet)
//   send(...packets)      sends Engine.IO packets: text as it is, bytes as a binary message
//   next(ms)              the next packet from the server (text or bytes); heartbeats are answered and skipped if autoPong is set
//   expectClosed(ms)      waits until the server has closed the session; returns the packets that came before
//   connect(nsp, auth)    joins a Socket.IO namespace, and waits until the application of an app knows; returns the payload of the reply
//   close()               leaves as a client does
import assert from 'node:assert/strict';
import { connectPacket, decodePayload, encodePayload, parsePacket } from './packets.js';
import { SOON } from './wait.js';

class Session {
  /** Answer the server's pings. */
  autoPong = false;

  async next(ms = SOON) {
    for (;;) {
      const packet = await this.receive(ms);
      if (packet !== '2' || !this.autoPong) return packet;
      await this.send('3');
    }
  }

  /** The next Socket.IO packet, parsed (lib/packets.js). */
  async nextPacket(ms = SOON) {
    return parsePacket(await this.next(ms));
  }

  async connect(nsp = '/', auth = undefined) {
    await this.send(connectPacket(nsp, auth));
    const { type, nsp: where, data } = await this.nextPacket();
    assert.deepEqual([type, where], [0, nsp], 'CONNECT is answered by CONNECT');
    await this.endpoint.waitFor?.({ type: 'connection', id: data.sid });
    return data;
  }
}

export class PollingSession extends Session {
  #queue = [];

  /** endpoint is where the session lives; query and headers go with every request. */
  static async open(endpoint, { query = {}, headers = {} } = {}) {
    const res = await endpoint.get({ query, headers });
    assert.equal(res.status, 200, res.text);
    const packets = decodePayload(res.text);
    assert.equal(packets[0][0], '0', res.text);
    return new PollingSession(endpoint, JSON.parse(packets[0].slice(1)), packets.slice(1), { query, headers, first: res });
  }

  constructor(endpoint, open, rest, { query, headers, first }) {
    super();
    Object.assign(this, { endpoint, open, sid: open.sid, query: { ...query, sid: open.sid }, headers, first });
    this.#queue.push(...rest);
  }

  /** One GET. */
  get(options = {}) {
    return this.endpoint.get({ query: this.query, headers: this.headers, ...options });
  }

  /** One POST with this body. */
  post(body, options = {}) {
    const { headers, ...rest } = options;
    return this.endpoint.post(body, { query: this.query, headers: { ...this.headers, ...headers }, ...rest });
  }

  async send(...packets) {
    const res = await this.post(encodePayload(packets));
    assert.deepEqual([res.status, res.text], [200, 'ok']);
  }

  async receive(ms) {
    if (!this.#queue.length) {
      const res = await this.get({ timeout: ms });
      assert.equal(res.status, 200, res.text);
      this.#queue.push(...decodePayload(res.text));
    }
    return this.#queue.shift();
  }

  /** The server has forgotten the session. */
  async expectGone() {
    const res = await this.get({ agent: false }); // a kept connection may have ended with the session
    assert.deepEqual([res.status, res.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  }

  async expectClosed(ms = SOON) {
    const before = this.#queue.splice(0);
    for (const end = performance.now() + ms; performance.now() < end; ) {
      const res = await this.get({ timeout: ms });
      if (res.status === 400) {
        assert.equal(res.text, '{"code":1,"message":"Session ID unknown"}');
        return before;
      }
      assert.equal(res.status, 200, res.text);
      before.push(...decodePayload(res.text).filter((p) => p !== '1' && p !== '6'));
    }
    throw new Error(`session still open after ${ms} ms`);
  }

  /** Opens the WebSocket of an upgrade and probes; the caller sends `5` when it likes. */
  async probe(options = {}) {
    const ws = await this.endpoint.ws({ query: this.query, headers: this.headers, ...options });
    ws.send('2probe');
    assert.equal(await ws.message(), '3probe');
    return ws;
  }

  /** The whole upgrade, as clients do it: probe, wait for the parked poll, `5`. */
  async upgrade(options = {}) {
    const parked = this.get();
    const ws = await this.probe(options);
    const res = await parked;
    this.#queue.push(...decodePayload(res.text).filter((p) => p !== '6'));
    ws.send('5');
    return new WebSocketSession(this.endpoint, ws, this.open, this.#queue.splice(0));
  }

  async close() {
    await this.post('1');
  }
}

export class WebSocketSession extends Session {
  #queue;

  static async open(endpoint, options = {}) {
    const ws = await endpoint.ws(options);
    const first = await ws.message();
    assert.equal(first[0], '0', first);
    return new WebSocketSession(endpoint, ws, JSON.parse(first.slice(1)));
  }

  constructor(endpoint, ws, open, queue = []) {
    super();
    Object.assign(this, { endpoint, ws, open, sid: open.sid });
    this.#queue = queue;
  }

  async send(...packets) {
    for (const packet of packets) this.ws.send(packet);
  }

  async receive(ms) {
    return this.#queue.length ? this.#queue.shift() : this.ws.message(ms);
  }

  async expectClosed(ms = SOON) {
    const before = this.#queue.splice(0);
    for (;;) {
      const item = await this.ws.next(ms);
      if (item.type === 'close' || item.type === 'end') break;
      before.push(item.data);
    }
    await this.ws.code(ms);
    return before;
  }

  async close() {
    this.ws.close();
    await this.ws.code();
  }
}

/** Both ways to have a session, for tests that must hold on each: [name, (endpoint, options) => session]. */
export const transports = [
  ['polling', (endpoint, options) => PollingSession.open(endpoint, options)],
  ['websocket', (endpoint, options) => WebSocketSession.open(endpoint, options)],
];
