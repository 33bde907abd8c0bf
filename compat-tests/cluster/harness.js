// What the cluster tests are written with: backends and nodes as processes of their own, on free ports, in a temporary
// folder. Everything that a test file starts ends with it, by its process id.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort, reachable } from '../lib/port.js';
import { sleep, until, within } from '../lib/wait.js';
import { backendOf } from './adapters.js';

/** How long anything may take on a slow and busy machine, in ms. */
export const LONG = 30000;

const here = fileURLToPath(new URL('.', import.meta.url));
const folders = [];
const makeFolder = () => folders[folders.push(mkdtempSync(path.join(os.tmpdir(), 'cluster-'))) - 1];
const temp = makeFolder();
/** The processes that run, with the signal that ends each at once. */
const children = new Map();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
process.on('exit', () => {
  for (const [child, signal] of children) child.kill(signal);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

// Programs of packages, which are not always in the PATH.
const postgresFolder = '/usr/lib/postgresql';
const paths = [
  ...(process.env.PATH ?? '').split(path.delimiter),
  '/usr/sbin',
  '/usr/local/sbin',
  ...(existsSync(postgresFolder) ? readdirSync(postgresFolder).sort((a, b) => b - a).map((version) => path.join(postgresFolder, version, 'bin')) : []),
];
const find = (program) => paths.map((folder) => path.join(folder, program)).find((file) => existsSync(file));

const programs = { none: null, redis: 'redis-server', postgres: 'postgres', nats: 'nats-server', nginx: 'nginx', haproxy: 'haproxy' };

/** Why what uses these cannot be run here, for the skip option of a test; in CI everything has to be there. */
export function missing(...what) {
  const absent = what.map((name) => programs[backendOf[name] ?? name]).filter((program) => program && !find(program));
  return absent.length > 0 && process.env.CI !== 'true' && `${absent} is not installed`;
}

/** Those of the adapters that are to be tested: the one of the environment variable ADAPTER, if there is one. */
export const chosen = (...adapters) => adapters.filter((adapter) => [undefined, adapter].includes(process.env.ADAPTER));

/**
 * Starts a program. It has
 *   line(pattern)  a promise of the next line on standard output that matches
 *   output         the end of what it wrote to standard error
 *   signal(name)   sends a signal
 *   exited         a promise of the status or the signal that it ended with
 *   stop()         SIGTERM, and checks that it ends with status 0
 *   kill()         ends it at once
 *   unref()        lets it run as long as this process, which does not wait for it
 */
export function start(command, args, { killSignal = 'SIGKILL', ...options } = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: here, ...options });
  children.set(child, killSignal);
  const name = path.basename(command);
  const program = { pid: child.pid, output: '' };
  const lines = readline.createInterface({ input: child.stdout });
  lines.on('line', () => {}); // so that the pipe never fills
  child.on('error', (err) => (program.output += err.message));
  child.stderr.on('data', (chunk) => (program.output = (program.output + chunk).slice(-20000)));
  program.exited = new Promise((resolve) => child.on('close', (code, signal) => (children.delete(child), (program.ended = true), resolve(code ?? signal))));
  program.line = (pattern) => within(LONG, `${name} to start`, new Promise((resolve, reject) => {
    lines.on('line', (line) => pattern.test(line) && resolve(line));
    program.exited.then((end) => reject(new Error(`${name} ended with ${end}\n${program.output}`)));
  }));
  program.listens = (port) => until(`${name} to listen`, () => {
    if (program.ended) throw new Error(`${name} has ended\n${program.output}`);
    return reachable(port);
  }, LONG);
  program.signal = (signal) => child.kill(signal);
  program.unref = () => {
    for (const handle of [child, child.stdout, child.stderr]) handle.unref();
  };
  program.stop = async () => {
    child.kill('SIGTERM');
    const end = await within(LONG, `${name} to end`, program.exited);
    assert.equal(end, 0, `${name} ended with ${end}\n${program.output}`);
  };
  program.kill = async () => {
    child.kill(killSignal);
    await within(LONG, `${name} to end`, program.exited);
  };
  return program;
}

