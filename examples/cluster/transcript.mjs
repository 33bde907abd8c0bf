// Some clients of the cluster, through nginx: node transcript.mjs URL. It prints where each is, lets one say something to all and
// ask one on another node, and exits with 0, or with 1 and a message.
import { io } from "socket.io-client";

const url = process.argv[2];
const count = 8;
const deadline = 120_000; // ms, for everything

let step = "connecting";
setTimeout(() => fail(`not finished after ${deadline / 1000} s`), deadline).unref();
try {
  await talk();
} catch (error) {
  fail(error.message);
}
process.exit(0);

async function talk() {
  const clients = await Promise.all(Array.from({ length: count }, connect));
  step = "asking who is where";
  let nodes, members;
  do { // a node that has just started may not hear the others yet
    ({ nodes, members } = await clients[0].socket.emitWithAck("cluster"));
    step = `asking who is where: ${nodes.length} nodes and ${members.length} clients know of each other`;
  } while (nodes.length < 4 || members.length < count);
  nodes.sort((a, b) => a.name.localeCompare(b.name));
  for (const { name, kind } of nodes) {
    const here = members.filter((member) => member.node === name).map(({ id }) => id.slice(0, 4));
    console.log(`  node ${name}  ${kind.padEnd(8)} ${here.join(" ")}`);
    expect(here.length > 0, `nobody is on node ${name}`);
  }
  for (const { socket, node } of clients) {
    expect(members.some((member) => member.id === socket.id && member.node === node), `node ${clients[0].node} does not know who is on ${node}`);
  }

  step = "saying something to all";
  for (const kind of ["Go", "Node.js"]) {
    const from = clients.find(({ node }) => nodes.find(({ name }) => name === node).kind === kind);
    const text = `Hello from ${kind}`;
    const heard = Promise.all(clients.map(({ socket }) => next(socket, "said", (m) => m.text === text)));
    await from.socket.emitWithAck("say", text);
    await heard;
    console.log(`  ${kind} → all   "${text}", heard by ${count} clients on ${nodes.length} nodes`);
    for (const { name } of nodes) {
      const to = clients.find(({ node }) => node === name);
      step = `asking a client on node ${name}`;
      to.socket.once("poked", (_, ack) => ack(`an answer from ${name}`));
      const answer = await from.socket.emitWithAck("poke", to.socket.id);
      expect(answer === `an answer from ${name}`, `the answer is ${answer}`);
    }
    console.log(`  ${kind} → each  asked a client on every node, and got its answer`);
  }
}

async function connect() {
  const socket = io(url, { forceNew: true });
  const [me] = await next(socket, "you");
  return { socket, node: me.node };
}

function next(socket, event, wanted = () => true) {
  return new Promise((resolve) => {
    const listener = (...args) => {
      if (!wanted(...args)) return;
      socket.off(event, listener);
      resolve(args);
    };
    socket.on(event, listener);
  });
}

function expect(ok, what) {
  if (!ok) throw new Error(what);
}

function fail(message) {
  console.error(`cluster: ${message}, while ${step}`);
  process.exit(1);
}
