// The page of the chat. What it sends and receives is described in ../events.go.

const $ = (id) => document.getElementById(id);

const maxImage = 700_000; // bytes, as on the server
const keptMessages = 300; // per room, on the page
const answerTimeout = 10_000; // ms

// --- State -----------------------------------------------------------------------------------------------

// What survives a reload of this tab. The key lets us take our name back after a broken connection.
const me = { name: "", key: crypto.randomUUID?.() ?? String(Math.random()), rooms: ["lobby"], current: "lobby", in: false };
Object.assign(me, JSON.parse(sessionStorage.getItem("chat") ?? "{}"));
const save = () => sessionStorage.setItem("chat", JSON.stringify(me));

const rooms = new Map(); // those we are in, by name
let listed = []; // all rooms, as the server lists them
let ready = false; // connected, with our name accepted
let picture = null; // the image to be sent: a Blob

class Room {
  constructor(name) {
    this.name = name;
    this.members = [];
    this.lastID = 0;
    this.seen = new Set(); // ids of messages
    this.sent = new Map(); // our own messages by ref
    this.typing = new Map(); // name -> timer
    this.unread = 0;
    this.draft = "";
    this.last = null; // what the next message may be grouped with
    this.list = element("div", "room");
    this.empty = element("div", "empty");
    this.empty.append(element("strong", "", `This is #${name}`), "Say something, or paste a picture.");
    this.list.append(this.empty);
  }
}

function roomNamed(name) {
  if (!rooms.has(name)) rooms.set(name, new Room(name));
  return rooms.get(name);
}

const current = () => rooms.get(me.current);

// --- Connection ------------------------------------------------------------------------------------------

const socket = io({ autoConnect: false });

// ask emits an event and returns the server's reply. Without one it returns { lost: true }.
async function ask(event, data) {
  try {
    return await socket.timeout(answerTimeout).emitWithAck(event, data);
  } catch {
    return { ok: false, lost: true, error: "the server did not answer" };
  }
}

socket.on("connect", async () => {
  watchTransport();
  const reply = await ask("hello", { name: me.name, key: me.key });
  if (reply.lost) return; // the connection is gone again
  if (!reply.ok) return signOut(reply.error);
  me.name = reply.name;
  me.in = true;
  localStorage.setItem("chat-name", me.name);
  showApp();
  // Back after an interruption: only what we have missed is sent again.
  for (const name of [...me.rooms]) await join(name, false);
  ready = true;
  show(me.rooms.includes(me.current) ? me.current : me.rooms[0]);
  for (const room of rooms.values()) {
    for (const message of room.sent.values()) if (message.state === "pending") deliver(message);
  }
  measure();
});

socket.on("disconnect", (reason) => {
  ready = false;
  for (const room of rooms.values()) for (const name of room.typing.keys()) stopTyping(room, name);
  if (reason === "io server disconnect") signOut("you have signed in somewhere else");
  else if (reason !== "io client disconnect") badge("connecting", "Reconnecting");
});

socket.on("connect_error", () => {
  badge("offline", "Offline, trying again");
  if (!me.in) complain("the server cannot be reached");
});

function watchTransport() {
  const { engine } = socket.io;
  const tell = () => badge(engine.transport.name, engine.transport.name === "websocket" ? "WebSocket" : "Polling");
  tell();
  engine.once("upgrade", () => { tell(); measure(); });
}

// measure shows how long a round trip takes.
async function measure() {
  if (!ready) return;
  const start = performance.now();
  try {
    await socket.timeout(answerTimeout).emitWithAck("latency");
  } catch {
    return;
  }
  const { name } = socket.io.engine.transport;
  const label = name === "websocket" ? "WebSocket" : "Polling";
  badge(name, `${label} · ${Math.max(1, Math.round(performance.now() - start))} ms`);
}
setInterval(() => { if (!document.hidden) measure(); }, 5000);

function badge(state, text) {
  $("badge").dataset.state = state;
  $("badge").title = state === "websocket" ? "Connected by WebSocket; the time is that of a round trip" : "";
  $("badge-text").textContent = text;
}

// --- Events of the server --------------------------------------------------------------------------------

socket.on("rooms", (list) => {
  listed = list;
  renderRooms();
});