async function startRedis() {
  const port = await freePort();
  const redis = start(find('redis-server'), ['--bind', '127.0.0.1', '--port', String(port), '--dir', temp, '--save', '', '--appendonly', 'no']);
  await redis.listens(port);
  return Object.assign(redis, { url: `redis://127.0.0.1:${port}` });
}

/** A database of its own on the server that all tests of a file share, because it takes long to start. */
async function startPostgres() {
  const server = await (postgres ??= launchPostgres());
  const name = `cluster${++databases}`;
  const client = await until('PostgreSQL to be ready', async () => {
    const client = new pg.Client({ connectionString: server.url('postgres') });
    return client.connect().then(() => client, (err) => {
      if (err.code !== '57P03') throw err; // it listens before it is
    });
  }, LONG);
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return { url: server.url(name), kill: async () => {} };
}

let postgres;
let databases = 0;

async function launchPostgres() {
  // It refuses to run as root; the package has brought a user.
  const folder = makeFolder();
  const user = {};
  if (process.getuid() === 0) {
    for (const id of ['u', 'g']) user[`${id}id`] = Number(execFileSync('id', [`-${id}`, 'postgres']));
    chownSync(folder, user.uid, user.gid);
  }
  const options = { cwd: folder, killSignal: 'SIGQUIT', ...user }; // SIGKILL would leave shared memory behind
  const data = path.join(folder, 'data');
  await promisify(execFile)(find('initdb'), ['-D', data, '-U', 'myriad', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], options);
  const port = await freePort();
  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', fsync: 'off', max_connections: 100 };
  const server = start(find('postgres'), ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])], options);
  await server.listens(port);
  server.unref();
  return { url: (database) => `postgres://myriad@127.0.0.1:${port}/${database}?sslmode=disable` };
}

async function startNATS() {
  const port = await freePort();
  const nats = start(find('nats-server'), ['-a', '127.0.0.1', '-p', String(port)]);
  await nats.listens(port);
  return Object.assign(nats, { url: `nats://127.0.0.1:${port}` });
}

const starters = { none: async () => ({ url: '', kill: async () => {} }), redis: startRedis, postgres: startPostgres, nats: startNATS };

/** Starts the backend that an adapter needs: a program with its url. */
export const startBackend = (adapter) => starters[backendOf[adapter]]();

/** The programs that can be nodes, by the kind of the node. */
const nodePrograms = {
  /** Controlled by the event "do". */
  node: { go: './node', node: 'node.js' },
  /** The contract of README.md of the folder above. */
  server: { go: '../server', node: '../reference/server.js' },
};

const built = new Map();
/** Resolves to the program of a Go package. Tests that wait for something go on meanwhile. */
function build(folder) {
  if (!built.has(folder)) {
    const binary = path.join(temp, path.basename(folder));
    const args = ['build', '-race', '-o', binary, folder];
    built.set(folder, promisify(execFile)('go', args, { cwd: here }).then(() => binary));
  }
  return built.get(folder);
}

/** Has the program of Go nodes built, for tests in which nothing is to wait for that. */
export const buildNode = () => build(nodePrograms.node.go);

/** Starts a node of a kind, "go" or "node", and returns it with its port. flags are those that both programs know. */
export async function startNode(kind, { program = 'node', adapter, url, ...flags }) {
  const what = nodePrograms[program][kind];
  const args = Object.entries({ addr: '127.0.0.1:0', adapter, backend: url, ...flags }).map(([name, value]) => `-${name}=${value}`);
  // At its end the race detector waits for a second, in case that other goroutines are about to report.
  const env = { ...process.env, GORACE: 'atexit_sleep_ms=50' };
  const node = kind === 'go' ? start(await build(what), args, { env }) : start(process.execPath, [what, ...args]);
  node.port = Number((await node.line(/listening on/)).split(':').at(-1));
  node.kind = kind;
  return node;
}

export { backendOf, freePort, sleep, until, within };
