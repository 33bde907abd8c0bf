// The contract program compat-tests/server as a process of its own, for tests of that contract and of a whole process:
// start, SIGTERM, restart on the same port.
import { Endpoint } from './endpoint.js';
import { startProgram } from './target.js';

/**
 * Starts the program with these flags, e.g. {'ping-interval': '300ms', 'allow-eio3': true}; addr defaults to a free port.
 * Returns {engine, socket, line, stop}: endpoints of /engine.io/ and /socket.io/, the line it printed, and the way to stop it,
 * which checks that SIGTERM ends it with status 0. It is stopped at the end of test t if it still runs.
 */
export async function startServer(t, flags = {}) {
  const args = Object.entries({ addr: '127.0.0.1:0', ...flags }).map(([k, v]) => `-${k}=${v}`);
  const program = await startProgram('server', args);
  const engine = new Endpoint(program.port, '/engine.io/');
  const socket = new Endpoint(program.port, '/socket.io/');
  let stopped;
  const stop = () => {
    stopped ??= (async () => {
      await program.stop();
      engine.release();
      socket.release();
    })();
    return stopped;
  };
  t.after(stop);
  return { engine, socket, port: program.port, line: program.line, pid: program.pid, stop };
}
