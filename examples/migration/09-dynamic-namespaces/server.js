// One namespace for each project and each tenant, made when the first client asks for it and dropped when
// the last has left.
const { Server } = require("socket.io");

const io = new Server(process.env.PORT ?? 3000, { cleanupEmptyChildNamespaces: true });

const projects = io.of(/^\/project-\d+$/);
projects.use((socket, next) => next(socket.handshake.auth.token === "secret" ? undefined : new Error("unauthorized")));
projects.on("connection", (socket) => {
  const project = socket.nsp;
  socket.emit("welcome", project.name, project.sockets.size);
  socket.on("note", (text, done) => {
    project.emit("note", text);
    done();
  });
});

const tenants = io.of((name, auth, next) => next(null, name.startsWith("/tenant-") && auth.tenant === name.slice(8)));
tenants.on("connection", (socket) => socket.emit("welcome", socket.nsp.name, socket.nsp.sockets.size));

io.on("new_namespace", (namespace) => io.emit("new", namespace.name));

io.on("connection", (socket) => {
  socket.on("list", (done) => done([...io._nsps.keys()].sort()));
  socket.on("announce", (text) => projects.emit("announcement", text)); // to all projects
});
