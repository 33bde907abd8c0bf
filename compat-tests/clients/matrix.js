// One variant of the matrix: all clients against the target of ../lib/target.js. Started by run.js.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { App, Fixture } from './app.js';

const here = (...parts) => path.join(fileURLToPath(new URL('.', import.meta.url)), ...parts);
const cache = (...parts) => here('.cache', ...parts);
const { env } = process;

/** How many programs run at a time, and how long each may take in ms. */
const PARALLEL = 3;
const TIME = 300_000;

const js = (version, parser = 'default') => ({
  name: `js ${version}${parser === 'default' ? '' : ` ${parser}`}`,
  parser,
  eio3: version < '3',
  recovery: version >= '4.6',
  needs: here('node_modules', `socket.io-client-${version}`),
  command: [process.execPath, here('js', 'client.js'), version],
});
const browser = (how, parser = 'default') => ({
  name: `browser ${how}${parser === 'default' ? '' : ` ${parser}`}`,
  parser,
  browser: true,
  recovery: true,
  crossOrigin: how === 'cross-origin',
  needs: env.CHROMIUM ?? '/usr/bin/chromium',
  command: [process.execPath, here('js', 'browser.js'), how],
});
const python = (how, parser = 'default') => ({
  name: `python ${how}${parser === 'default' ? '' : ` ${parser}`}`,
  parser,
  needs: cache('venv', 'bin', 'python'),
  command: [cache('venv', 'bin', 'python'), here('python', 'client.py'), how],
});
const java = (version) => ({
  name: `java ${version}`,
  eio3: version < '2',
  // The client does not answer a close frame, and learns only from the heartbeat that the server has closed a WebSocket.
  options: { pingInterval: 4000, pingTimeout: 4000 },
  needs: cache('java', `lib-${version}`),
  command: ['java', '-XX:TieredStopAtLevel=1', '-cp', `${cache('java', 'classes')}:${cache('java', `lib-${version}`, '*')}`, 'Client', version],
});

const clients = [
  js('1.7'), js('2.5'), js('3.1'), js('4.0'), js('4.4'), js('4.8'),
  js('2.5', 'msgpack'), js('4.0', 'msgpack'), js('4.4', 'msgpack'), js('4.8', 'msgpack'),
  browser('same-origin'), browser('cross-origin'), browser('same-origin', 'msgpack'),
  python('sync'), python('asyncio'), python('sync', 'msgpack'),
  java('2.1'), java('1.0'),
  { name: 'rust', needs: cache('cargo', 'debug', 'client'), command: [cache('cargo', 'debug', 'client')] },
].filter(({ name }) => (env.CLIENTS ?? '').split(',').some((part) => name.includes(part)));

