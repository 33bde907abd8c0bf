// Starts emitters: processes that do what a test tells them, by lines of text.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { LONG, within } from '../cluster/harness.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const temp = mkdtempSync(path.join(os.tmpdir(), 'emitters-'));
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(temp, { recursive: true, force: true });
});

let binary;
function build() {
  if (!binary) execFileSync('go', ['build', '-race', '-o', (binary = path.join(temp, 'emit')), './emit'], { cwd: here, stdio: 'inherit' });
  return binary;
}

/** Starts an emitter of a kind, "go" or "node". send(command) resolves to its answer: "done", or "failed" and why. */
export async function startEmitter(kind, { adapter, url }) {
  const args = ['-adapter', adapter, '-backend', url];
  const child = kind === 'go' ? spawn(build(), args) : spawn(process.execPath, [path.join(here, 'emit.js'), ...args]);
  children.add(child);
  let errors = '';
  child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-10000)));
  const exited = new Promise((resolve) => child.on('close', (code, signal) => (children.delete(child), resolve(code ?? signal))));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await within(LONG, `the ${kind} emitter to answer`, lines.next());
    if (done) throw new Error(`the ${kind} emitter has ended with ${await exited}\n${errors}`);
    return value;
  };
  if ((await line()) !== 'ready') throw new Error(`the ${kind} emitter does not start`);
  return {
    send(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      return line();
    },
    async stop() {
      child.stdin.end();
      const end = await within(LONG, `the ${kind} emitter to end`, exited);
      if (end !== 0) throw new Error(`the ${kind} emitter has ended with ${end}\n${errors}`);
    },
  };
}
