// Private messages between people, each of whom may be connected more than once. A session survives a
// reload of the page: the client keeps its id and shows it next time.
const { randomUUID } = require("node:crypto");
const { Server } = require("socket.io");

const io = new Server(process.env.PORT ?? 3000);
const sessions = new Map(); // by id: { user, name, sockets }

io.use((socket, next) => {
  const { session: id, name } = socket.handshake.auth;
  if (sessions.has(id)) {
    socket.data.session = id;
    return next();
  }
  if (!name) return next(new Error("invalid name"));
  socket.data.session = randomUUID();
  sessions.set(socket.data.session, { user: randomUUID(), name, sockets: 0 });
  next();
});

io.on("connection", (socket) => {
  const session = sessions.get(socket.data.session);
  socket.join(session.user);
  socket.emit("session", { session: socket.data.session, user: session.user });
  socket.emit("users", [...sessions.values()].map(({ user, name, sockets }) => ({ user, name, online: sockets > 0 })));
  if (++session.sockets === 1) socket.broadcast.emit("online", { user: session.user, name: session.name });

  // To all connections of the recipient, and to the sender's others.
  socket.on("private message", ({ to, text }) => {
    socket.to(to).to(session.user).emit("private message", { from: session.user, to, text });
  });

  socket.on("disconnect", () => {
    if (--session.sockets === 0) socket.broadcast.emit("offline", session.user);
  });
});
