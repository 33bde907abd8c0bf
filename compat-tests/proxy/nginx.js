// nginx or HAProxy as a child process with one of the configurations in conf/, on a free port and with a folder of its own. The
// configurations can be used as they are; here their addresses are replaced: 127.0.0.1:8080 is that of the proxy,
// 127.0.0.1:3001 to 127.0.0.1:3003 are the servers behind it.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, reachable } from '../lib/port.js';
import { SOON, within } from '../lib/wait.js';

const find = (name) => ['/usr/sbin', '/usr/local/sbin', '/usr/bin'].map((folder) => path.join(folder, name)).find(existsSync);

/** Why a proxy cannot be run here, for the skip option of a test; in CI it has to be there. */
const missing = (name) => (find(name) || process.env.CI === 'true' ? false : `${name} is not installed (Debian package ${name})`);
export const unavailable = missing('nginx');
export const haproxyUnavailable = missing('haproxy');

/** The configuration in a file, with a free port for the proxy and those of servers in it. Returns [text, port]. */
async function configuration(file, servers) {
  const port = await freePort();
  const addresses = { 8080: port, 3001: servers[0], 3002: servers[1] ?? servers[0], 3003: servers[2] ?? servers[0] };
  const text = readFileSync(new URL(`conf/${file}`, import.meta.url), 'utf8')
    .replace(/(127\\?\.0\\?\.0\\?\.1:)(8080|300[123])\b/g, (_, host, which) => host + addresses[which]);
  return [text, port];
}

/** Runs a proxy for the time of test t, and resolves when it listens. errors returns what it said if it does not. */
async function run(t, name, args, { port, folder, stdout, errors }) {
  const child = spawn(find(name) ?? name, args, { stdio: ['ignore', stdout, 'inherit'] });
  const exited = new Promise((resolve) => child.on('exit', resolve).on('error', resolve));
  const kill = () => child.kill('SIGTERM'); // SIGKILL would leave the workers of nginx behind
  process.once('exit', kill);
  t.after(async () => {
    child.kill('SIGTERM');
    await within(SOON, `${name} to end after SIGTERM`, exited);
    process.removeListener('exit', kill);
    rmSync(folder, { recursive: true, force: true });
  });
  let ended = false;
  void exited.then(() => (ended = true));
  for (const end = performance.now() + SOON; !(await reachable(port)); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (ended || performance.now() > end) throw new Error(`${name} does not start\n${errors()}`);
  }
}

const linesOf = (file) => readFileSync(file, 'utf8').split('\n').filter(Boolean);

/**
 * Starts nginx with conf/NAME.conf before the servers at these ports, for the time of test t. Returns its port, and requests:
 * lines of the access log, METHOD TARGET STATUS ADDRESS of each request that has ended.
 */
export async function startNginx(t, name, ...servers) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'nginx-'));
  const [site, port] = await configuration(`${name}.conf`, servers);
  const log = path.join(folder, 'access.log');
  writeFileSync(path.join(folder, 'nginx.conf'), `
daemon off;
worker_processes 1;
${process.getuid() === 0 ? 'user root;' : ''}
pid ${folder}/pid;
events { worker_connections 1024; }
http {
    log_format requests '$request_method $request_uri $status $upstream_addr';
    access_log ${log} requests;
    client_body_temp_path ${folder}/body;
    proxy_temp_path ${folder}/proxy;
    fastcgi_temp_path ${folder}/fastcgi;
    scgi_temp_path ${folder}/scgi;
    uwsgi_temp_path ${folder}/uwsgi;
${site}
}
`);
  const errors = path.join(folder, 'error.log');
  await run(t, 'nginx', ['-p', folder, '-e', errors, '-c', path.join(folder, 'nginx.conf')], {
    port, folder, stdout: 'inherit', errors: () => (existsSync(errors) ? readFileSync(errors, 'utf8') : ''),
  });
  return { port, requests: () => linesOf(log) };
}

/** The same for HAProxy, with conf/NAME.cfg. */
export async function startHAProxy(t, name, ...servers) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'haproxy-'));
  const [text, port] = await configuration(`${name}.cfg`, servers);
  const file = path.join(folder, 'haproxy.cfg');
  writeFileSync(file, text);
  const log = path.join(folder, 'log');
  await run(t, 'haproxy', ['-db', '-f', file], { port, folder, stdout: openSync(log, 'a'), errors: () => readFileSync(log, 'utf8') });
  return { port, requests: () => linesOf(log).filter((line) => /^(GET|POST) /.test(line)) };
}
