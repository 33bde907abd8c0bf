// TCP ports of this machine, for servers that tests start.
import net from 'node:net';

// Where the search goes on. Processes begin at places of their own, because one takes a port only a while after it has found it.
let next = 100 * (process.pid % 100);

/**
 * A port that is free now, and stays so until a server is started on it, or started again. It is none of those that systems
 * hand out by themselves, of which any connection might get this one meanwhile.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + (next++ % 10_000);
    const server = net.createServer();
    const free = await new Promise((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Whether somebody listens on the port. */
export const reachable = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1').on('error', () => resolve(false));
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
  });