socket.on("stats", ({ online, uptime }) => {
  const time = uptime < 3600 ? `${Math.max(1, Math.round(uptime / 60))} min` : `${Math.round(uptime / 3600)} h`;
  $("stats").textContent = `${online} online, server up ${time}`;
});

socket.on("presence", ({ room: name, members, joined, left }) => {
  const room = roomNamed(name);
  room.members = members;
  if (joined && joined !== me.name) system(room, `${joined} joined`);
  if (left) {
    stopTyping(room, left);
    system(room, `${left} left`);
  }
  if (room === current()) renderPeople();
});

socket.on("message", (message) => {
  const room = roomNamed(message.room);
  if (room.seen.has(message.id)) return;
  const own = message.from === me.name && room.sent.get(message.ref);
  if (own) return confirm(own, message); // the acknowledgement was lost
  room.seen.add(message.id);
  room.lastID = Math.max(room.lastID, message.id);
  stopTyping(room, message.from);
  append(room, { ...message, state: "sent" });
});

socket.on("typing", ({ room: name, name: who }) => {
  const room = rooms.get(name);
  if (!room || who === me.name) return;
  clearTimeout(room.typing.get(who));
  room.typing.set(who, setTimeout(() => stopTyping(room, who), 4000));
  if (room === current()) renderTyping();
});

socket.on("announcement", ({ text, rooms: names, time }, acknowledge) => {
  for (const room of names ? names.map((n) => rooms.get(n)).filter(Boolean) : rooms.values()) {
    const line = element("div", "announcement");
    line.append(element("strong", "", `Announcement, ${clock(time)}`), text);
    put(room, line);
    room.last = null;
    markUnread(room);
  }
  acknowledge?.(me.name);
});

function stopTyping(room, who) {
  clearTimeout(room.typing.get(who));
  if (room.typing.delete(who) && room === current()) renderTyping();
}

// --- Rooms -----------------------------------------------------------------------------------------------

async function join(name, andShow = true) {
  const reply = await ask("join", { room: name, after: rooms.get(name)?.lastID ?? 0 });
  if (!reply.ok) {
    if (!reply.lost) me.rooms = me.rooms.filter((r) => r !== name);
    notice(reply.error);
    return;
  }
  roomNamed(reply.room);
  if (!me.rooms.includes(reply.room)) me.rooms.push(reply.room);
  save();
  if (andShow) show(reply.room);
}

async function leave(name) {
  const reply = await ask("leave", { room: name });
  if (!reply.ok) return notice(reply.error);
  rooms.delete(name);
  me.rooms = me.rooms.filter((r) => r !== name);
  if (me.current === name) show(me.rooms[0]);
  save();
}

// show makes a room the current one; without a name, none is.
function show(name) {
  const before = current();
  if (before) before.draft = $("text").value;
  me.current = name ?? "";
  save();
  const room = current();
  $("log").replaceChildren(...(room ? [room.list] : []));
  $("room-title").textContent = room ? `# ${room.name}` : "No room";
  $("composer-area").hidden = $("leave").hidden = !room;
  if (room) {
    room.unread = 0;
    $("text").value = room.draft;
    $("text").placeholder = `Message #${room.name}`;
    fitText();
    scrollDown();
  }
  renderRooms();
  renderPeople();
  renderTyping();
  closeDrawers();
  notice("");
}

function renderRooms() {
  const names = listed.map((r) => r.name);
  const all = [...listed, ...me.rooms.filter((n) => !names.includes(n)).map((name) => ({ name, members: 1 }))];
  $("rooms").replaceChildren(...all.map(({ name, members }) => {
    const room = rooms.get(name);
    const button = element("button");
    button.type = "button";
    button.dataset.room = name;
    button.classList.toggle("joined", !!room);
    button.classList.toggle("unread", !!room?.unread);
    if (name === me.current) button.setAttribute("aria-current", "true");
    const label = element("span", "name");
    label.append(element("span", "hash", "# "), name);
    const count = element("span", "count", room?.unread || members || "");
    if (room?.unread) count.setAttribute("aria-label", `${room.unread} unread`);
    else if (members) count.setAttribute("aria-label", `${members} here`);
    button.append(label, count);
    const item = element("li");
    item.append(button);
    return item;
  }));
  const unread = [...rooms.values()].reduce((sum, r) => sum + r.unread, 0);
  $("unread-elsewhere").hidden = !unread;
  document.title = `${unread ? `(${unread}) ` : ""}${me.current ? `#${me.current} · ` : ""}Myriad chat`;
}

