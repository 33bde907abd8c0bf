// The program under load of the benchmarks on the official server: the same events as ../server.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const { values: flags } = parseArgs({
  options: {
    addr: { type: "string", default: "127.0.0.1:3000" },
    debug: { type: "string", default: "" },
    "ping-interval": { type: "string", default: "25000" }, // milliseconds
    recovery: { type: "boolean", default: false },
    deflate: { type: "boolean", default: false },
    parser: { type: "string", default: "default" },
  },
});

function listen(server, addr) {
  const { hostname, port } = new URL(`http://${addr}`);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: hostname, port: Number(port || 80), backlog: 4096 }, () => {
      const { address, port } = server.address();
      resolve(`${address}:${port}`);
    });
  });
}

const MAX_BURST = 10_000;

function register(io) {
  let hits = 0;

  io.on("connection", (socket) => {
    socket.join("all");

    socket.on("echo", (value, ack) => ack?.(value));
    socket.on("bcast", (value) => io.to("all").emit("msg", value));

    socket.on("greet", (greeting, ack) => ack?.(greeting));

    socket.on("hit", () => {
      hits++;
    });
    socket.on("hits", (ack) => ack?.(hits));

    socket.on("burst", ({ count, data }) => {
      for (let i = 0; i < Math.min(count, MAX_BURST); i++) {
        socket.emit("msg", data);
      }
    });

    socket.on("join", (room, ack) => {
      socket.join(room);
      ack?.(true);
    });
    socket.on("leave", (room, ack) => {
      socket.leave(room);
      ack?.(true);
    });
    socket.on("room", ({ room, data }) => io.to(room).emit("msg", data));
    socket.on("typing", (room) => socket.to(room).volatile.emit("typing", room));
  });
}

const web = createServer();
const io = new Server(web, {
  pingInterval: Number(flags["ping-interval"]),
  serveClient: false,
  connectionStateRecovery: flags.recovery ? {} : undefined,
  perMessageDeflate: flags.deflate,
  parser: flags.parser === "msgpack" ? msgpack : undefined,
});
register(io);

if (flags.debug) {
  const debug = createServer((req, res) => {
    if (req.method === "POST" && req.url === "/gc") {
      globalThis.gc();
      res.end();
      return;
    }
    const { heapUsed } = process.memoryUsage();
    res.setHeader("Content-Type", "application/json");
    res.end(JSON.stringify({ goroutines: 0, heapAlloc: heapUsed }));
  });
  console.log("debugging on", await listen(debug, flags.debug));
}
console.log("listening on", await listen(web, flags.addr));

process.on("SIGTERM", () => process.exit(0));
