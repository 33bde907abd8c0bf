const assert = require("node:assert");
const { once } = require("node:events");
const { createServer } = require("node:http");
const { afterEach, beforeEach, test } = require("node:test");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { addTodos } = require("./server.js");

let io, client, other;

beforeEach(async () => {
  const httpServer = createServer().listen(0);
  io = new Server(httpServer);
  addTodos(io);
  const url = `http://localhost:${httpServer.address().port}`;
  [client, other] = [connect(url), connect(url)];
  await Promise.all([once(client, "connect"), once(other, "connect")]);
});

afterEach(() => {
  client.disconnect();
  other.disconnect();
  return io.close();
});

test("an item is acknowledged, told to others, and kept", async () => {
  const added = once(other, "added");
  assert.deepStrictEqual(await client.emitWithAck("add", "milk"), { id: 1 });
  assert.deepStrictEqual(await added, [{ id: 1, title: "milk" }]);
  assert.deepStrictEqual(await other.emitWithAck("list"), [{ id: 1, title: "milk" }]);
});

test("an item needs a title", async () => {
  assert.deepStrictEqual(await client.emitWithAck("add", ""), { error: "a title is needed" });
  assert.deepStrictEqual(await client.emitWithAck("list"), []);
});
