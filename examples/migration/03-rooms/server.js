// Rooms: people enter and leave them, talk in them, and can be thrown out.
const { Server } = require("socket.io");

const io = new Server(process.env.PORT ?? 3000);

io.on("connection", (socket) => {
  socket.on("enter", async (room, done) => {
    await socket.join(room);
    socket.to(room).emit("entered", room);
    done((await io.in(room).fetchSockets()).length);
  });

  socket.on("leave", async (room, done) => {
    await socket.leave(room);
    socket.to(room).emit("left", room);
    done([...socket.rooms].filter((r) => r !== socket.id).sort());
  });

  // The first argument is a list of rooms; whoever is in several of them gets the message once.
  socket.on("say", (rooms, text) => socket.to(rooms).except("quiet").emit("said", text));

  socket.on("move", (from, to, done) => {
    io.in(from).socketsJoin(to);
    io.in(from).socketsLeave(from);
    done();
  });

  socket.on("close", (room) => io.in(room).disconnectSockets(true));

  socket.on("disconnecting", () => {
    for (const room of socket.rooms) {
      if (room !== socket.id) socket.to(room).emit("left", room);
    }
  });
});
