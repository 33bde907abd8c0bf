// Who is there: a user is online while any of its connections is. An HTTP endpoint tells the same.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const httpServer = createServer(async (req, res) => {
  if (req.url !== "/presence") return res.writeHead(404).end();
  const sockets = await io.fetchSockets();
  const users = [...new Set(sockets.map((socket) => socket.data.user))].sort();
  res.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(users));
});
const io = new Server(httpServer);
const connections = new Map(); // by user: how many

io.use((socket, next) => {
  const { user } = socket.handshake.auth;
  if (!user) return next(new Error("who are you?"));
  socket.data.user = user;
  next();
});

io.on("connection", (socket) => {
  const { user } = socket.data;
  const before = connections.get(user) ?? 0;
  connections.set(user, before + 1);
  if (before === 0) socket.broadcast.emit("online", user);
  socket.emit("present", [...connections.keys()].sort());

  socket.on("disconnect", () => {
    const left = connections.get(user) - 1;
    if (left > 0) return connections.set(user, left);
    connections.delete(user);
    socket.broadcast.emit("offline", user);
  });
});

httpServer.listen(process.env.PORT ?? 3000);
