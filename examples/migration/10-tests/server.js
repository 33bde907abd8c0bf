// A to-do list that several people share; server.test.js tests it.
const { Server } = require("socket.io");

function addTodos(io) {
  const todos = [];

  io.on("connection", (socket) => {
    socket.on("add", (title, done) => {
      if (typeof title !== "string" || title === "") return done({ error: "a title is needed" });
      const todo = { id: todos.length + 1, title };
      todos.push(todo);
      socket.broadcast.emit("added", todo);
      done({ id: todo.id });
    });
    socket.on("list", (done) => done(todos));
  });
}

if (require.main === module) addTodos(new Server(process.env.PORT ?? 3000));

module.exports = { addTodos };
