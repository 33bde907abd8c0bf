// Acknowledgements in both directions: of the server, of one client, of many.
const { Server } = require("socket.io");

const io = new Server(process.env.PORT ?? 3000);

io.on("connection", (socket) => {
  socket.on("divide", (a, b, done) => {
    if (b === 0) return done({ error: "division by zero" });
    done({ result: a / b });
  });

  // Asks the client a question of its own before it answers.
  socket.on("greet", async (done) => {
    try {
      const name = await socket.timeout(2000).emitWithAck("what is your name?");
      done(`Hello ${name}`);
    } catch {
      done("Hello stranger");
    }
  });

  // Everybody has 2 s to vote; whoever does not is not counted.
  socket.on("poll", async (question, done) => {
    let votes;
    let complete = true;
    try {
      votes = await io.timeout(2000).emitWithAck("vote", question);
    } catch (err) {
      votes = err.responses;
      complete = false;
    }
    done({ votes: votes.sort(), complete });
  });
});
