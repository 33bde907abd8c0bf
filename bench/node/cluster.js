// A node of the cluster that the benchmark ../cluster runs, on the official server and its Redis adapter: the same events as
// ../cluster/node.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { values: flags } = parseArgs({
  options: {
    addr: { type: "string", default: "127.0.0.1:0" },
    redis: { type: "string", default: "127.0.0.1:6379" },
  },
});

const publisher = createClient({ url: `redis://${flags.redis}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const web = createServer();
const io = new Server(web, { serveClient: false, adapter: createAdapter(publisher, subscriber) });

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack(true);
  });
  // Acknowledged when Redis has taken all.
  socket.on("publish", async ({ room, data, count }, ack) => {
    for (let i = 0; i < count; i++) {
      io.to(room).emit("msg", data);
    }
    await publisher.ping();
    ack(true);
  });
});

const { hostname, port } = new URL(`http://${flags.addr}`);
web.listen({ host: hostname, port: Number(port || 0) }, () => {
  const { address, port } = web.address();
  console.log(`listening on ${address}:${port}`);
});

process.on("SIGTERM", () => process.exit(0));
