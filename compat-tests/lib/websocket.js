// A WebSocket client on a bare connection. It can send any frame, right or wrong, and reports every frame that comes.
import { createHash, randomBytes } from 'node:crypto';
import { Connection } from './tcp.js';
import { Queue, SOON, within } from './wait.js';

export const TEXT = 1;
export const BINARY = 2;
export const CONTINUATION = 0;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const names = { [TEXT]: 'text', [BINARY]: 'binary', [CLOSE]: 'close', [PING]: 'ping', [PONG]: 'pong' };

/**
 * The bytes of one frame. options: opcode, payload, fin (true), rsv (0, three bits), mask (true; false leaves the
 * frame unmasked), length (announced instead of the true one), wide (bytes of the extended length field: 0, 2 or 8).
 */
export function encodeFrame({ opcode = TEXT, payload = '', fin = true, rsv = 0, mask = true, length, wide } = {}) {
  const body = Buffer.from(payload);
  const n = length ?? body.length;
  const width = wide ?? (n < 126 ? 0 : n < 65536 ? 2 : 8);
  const head = Buffer.alloc(2 + width);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (width === 0 ? n : width === 2 ? 126 : 127);
  if (width === 2) head.writeUInt16BE(n, 2);
  if (width === 8) head.writeBigUInt64BE(BigInt(n), 2);
  if (!mask) return Buffer.concat([head, body]);
  const key = randomBytes(4);
  const masked = Buffer.from(body);
  for (let i = 0; i < masked.length; i++) masked[i] ^= key[i & 3];
  return Buffer.concat([head, key, masked]);
}

/** The payload of a close frame. */
export function closePayload(code, reason = '') {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, Buffer.from(reason)]);
}

/** The text of an upgrade request. headers replace the usual ones; a value of null leaves one out. */
export function upgradeRequest(path, { method = 'GET', headers = {}, key = randomBytes(16).toString('base64') } = {}) {
  const all = {
    Host: '127.0.0.1',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': key,
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([k, v]) => (v === null ? [] : [v].flat().map((one) => `${k}: ${one}`)));
  return `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

/** What openWebSocket throws when the answer is not 101: status, headers, body, head. */
export class Rejected extends Error {
  constructor({ status, headers, head }, body) {
    super(`WebSocket refused with ${status} ${body}`);
    Object.assign(this, { status, headers, head, body: body.toString() });
  }
}

/**
 * Opens a WebSocket. options: those of upgradeRequest, and early: bytes sent right behind the request.
 * Throws Rejected when the server answers otherwise, and an Error when it closes without an answer.
 */
export async function openWebSocket(port, path, options = {}) {
  const connection = await Connection.open(port);
  const key = options.key ?? randomBytes(16).toString('base64');
  connection.write(Buffer.concat([Buffer.from(upgradeRequest(path, { ...options, key })), options.early ?? Buffer.alloc(0)]));
  const response = await connection.readHead();
  if (!response) throw new Error('connection closed instead of an answer to the upgrade request');
  if (response.status !== 101) throw new Rejected(response, await connection.readBody(response).finally(() => connection.destroy()));
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  if (response.headers['sec-websocket-accept'] !== accept) throw new Error('wrong Sec-WebSocket-Accept');
  return new WebSocket(connection, response);
}

export class WebSocket {
  /** Frames and messages in order: {type, data, …}; the last one is {type:"end"}. */
  #incoming = new Queue();
  #message;

  constructor(connection, response) {
    this.connection = connection;
    this.headers = response.headers;
    this.head = response.head;
    /** Whether a close frame is answered at once, as RFC 6455 wants. */
    this.answersClose = true;
    /** Whether ping frames are answered. */
    this.answersPings = true;
    this.closeFrame = undefined;
    /** Resolves to the close code when the connection has ended: 1005 for an empty close frame, 1006 for none. */
    this.closed = this.#read();
    this.closed.catch(() => {});
  }

  async #read() {
    for (;;) {
      const head = await this.connection.take(headLength, 'WebSocket frame', 0x7fffffff);
      if (!head) break;
      const size = head[1] & 0x7f;
      const length = size < 126 ? size : size === 126 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2));
      if (head[1] & 0x80) throw new Error('server sent a masked frame');
      const payload = await this.connection.take((b) => (b.length < length ? undefined : length), 'WebSocket payload', 0x7fffffff);
      if (!payload) break;
      this.#frame({ fin: head[0] >= 0x80, rsv: (head[0] >> 4) & 7, opcode: head[0] & 15, payload: Buffer.from(payload) });
    }
    this.#incoming.push({ type: 'end' });
    this.connection.destroy();
    return this.closeFrame ? this.closeFrame.code : 1006;
  }

  #frame(frame) {
    const { fin, rsv, opcode, payload } = frame;
    if (opcode === CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.closeFrame = { type: 'close', code, reason: payload.subarray(2).toString(), payload };
      this.#incoming.push(this.closeFrame);
      if (this.answersClose) this.frame({ opcode: CLOSE, payload });
      return;
    }
    if (opcode >= 8) {
      if (opcode === PING && this.answersPings) this.frame({ opcode: PONG, payload });
      this.#incoming.push({ type: names[opcode], data: payload });
      return;
    }
    if (opcode !== CONTINUATION) this.#message = { opcode, rsv, parts: [] };
    this.#message.parts.push(payload);
    if (!fin) return;
    const data = Buffer.concat(this.#message.parts);
    const { opcode: kind, rsv: bits, parts } = this.#message;
    this.#incoming.push({ type: names[kind], data: kind === TEXT ? data.toString() : data, rsv: bits, fragments: parts.length });
  }

  /** Sends text as a text message, bytes as a binary one. */
  send(data) {
    this.frame({ opcode: typeof data === 'string' ? TEXT : BINARY, payload: data });
  }

  /** Sends one frame; see encodeFrame. */
  frame(options) {
    this.write(encodeFrame(options));
  }

  write(bytes) {
    this.connection.write(bytes);
  }

  /** The next message, control frame, or end. */
  next(ms = SOON) {
    return this.#incoming.next('WebSocket frame', ms);
  }

  /** How many messages and control frames wait to be taken. */
  get waiting() {
    return this.#incoming.size;
  }

  /** The next data message: text or bytes. Fails on anything else. */
  async message(ms = SOON) {
    const item = await this.next(ms);
    if (item.type !== 'text' && item.type !== 'binary') {
      throw new Error(`${item.type}${item.type === 'close' ? ` ${item.code}` : ''} instead of a message`);
    }
    return item.data;
  }

  /** Waits for the end and returns the close code. */
  code(ms = SOON) {
    return within(ms, 'end of the WebSocket', this.closed);
  }

  /** Starts the closing handshake. */
  close(code, reason) {
    this.frame({ opcode: CLOSE, payload: code === undefined ? '' : closePayload(code, reason) });
  }

  /** Cuts the TCP connection. */
  destroy() {
    this.connection.destroy();
  }
}

function headLength(buffer) {
  if (buffer.length < 2) return undefined;
  const size = buffer[1] & 0x7f;
  const length = 2 + (size < 126 ? 0 : size === 126 ? 2 : 8);
  return buffer.length < length ? undefined : length;
}
