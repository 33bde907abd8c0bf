// Apps of the fixture program (fixture/SPEC.md), as the tests use them. One fixture process serves a test file; each test
// has its own app, so tests neither see nor disturb each other.
//
//   const app = await createApp(t, { kind: 'engineio', options: { pingInterval: 300 } });
//   const session = await app.polling();
//   await app.do({ op: 'sessionSend', sid: session.sid, data: 'hi' });
//   await app.waitFor({ type: 'session_close', reason: 'transport close' });
import assert from 'node:assert/strict';
import http from 'node:http';
import { after } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Endpoint } from './endpoint.js';
import { clientDist, isGo, startProgram } from './target.js';
import { SOON, until } from './wait.js';

/** A fixture process. Test files use the shared one through createApp; tests of a whole process start their own. */
export class Fixture {
  #agent = new http.Agent({ keepAlive: true });
  #program;

  /** Starts the process when it is first needed. */
  #start() {
    this.#program ??= startProgram('fixture', ['-control', '127.0.0.1:0', '-client-dist', clientDist()]);
    return this.#program;
  }

  /** One request to the control interface. */
  async control(method, path, body) {
    const { port } = await this.#start();
    const req = http.request({ host: '127.0.0.1', port, method, path, agent: this.#agent });
    const res = await new Promise((resolve, reject) => {
      req.on('response', resolve);
      req.on('error', reject);
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
    const chunks = [];
    for await (const chunk of res) chunks.push(chunk);
    const reply = JSON.parse(Buffer.concat(chunks));
    if (res.statusCode !== 200) throw new Refused(reply.error);
    return reply;
  }

  /** Creates an app that lives as long as the test t (a TestContext, or anything with after()). */
  async createApp(t, config = {}) {
    const kind = config.kind ?? 'socketio';
    const reply = await this.control('POST', '/apps', { ...config, kind });
    const path = (config.options?.path ?? `/${kind === 'engineio' ? 'engine' : 'socket'}.io`).replace(/\/$/, '');
    const app = new App(this, reply, `${path}/`);
    t.after(() => app.close());
    return app;
  }

  /** How many things the servers have left behind, when there are no apps. */
  async left() {
    return (await this.control('GET', '/left')).left;
  }

  /** Ends the process with SIGTERM; fails unless it ends cleanly. */
  async stop() {
    this.#agent.destroy();
    if (this.#program) await (await this.#program).stop();
  }
}

const shared = new Fixture();
after(() => shared.stop());

/** Creates an app in the process that the tests of this file share. */
export const createApp = (t, config) => shared.createApp(t, config);

/** An error of the control interface or of an operation; responses are those of an acknowledged broadcast. */
export class Refused extends Error {
  constructor({ message, responses }) {
    super(message);
    this.responses = responses;
  }
}

/**
 * How much less than its timer the time between two entries may be, in ms. Timers are rounded; those of Node.js count from
 * the beginning of a turn of the event loop, which takes long when there is much to do.
 */
export const EARLY = isGo ? 15 : 100;

/** A binary value for arguments and data in operations and configs. */
export const bin = (data) => ({ $bin: Buffer.from(data).toString('base64') });

export class App extends Endpoint {
  #fixture;
  #id;
  #log = [];
  #closed;

  constructor(fixture, { app, port }, path) {
    super(port, path);
    this.#fixture = fixture;
    this.#id = app;
  }

  /** Runs one operation and returns its result; throws Refused. */
  async do(operation) {
    const reply = await this.#fixture.control('POST', `/apps/${this.#id}/do`, operation);
    if (reply.error) throw new Refused(reply.error);
    return reply.result;
  }

  /** Runs operations back to back and returns their results; throws Refused for the first that failed. */
  async doAll(...operations) {
    const replies = await this.#fixture.control('POST', `/apps/${this.#id}/do`, operations);
    return replies.map((reply) => {
      if (reply.error) throw new Refused(reply.error);
      return reply.result;
    });
  }

  async #fetch(wait) {
    const { entries } = await this.#fixture.control('GET', `/apps/${this.#id}/log?since=${this.#log.length}&wait=${wait}`);
    for (const entry of entries) if (entry.n === this.#log.length) this.#log.push(entry); // others may fetch meanwhile
  }

  /** All entries so far that match: a function, or an object whose keys must be equal. */
  async entries(match = {}) {
    await this.#fetch(0);
    return this.#log.filter(matcher(match));
  }

  /** All entries that match, when there are at least n. */
  async waitForAll(match, n) {
    let found;
    const enough = async () => (found = await this.entries(match)).length >= n;
    await until(`${n} entries ${describeMatch(match)}`, enough).catch((err) => {
      throw new Error(`${err.message}, only ${JSON.stringify(found)}`);
    });
    return found;
  }

  /** The first matching entry, now or within ms; from: the number of the first entry that counts. */
  async waitFor(match, { from = 0, ms = SOON } = {}) {
    const matches = matcher(match);
    for (let seen = from, end = performance.now() + ms; ; ) {
      for (; seen < this.#log.length; seen++) if (matches(this.#log[seen])) return this.#log[seen];
      const left = end - performance.now();
      if (left <= 0) {
        throw new Error(`no entry ${describeMatch(match)} within ${ms} ms in\n${this.#log.map((e) => JSON.stringify(e)).join('\n').slice(0, 20000)}`);
      }
      await this.#fetch(Math.ceil(left));
    }
  }

  /**
   * Sends a GET for a polling session and waits until it is parked, or answered if there is something to be sent.
   * Returns {reply}.
   */
  async park(session) {
    const reply = session.get({ timeout: 2 * SOON });
    let answered = false;
    const done = () => (answered = true);
    reply.then(done, done);
    const parked = () => this.do({ op: 'writable', sid: session.sid }).catch((err) => {
      if (err.message !== 'unknown session') throw err; // then an answer is on its way
    });
    await until('the GET to be parked', async () => answered || parked());
    return { reply };
  }

  /** Waits for the server's end of a session and checks the reason. */
  async expectClose(sid, reason) {
    const entry = await this.waitFor({ type: 'session_close', sid });
    assert.equal(entry.reason, reason);
    return entry;
  }

  /** Cuts everything that was opened through this endpoint, and closes the app. */
  close() {
    this.#closed ??= (async () => {
      this.release();
      await this.#fixture.control('DELETE', `/apps/${this.#id}`);
    })();
    return this.#closed;
  }
}

const describeMatch = (match) => (typeof match === 'function' ? match.toString() : JSON.stringify(match));

function matcher(match) {
  if (typeof match === 'function') return match;
  return (entry) => Object.entries(match).every(([k, v]) => isDeepStrictEqual(entry[k], v));
}