function renderPeople() {
  const members = current()?.members ?? [];
  $("people-count").textContent = members.length || "";
  $("room-subtitle").textContent = members.length === 1 ? "Only you so far" : members.length ? `${members.length} people` : "";
  $("members").replaceChildren(...members.map((name) => {
    const item = element("li");
    item.append(avatar(name), element("span", "who", name === me.name ? `${name} (you)` : name));
    return item;
  }));
}

function renderTyping() {
  const names = [...(current()?.typing.keys() ?? [])];
  $("typing").replaceChildren();
  if (!names.length) return;
  const dots = element("span", "dots");
  dots.append(element("i"), element("i"), element("i"));
  const text = names.length === 1 ? `${names[0]} is typing` : names.length === 2 ? `${names.join(" and ")} are typing` : "Several people are typing";
  $("typing").append(dots, text);
}

// --- Messages --------------------------------------------------------------------------------------------

function send(text, image) {
  const room = current();
  const message = {
    room: room.name, from: me.name, text, image, ref: crypto.randomUUID?.() ?? String(Math.random()),
    time: Date.now(), state: "pending",
  };
  room.sent.set(message.ref, message);
  append(room, message);
  scrollDown();
  deliver(message);
}

// deliver sends a message of ours, unless the connection is down: then it is sent after the next one is made.
async function deliver(message) {
  mark(message, "pending");
  if (!ready) return;
  const { room, text, image, ref } = message;
  const reply = await ask("message", { room, text, image, ref });
  if (reply.ok) confirm(message, reply);
  else if (!reply.lost) mark(message, "failed", reply.error);
  else if (ready && message.state === "pending") mark(message, "failed", reply.error);
}

// confirm takes over the id that the server has given to a message of ours.
function confirm(message, { id, time }) {
  const room = rooms.get(message.room);
  if (room) {
    room.seen.add(id);
    room.lastID = Math.max(room.lastID, id);
  }
  message.time = time;
  mark(message, "sent");
}

function mark(message, state, error) {
  message.state = state;
  const { node } = message;
  node.classList.toggle("pending", state === "pending");
  node.classList.toggle("failed", state === "failed");
  const status = node.querySelector(".status");
  if (state === "pending") status.replaceChildren(ready ? "Sending" : "Waiting for the connection");
  if (state === "sent") {
    const tick = element("span", "tick", "✓");
    tick.setAttribute("aria-hidden", "true");
    status.replaceChildren(`${clock(message.time)}  Sent `, tick);
  }
  if (state === "failed") {
    const again = element("button", "", "Try again");
    again.type = "button";
    again.addEventListener("click", () => deliver(message));
    status.replaceChildren(sentence(error), " ", again);
  }
}

// append adds a message to its room.
function append(room, message) {
  const { from, text, time } = message;
  const mine = from === me.name;
  const day = new Date(time).toDateString();
  if (room.day !== day) {
    if (room.day || day !== new Date().toDateString()) {
      put(room, element("div", "system day", new Date(time).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" })));
    }
    room.day = day;
    room.last = null;
  }
  const first = room.last?.from !== from || time - room.last.time > 5 * 60_000;
  const node = element("article", `message${mine ? " mine latest" : ""}${first ? " first" : ""}`);
  node.setAttribute("aria-label", `${mine ? "You" : from}, ${clock(time)}`);

  const name = element("div", "from", from);
  name.append(element("time", "", clock(time)));
  const bubble = element("div", "bubble");
  if (message.image?.byteLength || message.image?.size) {
    bubble.classList.add("with-picture");
    bubble.append(pictureButton(message));
  }
  if (text) bubble.append(paragraph(text));
  node.append(avatar(from), name, bubble);
  message.node = node;
  if (mine) {
    room.list.querySelector(".latest")?.classList.remove("latest");
    node.append(element("div", "status"));
    mark(message, message.state);
  }
  put(room, node);
  room.last = { from, time };
  if (!mine) markUnread(room);
}

function pictureButton({ image, imageType, from, text }) {
  const button = element("button", "picture");
  button.type = "button";
  button.setAttribute("aria-label", "Enlarge the picture");
  const img = element("img");
  img.src = URL.createObjectURL(image instanceof Blob ? image : new Blob([image], { type: imageType }));
  img.alt = text || `Picture from ${from}`;
  img.addEventListener("load", () => scrollDown(false));
  button.append(img);
  button.addEventListener("click", () => {
    $("viewer-image").src = img.src;
    $("viewer-image").alt = img.alt;
    $("viewer").showModal();
  });
  return button;
}

// paragraph turns web addresses into links. Whatever users write becomes text nodes, never HTML.
function paragraph(text) {
  const p = element("p");
  for (const part of text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)])/)) {
    if (/^https?:\/\//.test(part)) {
      const a = element("a", "", part);
      a.href = part;
      a.target = "_blank";
      a.rel = "noopener noreferrer nofollow";
      p.append(a);
    } else {
      p.append(part);
    }
  }
  return p;
}

