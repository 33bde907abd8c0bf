// A node of the cluster for Node.js: the twin of main.go, with the official server.
//
//   node server.js PORT NAME REDIS
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, name, url] = process.argv.slice(2);
const self = { name, kind: "Node.js" };
const pub = createClient({ url });
const sub = pub.duplicate();
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(pub, sub), serveClient: false });
io.engine.generateId = () => name + randomBytes(15).toString("hex");

io.on("name", (ack) => ack(self));

io.on("connection", (socket) => {
  socket.data = self;
  const me = { id: socket.id, node: name };
  socket.emit("you", me);
  io.emit("changed");
  socket.on("disconnect", () => io.emit("changed"));

  socket.on("cluster", async (ack) => {
    const [answers, sockets] = await Promise.all([io.serverSideEmitWithAck("name"), io.fetchSockets()]).catch((err) => (console.error(err), [[], []]));
    ack({ nodes: [self, ...answers], members: sockets.map(({ id, data }) => ({ id, node: data.name })) });
  });
  socket.on("say", (text, ack) => {
    io.emit("said", { from: me, text });
    ack(name);
  });
  socket.on("poke", (id, ack) => {
    io.to(id).timeout(10000).emit("poked", socket.id, (err, answers) => ack(err ? null : answers[0]));
  });
});

http.listen(Number(port), "127.0.0.1", () => console.log(`listening on 127.0.0.1:${port}`));
process.on("SIGTERM", async () => {
  await io.close();
  await Promise.all([pub.quit(), sub.quit()]);
  process.exit(0);
});
