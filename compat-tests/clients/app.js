// The server that a client program meets: an app of the fixture program (../fixture/SPEC.md), and the few things that
// its behaviours cannot express, which are done here through the control interface when a client asks for them.
import { freePort } from '../lib/port.js';
import { clientDist, isTLS, startProgram } from '../lib/target.js';
import { SOON, until } from '../lib/wait.js';

const echo = [{ op: 'emit', args: ['echo', { $args: true }] }];
const acknowledge = [{ op: 'ack', args: [{ $args: true }] }];
const done = { op: 'ack', args: [] };

/** What every namespace of the app does; README.md describes it for those who write client programs. */
const behaviour = {
  on: {
    echo,
    'echo-ack': acknowledge,
    join: [{ op: 'join', rooms: ['red'] }, done],
    leave: [{ op: 'leave', rooms: ['red'] }, done],
    'to-red': [{ op: 'emit', server: true, to: 'red', args: ['red', { $args: true }] }],
    'to-others-in-red': [{ op: 'emit', to: 'red', args: ['red', { $args: true }] }],
    'to-others': [{ op: 'emit', broadcast: true, args: ['other', { $args: true }] }],
    burst: [{ op: 'emit', count: 200, args: ['number', { $i: true }] }],
    kick: [{ op: 'disconnect' }],
    'kick-connection': [{ op: 'disconnect', close: true }],
    // Answered by the functions below.
    ask: [],
    'who-am-i': [],
    'why-did': [],
    restart: [],
  },
};

/** The tokens that are refused, and how. */
const refusals = {
  plain: { message: 'no token' },
  wrong: { message: 'wrong token', data: { code: 'E_TOKEN', token: 'wrong' } },
};
const refuse = (where) => Object.entries(refusals).map(([token, fail]) => ({ if: { [where]: { token } }, fail }));

const namespaces = {
  '/': {
    ...behaviour,
    middlewares: [...refuse('query'), ...refuse('auth')],
  },
  '/custom': behaviour,
};

export class Fixture {
  static async start() {
    const fixture = new Fixture();
    fixture.program = await startProgram('fixture', ['-control', '127.0.0.1:0', '-client-dist', clientDist()]);
    return fixture;
  }

  async control(method, path, body) {
    const res = await fetch(`http://127.0.0.1:${this.program.port}${path}`, { method, body: body && JSON.stringify(body) });
    const reply = await res.json();
    if (!res.ok || reply.error) throw new Error(`${method} ${path}: ${reply.error?.message ?? res.status}`);
    return reply;
  }

  stop() {
    return this.program.stop();
  }
}

export class App {
  #fixture;
  #config;
  #id;
  #log = [];
  #generation = 0;

  /** options and routes are those of the fixture's config. */
  static async create(fixture, options, routes = {}) {
    const app = new App();
    app.#fixture = fixture;
    app.#config = {
      kind: 'socketio',
      port: await freePort(), // for restart
      options,
      http: { routes },
      namespaces,
    };
    await app.#start();
    return app;
  }

  get url() {
    return `http${isTLS ? 's' : ''}://127.0.0.1:${this.port}`;
  }

  async #start() {
    const { app, port } = await this.#fixture.control('POST', '/apps', this.#config);
    this.#id = app;
    this.port = port;
    this.#log = [];
    void this.#follow(++this.#generation);
  }

  /** Serves the requests that clients make by events, until the app is closed or restarted. */
  async #follow(generation) {
    const path = `/apps/${this.#id}/log`;
    const current = () => generation === this.#generation;
    while (current()) {
      let entries;
      try {
        ({ entries } = await this.#fixture.control('GET', `${path}?since=${this.#log.length}&wait=1000`));
      } catch (err) {
        if (current()) this.error ??= err;
        return;
      }
      if (!current()) return;
      this.#log.push(...entries);
      for (const entry of entries) {
        if (entry.type !== 'event' || !Object.hasOwn(requests, entry.event)) continue;
        requests[entry.event](this, entry).catch((err) => {
          // A client that has gone while it was served is not an error: its own scenario says what went wrong.
          if (current() && !/unknown socket/.test(err.message)) this.error ??= err;
        });
      }
    }
  }

  async do(operation) {
    return (await this.#fixture.control('POST', `/apps/${this.#id}/do`, operation)).result;
  }

  /** The first entry of the log that matches, now or soon. */
  entry(matches) {
    return until('an entry in the log of the app', () => this.#log.find(matches));
  }

  /** Ends the server with all its connections and starts a new one on the same port. */
  async restart() {
    await this.close();
    await this.#start();
  }

  async close() {
    this.#generation++;
    await this.#fixture.control('DELETE', `/apps/${this.#id}`);
  }
}

/** What clients ask for by events that the fixture itself does not answer. */
const requests = {
  /** The server asks back, with an acknowledgement, and reports what it was given: ask ARGS → question ARGS → answer ACK. */
  async ask(app, { nsp, id: socket, args }) {
    const answer = await app.do({ op: 'emitAck', nsp, socket, timeout: SOON, args: ['question', ...args] });
    await app.do({ op: 'emit', nsp, socket, args: ['answer', ...answer] });
  },

  /** The server's view of a socket. */
  async 'who-am-i'(app, { nsp, id: socket }) {
    const { id, transport, protocol, recovered, handshake } = await app.do({ op: 'socket', nsp, socket });
    const { auth, query, headers } = handshake;
    await app.do({ op: 'emit', nsp, socket, args: ['you', { id, transport, protocol, recovered, auth: auth ?? null, query, cookie: headers.cookie ?? '', origin: headers.origin ?? '' }] });
  },

  /** The reason for which a socket has been disconnected: why-did ID → because REASON. */
  async 'why-did'(app, { nsp, id: socket, args: [id] }) {
    const { reason } = await app.entry((e) => e.type === 'disconnect' && e.id === id);
    await app.do({ op: 'emit', nsp, socket, args: ['because', reason] });
  },

  async restart(app) {
    await app.restart();
  },
};
