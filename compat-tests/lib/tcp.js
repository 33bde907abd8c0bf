// A bare TCP (or TLS) connection for tests that write their own bytes.
import net from 'node:net';
import tls from 'node:tls';
import { isTLS } from './target.js';
import { SOON, within } from './wait.js';

export class Connection {
  #buffer = Buffer.alloc(0);
  #waiting = new Set();

  /** Connects; fails if the server does not accept. */
  static async open(port) {
    const socket = isTLS
      ? tls.connect({ host: '127.0.0.1', port, servername: 'localhost' })
      : net.connect({ host: '127.0.0.1', port, noDelay: true });
    await within(SOON, 'TCP connection', new Promise((resolve, reject) => {
      socket.once(isTLS ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    }));
    return new Connection(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.ended = false;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    const end = () => {
      this.ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    /** Resolves when the peer has ended the connection, or it is lost. */
    this.closed = new Promise((resolve) => {
      socket.on('end', resolve);
      socket.on('close', resolve);
    });
  }

  #wake() {
    for (const f of [...this.#waiting]) f();
  }

  /** Bytes received and not yet taken. */
  get buffered() {
    return this.#buffer;
  }

  write(bytes) {
    this.socket.write(bytes);
  }

  /** Writes byte by byte, each in a segment of its own as far as TCP_NODELAY can make it so. */
  async writeSlowly(bytes) {
    const buffer = Buffer.from(bytes);
    for (let i = 0; i < buffer.length; i++) {
      await new Promise((resolve) => this.socket.write(buffer.subarray(i, i + 1), resolve));
    }
  }

  /** Waits until f(buffered) gives a number, and takes that many bytes; undefined at the end of the stream. */
  async take(f, what = 'bytes', ms = SOON) {
    let wake;
    const found = new Promise((resolve) => {
      wake = () => {
        const n = f(this.#buffer);
        if (n !== undefined) {
          const taken = this.#buffer.subarray(0, n);
          this.#buffer = this.#buffer.subarray(n);
          resolve(taken);
        } else if (this.ended) {
          resolve(undefined);
        } else {
          return;
        }
        this.#waiting.delete(wake);
      };
      this.#waiting.add(wake);
      wake();
    });
    try {
      return await within(ms, what, found);
    } finally {
      this.#waiting.delete(wake);
    }
  }

  /** The head of an HTTP response: {status, headers (names in lower case), head (text)}; undefined if the peer closes. */
  async readHead(ms = SOON) {
    const bytes = await this.take((b) => (b.indexOf('\r\n\r\n') < 0 ? undefined : b.indexOf('\r\n\r\n') + 4), 'HTTP head', ms);
    if (!bytes) return undefined;
    const head = bytes.toString('latin1');
    const [first, ...lines] = head.trimEnd().split('\r\n');
    const headers = {};
    for (const line of lines) {
      const cut = line.indexOf(':');
      const name = line.slice(0, cut).toLowerCase();
      const value = line.slice(cut + 1).trim();
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
    }
    return { status: Number(first.split(' ')[1]), headers, head };
  }

  /** The body behind a head, by its Content-Length or its chunks; up to the end of the stream if it has neither. */
  async readBody({ headers }, ms = SOON) {
    if (headers['content-length'] !== undefined) {
      const n = Number(headers['content-length']);
      return this.take((b) => (b.length < n ? undefined : n), 'HTTP body', ms);
    }
    if (headers['transfer-encoding'] !== 'chunked') return this.readAll(ms);
    const chunks = [];
    for (;;) {
      const line = await this.take((b) => (b.indexOf('\r\n') < 0 ? undefined : b.indexOf('\r\n') + 2), 'HTTP chunk', ms);
      const n = Number.parseInt(String(line), 16);
      const chunk = await this.take((b) => (b.length < n + 2 ? undefined : n + 2), 'HTTP chunk', ms);
      if (n === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, n));
    }
  }

  /** Everything up to the end of the stream. */
  async readAll(ms = SOON) {
    await within(ms, 'end of the connection', this.closed);
    const all = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    return all;
  }

  /** Ends our side; what the peer still sends can be read. */
  end() {
    this.socket.end();
  }

  /** Cuts the connection. */
  destroy() {
    this.socket.destroy();
  }

  /** Cuts the connection with a RST, where Node can (not under TLS). */
  reset() {
    if (isTLS) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }
}