function system(room, text) {
  put(room, element("div", "system", text));
  room.last = null;
}

// put adds a line to a room and drops those that are too many.
function put(room, node) {
  const follow = room === current() && nearEnd();
  room.empty.remove();
  room.list.append(node);
  while (room.list.childElementCount > keptMessages) {
    for (const img of room.list.firstElementChild.querySelectorAll("img")) URL.revokeObjectURL(img.src);
    room.list.firstElementChild.remove();
  }
  if (follow) scrollDown();
}

function markUnread(room) {
  if (room === current() && !document.hidden) return;
  room.unread++;
  renderRooms();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && current()?.unread) {
    current().unread = 0;
    renderRooms();
  }
});

function nearEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 120;
}

// scrollDown shows the newest line; if not forced, only where pictures have just made the list longer.
function scrollDown(force = true) {
  const log = $("log");
  if (force || log.scrollHeight - log.scrollTop - log.clientHeight < 480) log.scrollTop = log.scrollHeight;
}

// --- Composer --------------------------------------------------------------------------------------------

const text = $("text");
let toldTyping = 0;

$("composer").addEventListener("submit", (e) => {
  e.preventDefault();
  const words = text.value.trim();
  if ((!words && !picture) || !current()) return;
  notice("");
  send(words, picture);
  setPicture(null);
  text.value = "";
  toldTyping = 0;
  fitText();
  text.focus();
});

text.addEventListener("keydown", (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
    e.preventDefault();
    $("composer").requestSubmit();
  }
});

text.addEventListener("input", () => {
  fitText();
  if (ready && text.value && Date.now() - toldTyping > 2000) {
    toldTyping = Date.now();
    socket.volatile.emit("typing", { room: me.current });
  }
});

function fitText() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  $("send").disabled = !text.value.trim() && !picture;
}

$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", (e) => {
  addPicture(e.target.files);
  e.target.value = "";
});
$("preview-remove").addEventListener("click", () => { setPicture(null); text.focus(); });

document.addEventListener("paste", (e) => {
  if (me.in && addPicture(e.clipboardData.files)) e.preventDefault();
});
document.addEventListener("dragover", (e) => {
  if (!e.dataTransfer.types.includes("Files")) return;
  e.preventDefault();
  $("drop").hidden = false;
});
document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) $("drop").hidden = true; });
document.addEventListener("drop", (e) => {
  $("drop").hidden = true;
  if (!e.dataTransfer.files.length) return;
  e.preventDefault();
  addPicture(e.dataTransfer.files);
});

// addPicture takes the first picture of a list of files. It returns false if there are no files.
function addPicture(files) {
  if (!files.length || !current()) return false;
  const file = [...files].find((f) => f.type.startsWith("image/"));
  if (!file) {
    notice("this is not a picture");
    return true;
  }
  shrink(file).then(setPicture, () => notice("the picture cannot be read"));
  return true;
}

