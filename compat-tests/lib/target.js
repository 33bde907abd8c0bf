// The programs under test: which they are, how they are started, and how they must end.
//
// Environment (set by run.js; a test file can also be run alone with `node --test`):
//   TARGET           "go" (default) or "reference"
//   TARGET_FLAGS     further flags for both programs, separated by spaces, e.g. "-no-epoll"
//   TARGET_TLS_CERT  with TARGET_TLS_KEY: the servers under test serve TLS; NODE_EXTRA_CA_CERTS must name the same certificate
//   GO_SERVER        ready binaries of compat-tests/server and compat-tests/fixture; built with the race detector if absent
//   GO_FIXTURE
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { within } from './wait.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const { env } = process;

export const target = env.TARGET ?? 'go';
if (target !== 'go' && target !== 'reference') throw new Error(`TARGET is "${target}", not "go" or "reference"`);

/** Whether this run tests the Go server; for the few expectations that differ on purpose (docs/differences.md). */
export const isGo = target === 'go';

const tlsFlags = env.TARGET_TLS_CERT ? ['-tls-cert', env.TARGET_TLS_CERT, '-tls-key', env.TARGET_TLS_KEY] : [];
export const isTLS = tlsFlags.length > 0;
const extraFlags = (env.TARGET_FLAGS ?? '').split(' ').filter(Boolean);

/** The path of a Go program of this folder ("server" or "fixture"), built when it is first asked for, into a folder. */
export function goBinary(program, folder) {
  const variable = `GO_${program.toUpperCase()}`;
  if (!env[variable]) {
    env[variable] = path.join(folder ?? mkdtempSync(path.join(os.tmpdir(), 'compat-')), program);
    execFileSync('go', ['build', '-race', '-o', env[variable], `./${program}`], { cwd: root, stdio: 'inherit' });
  }
  return env[variable];
}

/**
 * Starts "server" or "fixture" of the target with these flags, and waits for the line that says its address.
 * Returns {port, pid, stop, exited}: stop sends SIGTERM and fails unless the program ends with status 0.
 */
export async function startProgram(program, flags) {
  const command = target === 'go' ? [goBinary(program)] : [process.execPath, path.join(root, 'reference', `${program}.js`)];
  const child = spawn(command[0], [...command.slice(1), ...flags, ...tlsFlags, ...extraFlags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, NODE_EXTRA_CA_CERTS: '' },
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => (stderr = (stderr + chunk).slice(-20000)));
  const exited = new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal })); // when all that it said has come
    child.on('error', (err) => resolve({ code: err.message, signal: null }));
  });
  const describe = ({ code, signal }) => `${target} ${program} ended with ${signal ?? code}\n${stderr}`;
  const ready = new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).once('line', resolve);
    exited.then((end) => reject(new Error(describe(end))));
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const line = await within(60_000, `${program} to say its address`, ready);
  return {
    port: Number(/:(\d+)$/.exec(line)[1]),
    pid: child.pid,
    line,
    exited,
    stop: async () => {
      child.kill('SIGTERM');
      const end = await within(60_000, `${program} to end after SIGTERM`, exited).finally(kill);
      process.removeListener('exit', kill);
      if (end.code !== 0) throw new Error(describe(end));
    },
  };
}

/** The folder with the official client's browser bundles. */
export function clientDist() {
  return path.join(path.dirname(createRequire(import.meta.url).resolve('socket.io/package.json')), 'client-dist');
}
