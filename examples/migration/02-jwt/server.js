// Clients show a JSON Web Token; some events are for administrators.
const { Server } = require("socket.io");
const jwt = require("jsonwebtoken");

const secret = process.env.JWT_SECRET ?? "a secret of at least 32 bytes ...";
const io = new Server(process.env.PORT ?? 3000);

io.use((socket, next) => {
  try {
    socket.data.user = jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] });
    next();
  } catch (err) {
    const refusal = new Error("unauthorized");
    refusal.data = { expired: err.name === "TokenExpiredError" };
    next(refusal);
  }
});

io.on("connection", (socket) => {
  const { sub, role } = socket.data.user;

  socket.use(([event], next) => {
    if (event.startsWith("admin:") && role !== "admin") return next(new Error(`${event} is for administrators`));
    next();
  });
  socket.on("error", (err) => socket.emit("denied", err.message));

  socket.on("whoami", (done) => done({ sub, role }));
  socket.on("admin:announce", (text) => io.emit("announcement", text));
});