// shrink makes a picture small enough to be sent.
async function shrink(file) {
  if (file.size <= maxImage && /^image\/(png|jpeg|gif|webp)$/.test(file.type)) return file;
  const bitmap = await createImageBitmap(file);
  for (let edge = 1800; edge > 200; edge *= 0.7) {
    const scale = Math.min(1, edge / Math.max(bitmap.width, bitmap.height));
    const canvas = element("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.86));
    if (blob && blob.size <= maxImage) return blob;
  }
  throw new Error("too large");
}

function setPicture(blob) {
  picture = blob;
  URL.revokeObjectURL($("preview-image").src);
  $("preview").hidden = !blob;
  if (blob) {
    $("preview-image").src = URL.createObjectURL(blob);
    $("preview-size").textContent = `${Math.max(1, Math.round(blob.size / 1000))} kB, sent as binary`;
    notice("");
    text.focus();
  }
  fitText();
}

function notice(error) {
  $("notice").textContent = error ? sentence(error) : "";
}

// --- Screens ---------------------------------------------------------------------------------------------

$("welcome-form").addEventListener("submit", (e) => {
  e.preventDefault();
  me.name = $("name").value.trim();
  if (!me.name) return complain("please choose a name");
  complain("");
  socket.disconnect().connect();
});

function showApp() {
  if (!$("app").hidden) return;
  $("welcome").hidden = true;
  $("app").hidden = false;
  $("me-name").textContent = me.name;
  $("me-avatar").replaceWith(Object.assign(avatar(me.name), { id: "me-avatar" }));
  text.focus();
}

function signOut(error) {
  me.in = ready = false;
  me.rooms = ["lobby"];
  me.current = "lobby";
  save();
  rooms.clear();
  setPicture(null);
  socket.disconnect();
  $("app").hidden = true;
  $("welcome").hidden = false;
  $("name").value = me.name;
  $("name").focus();
  document.title = "Myriad chat";
  complain(error);
}

function complain(error) {
  $("welcome-error").textContent = error ? sentence(error) : "";
}

$("sign-out").addEventListener("click", () => signOut(""));
$("leave").addEventListener("click", () => leave(me.current));

$("rooms").addEventListener("click", (e) => {
  const name = e.target.closest("button")?.dataset.room;
  if (name) rooms.has(name) ? show(name) : join(name);
});

$("new-room").addEventListener("submit", (e) => {
  e.preventDefault();
  const name = $("new-room-name").value.trim();
  if (!name) return $("new-room-name").focus();
  $("new-room-name").value = "";
  join(name);
});

// On narrow screens the lists of rooms and people are drawers.
function openDrawer(id, button) {
  $(id).classList.add("open");
  button.setAttribute("aria-expanded", "true");
  $("scrim").hidden = false;
  $(id).querySelector("[data-close]").focus();
}

function closeDrawers() {
  if ($("scrim").hidden) return;
  for (const [id, button] of [["sidebar", $("show-rooms")], ["people", $("show-people")]]) {
    if ($(id).classList.contains("open")) button.focus();
    $(id).classList.remove("open");
    button.setAttribute("aria-expanded", "false");
  }
  $("scrim").hidden = true;
}

$("show-rooms").addEventListener("click", (e) => openDrawer("sidebar", e.currentTarget));
$("show-people").addEventListener("click", (e) => openDrawer("people", e.currentTarget));
for (const node of document.querySelectorAll("[data-close]")) node.addEventListener("click", closeDrawers);
document.addEventListener("keydown", (e) => { if (e.key === "Escape") closeDrawers(); });

$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("click", (e) => { if (e.target === $("viewer")) $("viewer").close(); });

// --- Helpers ---------------------------------------------------------------------------------------------

function element(tag, className = "", content = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content !== "") node.textContent = content;
  return node;
}

// avatar shows initials on a colour that follows from the name.
function avatar(name) {
  const node = element("span", "avatar");
  const words = name.split(/\s+/);
  node.textContent = ([...words[0]][0] + (words.length > 1 ? [...words.at(-1)][0] : "")).toUpperCase();
  let hash = 0;
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0), 0x9e3779b1) >>> 0;
  node.style.setProperty("--hue", (hash >>> 16) % 24 * 15);
  node.setAttribute("aria-hidden", "true");
  return node;
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });

// sentence makes one of an error of the server.
const sentence = (error) => error[0].toUpperCase() + error.slice(1) + (/[.!?]$/.test(error) ? "" : ".");

// --- Start -----------------------------------------------------------------------------------------------

$("name").value = me.name || localStorage.getItem("chat-name") || "";
fitText();
if (me.in) {
  showApp();
  badge("connecting", "Connecting");
  socket.connect();
}