/** Runs a client against an app of its own; returns its results by scenario, and the error that concerns all of them. */
async function run(fixture, client) {
  if (!existsSync(client.needs)) return { missing: `${client.needs.replace(here(), '')} is not there; setup.sh provides it` };
  const start = performance.now();
  const results = new Map();
  let app;
  let recoveryApp;
  let error;
  try {
    const page = client.browser && !client.crossOrigin;
    const { routes } = page ? await import('./js/page.js') : {};
    const options = {
      parser: client.parser ?? 'default',
      allowEIO3: client.eio3 ?? false,
      ...client.options,
      ...(client.browser && { cookie: true, cors: { origin: { $regexp: '^https?://127\\.0\\.0\\.1:\\d+$' }, credentials: true } }),
    };
    app = await App.create(fixture, options, page ? routes(client.parser) : {});
    // A server of its own, because with recovery every event has the offset as a further argument.
    if (client.recovery) recoveryApp = await App.create(fixture, { ...options, connectionStateRecovery: { maxDisconnectionDuration: 60000 } });
    error = await new Promise((resolve) => {
      const [program, ...args] = client.command;
      const child = spawn(program, [...args, app.url], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...env,
          CLIENT_PARSER: client.parser ?? 'default',
          CLIENT_CA: env.TARGET_TLS_CERT ?? '',
          CLIENT_RECOVERY_URL: recoveryApp?.url ?? '',
          NODE_EXTRA_CA_CERTS: env.TARGET_TLS_CERT ?? '',
        },
      });
      let stderr = '';
      child.stderr.on('data', (chunk) => (stderr = (stderr + chunk).slice(-4000)));
      readline.createInterface({ input: child.stdout }).on('line', (line) => {
        try {
          const result = JSON.parse(line);
          results.set(result.name, result);
        } catch {
          stderr += `${line}\n`;
        }
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), TIME);
      child.on('error', (err) => resolve(err.message));
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        if (code !== 0) resolve(`the program ended with ${signal ?? code}\n${stderr}`);
        else if (results.size === 0) resolve(`the program said nothing\n${stderr}`);
        // What it complained of may explain why a scenario failed.
        else resolve(stderr && [...results.values()].some(({ ok, skipped }) => !ok && !skipped) ? `the program said\n${stderr}` : undefined);
      });
    });
  } catch (err) {
    error = err.message;
  }
  for (const one of [app, recoveryApp]) {
    error ??= one?.error?.message;
    await one?.close().catch((err) => (error ??= err.message));
  }
  return { results, error, seconds: (performance.now() - start) / 1000 };
}

const began = performance.now();
const fixture = await Fixture.start();
const outcomes = new Map();
const waiting = [...clients];
await Promise.all(Array.from({ length: PARALLEL }, async () => {
  for (let client; (client = waiting.shift()); ) outcomes.set(client.name, await run(fixture, client));
}));
let fixtureError;
await fixture.stop().catch((err) => (fixtureError = err.message));

const scenarios = [];
for (const { results } of outcomes.values()) {
  let after = -1;
  for (const name of results?.keys() ?? []) {
    const at = scenarios.indexOf(name);
    if (at < 0) scenarios.splice(++after, 0, name);
    else after = at;
  }
}

const mark = (result) => (!result ? ' ' : result.skipped ? '-' : result.ok ? '✓' : '✗');
console.log(`\n${'client'.padEnd(28)}${scenarios.map((_, i) => String(i + 1).padStart(3)).join('')}      s`);
for (const { name } of clients) {
  const { results, missing, seconds } = outcomes.get(name);
  if (missing) console.log(`${name.padEnd(28)} skipped: ${missing}`);
  else console.log(`${name.padEnd(28)}${scenarios.map((s) => mark(results.get(s)).padStart(3)).join('')}  ${seconds.toFixed(1).padStart(5)}`);
}
console.log('\n✓ passed, ✗ failed, - the client cannot, blank: not run');
scenarios.forEach((name, i) => console.log(`${String(i + 1).padStart(3)} ${name}`));

const skips = new Map();
const failures = [];
let passed = 0;
for (const { name } of clients) {
  const { results, missing, error } = outcomes.get(name);
  if (missing && env.CI === 'true') failures.push(`${name}: ${missing}`);
  if (error) failures.push(`${name}: ${error}`);
  for (const result of results?.values() ?? []) {
    if (result.skipped) skips.set(`${result.name}: ${result.skipped}`, [...(skips.get(`${result.name}: ${result.skipped}`) ?? []), name]);
    else if (result.ok) passed++;
    else failures.push(`${name}, ${result.name}: ${result.error}`);
  }
}
if (fixtureError) failures.push(`fixture: ${fixtureError}`);
for (const [what, names] of skips) console.log(`  - ${what} (${names.join(', ')})`);
for (const failure of failures) console.log(`\n✗ ${failure}`);
console.log(`\n${passed} passed, ${failures.length} failed in ${((performance.now() - began) / 1000).toFixed(0)} s`);
process.exitCode = failures.length ? 1 : 0;
