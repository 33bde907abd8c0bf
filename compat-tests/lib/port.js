// TCP ports of this machine, for servers that tests start.
import net from 'node:net';

/** A port that is free now. */
export const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Whether somebody listens on the port. */
export const reachable = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1').on('error', () => resolve(false));
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
  });
