// Two users of the chat in one Node program, on the official Socket.IO client.
//
//   node client.js [address of the server, by default http://127.0.0.1:3000]
//
// It prints what happens and exits with 0, or with 1 and a message if something goes wrong or takes too long.

import { readFile } from "node:fs/promises";
import { io } from "socket.io-client";

const url = process.argv[2] ?? "http://127.0.0.1:3000";
const room = "lobby";
const answerTimeout = 15_000; // ms, for each acknowledgement
const deadline = 60_000; // ms, for everything

let step = "starting";
setTimeout(() => fail(`not finished after ${deadline / 1000} s, while ${step}`), deadline).unref();

try {
  await talk();
} catch (error) {
  fail(`${error.message}, while ${step}`);
}

async function talk() {
  console.log(`Socket.IO from Node to ${url}\n`);

  begin("connecting");
  const ada = await enter("Ada");
  const grace = await enter("Grace");

  begin("joining a room");
  const arrival = next(ada, "presence", (p) => p.joined === grace.name);
  await ask(ada, "join", { room, after: Number.MAX_SAFE_INTEGER }); // without the messages of before
  await ask(grace, "join", { room, after: Number.MAX_SAFE_INTEGER });
  await arrival;
  show(ada, "←", `presence: ${grace.name} has joined #${room}`);

  begin("sending a message");
  const text = "Good morning! I am written in JavaScript, the server in Go.";
  const first = next(grace, "message", (m) => m.from === ada.name);
  await ask(ada, "message", { room, text });
  expect((await first).text === text, "the message has changed on its way");
  show(grace, "←", `message from ${ada.name}: ${text}`);

  begin("answering");
  const answer = next(ada, "message", (m) => m.from === grace.name);
  await ask(grace, "message", { room, text: "Morning, Ada. Nobody can tell. Ça va, 世界?" });
  show(ada, "←", `message from ${grace.name}: ${(await answer).text}`);

  begin("sending a picture as binary");
  const image = await readFile(new URL("picture.png", import.meta.url));
  const second = next(grace, "message", (m) => m.image);
  await ask(ada, "message", { room, text: "The view from here", image });
  const received = await second;
  expect(Buffer.isBuffer(received.image) && image.equals(received.image), "the picture has changed on its way");
  show(grace, "←", `message from ${ada.name}: ${received.text}, ${received.image.length} bytes of binary, unchanged`);

  begin("acknowledging an announcement");
  for (const socket of [ada, grace]) {
    socket.on("announcement", ({ text }, acknowledge) => {
      show(socket, "←", `announcement: ${text}`);
      acknowledge?.(socket.name); // if the server asks for it
    });
  }
  const { seenBy, error } = await announce("Emitted from an HTTP handler in Go");
  expect(!error, `announcement: ${error}`);
  expect([ada, grace].every(({ name }) => seenBy.includes(name)), "an acknowledgement is missing");
  show({ name: "Go" }, "←", `acknowledged by ${seenBy.join(" and ")}`);

  begin("leaving");
  const departure = next(ada, "presence", (p) => p.left === grace.name);
  grace.disconnect();
  await departure;
  show(ada, "←", `presence: ${grace.name} has left`);
  ada.disconnect();
  console.log("\nAll of it worked.");
}

// enter connects by long-polling, waits for the upgrade to WebSocket, and says hello.
async function enter(person) {
  const socket = io(url, { forceNew: true, reconnection: false });
  socket.name = `${person} (Node)`;
  const { engine } = socket.io;
  engine.once("open", () => show(socket, "·", `connected by ${engine.transport.name}`));
  const refused = new Promise((_, reject) => {
    socket.once("connect_error", ({ message }) => reject(new Error(`cannot connect to ${url}: ${message}`)));
  });
  await Promise.race([new Promise((resolve) => engine.once("upgrade", resolve)), refused]);
  show(socket, "·", `upgraded to ${engine.transport.name}`);
  socket.on("disconnect", (reason) => {
    if (reason !== "io client disconnect") fail(`${socket.name} was disconnected (${reason}), while ${step}`);
  });
  await ask(socket, "hello", { name: socket.name });
  return socket;
}

// ask emits an event and waits for its acknowledgement, in which the server says whether it agrees.
async function ask(socket, event, data) {
  const { image, ...rest } = data;
  show(socket, "→", `${event} ${JSON.stringify(rest)}${image ? ` and ${image.length} bytes of binary` : ""}`);
  const reply = await socket.timeout(answerTimeout).emitWithAck(event, data);
  expect(reply.ok, `${event}: the server says: ${reply.error}`);
  show(socket, "✓", `${event} acknowledged`);
  return reply;
}

// next returns the first argument of the next event that fits.
function next(socket, event, fits) {
  return new Promise((resolve) => {
    const listener = (value) => {
      if (!fits(value)) return;
      socket.off(event, listener);
      resolve(value);
    };
    socket.on(event, listener);
  });
}

// announce has the server emit something to the room from outside any Socket.IO handler.
async function announce(text) {
  show({ name: "HTTP" }, "→", `POST /announce ${JSON.stringify(text)}`);
  const response = await fetch(new URL("/announce", url), {
    method: "POST",
    body: new URLSearchParams({ text, room, ack: "1" }),
  });
  expect(response.ok, `POST /announce answers ${response.status}`);
  return response.json();
}

function begin(what) {
  step = what;
  console.log(`-- ${what}`);
}

function show({ name }, arrow, what) {
  console.log(`   ${name.padEnd(12)} ${arrow} ${what}`);
}

function expect(condition, message) {
  if (!condition) throw new Error(message);
}

function fail(message) {
  console.error(`\nnode-client: ${message}`);
  process.exit(1);
}
