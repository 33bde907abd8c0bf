"use strict";

// The page opens some connections of its own, one per client that it shows as its own; nginx gives each to some node. What it
// shows comes from one node's view of the whole cluster.

const $ = (id) => document.getElementById(id);
const mine = []; // sockets
const drawn = new Map(); // node name → its column
let asking = false;
let askAgain = false;

function add() {
  const socket = io({ forceNew: true, reconnectionDelayMax: 1000 });
  mine.push(socket);
  socket.on("you", () => refresh());
  socket.on("poked", (from, ack) => {
    flash(socket.id);
    ack(`${short(socket.id)} is here`);
  });
  socket.on("disconnect", () => refresh());
  // One of them listens to what concerns all; another one takes its place when it has gone.
  socket.on("changed", () => socket === speaker() && refresh());
  socket.on("said", (m) => {
    if (socket === speaker()) note(m.from, m.text);
  });
}

const speaker = () => mine.find((socket) => socket.connected);
const short = (id) => id.slice(0, 4);

async function refresh() {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  do {
    askAgain = false;
    const socket = speaker();
    if (!socket) {
      $("summary").textContent = "Connecting…";
      break;
    }
    const cluster = await socket.timeout(5000).emitWithAck("cluster").catch(() => null);
    if (cluster) draw(cluster);
  } while (askAgain);
  asking = false;
}

function draw({ nodes, members }) {
  nodes.sort((a, b) => a.name.localeCompare(b.name));
  const own = new Set(mine.map(({ id }) => id));
  $("summary").textContent = `${members.length} clients on ${nodes.length} nodes, ${members.filter(({ id }) => own.has(id)).length} of them in this page`;
  for (const [name, column] of drawn) {
    if (!nodes.some((node) => node.name === name)) {
      column.remove();
      drawn.delete(name);
    }
  }
  nodes.forEach((node, i) => {
    if (!drawn.has(node.name)) drawn.set(node.name, newColumn(node));
    const column = drawn.get(node.name);
    if ($("nodes").children[i] !== column) $("nodes").insertBefore(column, $("nodes").children[i] ?? null);
    const here = members.filter((member) => member.node === node.name).sort((a, b) => a.id.localeCompare(b.id));
    column.querySelector(".count").textContent = here.length;
    column.querySelector("ul").replaceChildren(...here.map((member) => newClient(member, own.has(member.id))));
  });
}

function newColumn({ name, kind }) {
  const column = element("article", kind === "Go" ? "node go" : "node js");
  const head = element("h2");
  head.append(element("span", "name", name.toUpperCase()), element("span", "kind", kind), element("span", "count"));
  column.append(head, element("ul"));
  return column;
}

function newClient({ id }, own) {
  const item = element("li");
  const button = element("button", own ? "client own" : "client", short(id));
  button.type = "button";
  button.dataset.id = id;
  button.title = own ? "a client of this page" : "a client elsewhere";
  button.addEventListener("click", async () => {
    const start = performance.now();
    const answer = await speaker()?.timeout(5000).emitWithAck("poke", id).catch(() => null);
    note(null, answer ? `${answer} (${(performance.now() - start).toFixed(1)} ms)` : `${short(id)} does not answer`);
  });
  item.append(button);
  return item;
}

function flash(id) {
  document.querySelector(`[data-id="${CSS.escape(id)}"]`)?.animate([{ scale: 1.25 }, { scale: 1 }], { duration: 400, easing: "ease-out" });
}

function note(from, text) {
  const line = element("li");
  if (from) line.append(element("b", "", `${short(from.id)} on ${from.node.toUpperCase()}`));
  line.append(text);
  $("log").append(line);
  while ($("log").children.length > 100) $("log").firstChild.remove();
  line.scrollIntoView({ block: "nearest" });
}

function element(tag, className = "", text = "") {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

$("add").addEventListener("click", add);
$("remove").addEventListener("click", () => {
  if (mine.length > 1) mine.pop().close();
});
$("say").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = $("text").value.trim();
  if (text) speaker()?.emit("say", text, () => {});
  $("text").value = "";
});
for (let i = 0; i < 6; i++) add();
