// A server under test as the tests see it: a port, the path it is served on, and the ways to talk to it. Whatever is
// opened through an endpoint is cut when the endpoint is released.
import { newAgent, request } from './http.js';
import { PollingSession, WebSocketSession } from './session.js';
import { isTLS } from './target.js';
import { Connection } from './tcp.js';
import { openWebSocket } from './websocket.js';

export class Endpoint {
  #open = new Set();

  constructor(port, path) {
    this.port = port;
    /** Path of the Engine.IO server, with the slash at its end. */
    this.path = path;
    this.agent = newAgent();
  }

  /** What clients connect to: http(s)://host:port */
  get url() {
    return `http${isTLS ? 's' : ''}://127.0.0.1:${this.port}`;
  }

  /** A request target. query holds the parameters besides EIO=4 and the transport; undefined ones are left out. */
  target(query = {}, path = this.path) {
    const all = Object.entries({ EIO: '4', ...query }).filter(([, v]) => v !== undefined);
    return `${path}?${all.map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`).join('&')}`;
  }

  /** An HTTP request; options of lib/http.js, with either path or query. */
  request({ query, path, ...options } = {}) {
    const target = path ?? this.target({ transport: 'polling', ...query });
    return this.#track(request({ port: this.port, agent: this.agent, path: target, ...options }));
  }

  get(options = {}) {
    return this.request({ method: 'GET', ...options });
  }

  post(body, options = {}) {
    return this.request({ method: 'POST', body, ...options });
  }

  /** A bare connection. */
  async tcp() {
    return this.#track(await Connection.open(this.port), 'destroy');
  }

  /** A WebSocket; options of lib/websocket.js, with either path or query. Throws Rejected if it is refused. */
  async ws({ query, path, ...options } = {}) {
    const target = path ?? this.target({ transport: 'websocket', ...query });
    return this.#track(await openWebSocket(this.port, target, options), 'destroy');
  }

  /** An Engine.IO session over polling, or over WebSocket. */
  polling(options) {
    return PollingSession.open(this, options);
  }

  websocket(options) {
    return WebSocketSession.open(this, options);
  }

  /** Keeps something that has to be cut in the end. */
  #track(resource, method = 'abort') {
    this.#open.add(() => resource[method]());
    return resource;
  }

  /** Registers something to be done when the endpoint is released, e.g. closing an official client. */
  onRelease(f) {
    this.#open.add(f);
  }

  release() {
    for (const f of this.#open) f();
    this.#open.clear();
    this.agent.destroy();
  }
}
