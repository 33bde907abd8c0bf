// A chat: people log in, talk, see who types, and hear who comes and goes.
const { Server } = require("socket.io");

const io = new Server(process.env.PORT ?? 3000);
let users = 0;

io.on("connection", (socket) => {
  socket.on("login", (name, done) => {
    if (socket.data.name) return done({ error: "already logged in" });
    socket.data.name = name;
    users++;
    socket.broadcast.emit("joined", { name, users });
    done({ users });
  });

  socket.on("say", (text) => {
    const { name } = socket.data;
    if (name) socket.broadcast.emit("said", { name, text });
  });

  socket.on("typing", (typing) => {
    const { name } = socket.data;
    if (name) socket.broadcast.emit("typing", { name, typing });
  });

  socket.on("disconnect", () => {
    const { name } = socket.data;
    if (!name) return;
    users--;
    socket.broadcast.emit("left", { name, users });
  });
});
