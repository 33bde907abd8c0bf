// An Express application with sessions; sockets belong to the session of their handshake's cookie.
const { createServer } = require("node:http");
const express = require("express");
const session = require("express-session");
const { Server } = require("socket.io");

const app = express();
const httpServer = createServer(app);
const io = new Server(httpServer);
const sessions = session({
  secret: process.env.SESSION_SECRET ?? "changeit",
  resave: false,
  saveUninitialized: false,
});

app.use(sessions, express.json());

app.post("/login", (req, res) => {
  req.session.user = req.body.user;
  res.status(204).end();
});

app.post("/logout", (req, res) => {
  const { id } = req.session;
  req.session.destroy(() => {
    io.in(`session:${id}`).disconnectSockets();
    res.status(204).end();
  });
});

io.engine.use((req, res, next) => {
  const isHandshake = req._query.sid === undefined;
  if (isHandshake) sessions(req, res, next);
  else next();
});

io.use((socket, next) => {
  if (!socket.request.session.user) return next(new Error("please log in"));
  next();
});

io.on("connection", (socket) => {
  const { session } = socket.request;
  socket.join(`session:${session.id}`);
  socket.on("whoami", (done) => done(session.user));
});

httpServer.listen(process.env.PORT ?? 3000);
