// Starts each Node.js program and then the Go program that replaces it, runs the same client against both, and
// compares what it got to see. It fails if there is a difference, or if docs/migrating-from-node.md quotes what is not
// in the programs.
//
//   node check.mjs [part of a name ...]
//
// socket.io and socket.io-client are those of the compatibility tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDeepStrictEqual, inspect } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = join(here, "../../compat-tests/node_modules");
const { io } = createRequire(join(modules, "x"))("socket.io-client");
const patience = 60_000; // ms, for one client script
const env = { ...process.env, NODE_PATH: [join(here, "node_modules"), modules].join(delimiter) };

const wanted = process.argv.slice(2);
const names = (await readdir(here)).filter((name) => /^\d\d-/.test(name)).sort();
const chosen = names.filter((name) => !wanted.length || wanted.some((part) => name.includes(part)));
const temporary = await mkdtemp(join(tmpdir(), "migration-"));
let failures = 0;

try {
  await run("go", ["build", "-o", temporary + "/", ...chosen.map((name) => `./${name}`)]);
  for (const name of chosen) await check(name);
  if (!wanted.length) await report("quotations in docs/migrating-from-node.md", checkQuotations);
  if (chosen.includes("10-tests")) {
    await report("10-tests, its own tests", async () => {
      await run(process.execPath, ["--test", "10-tests/server.test.js"]);
      await run("go", ["test", "./10-tests"]);
    });
  }
} finally {
  await rm(temporary, { recursive: true, force: true });
}
console.log(failures ? `${failures} checks FAILED` : `${chosen.length} pairs behave the same`);
process.exit(failures ? 1 : 0);

async function check(name) {
  await report(name, async () => {
    const { default: script } = await import(pathToFileURL(join(here, name, "client.mjs")));
    const reference = await observe(script, process.execPath, [join(here, name, "server.js")]);
    const ours = await observe(script, join(temporary, name), []);
    if (!isDeepStrictEqual(ours, reference)) {
      throw new Error(`Node.js gives ${show(reference)}\nGo gives ${show(ours)}`);
    }
  });
}

// checkQuotations looks for each line of the code in the document in some program.
async function checkQuotations() {
  const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const programs = new Set();
  for (const name of names) {
    for (const file of await readdir(join(here, name))) {
      for (const line of lines(await readFile(join(here, name, file), "utf8"))) programs.add(line);
    }
  }
  const document = await readFile(join(here, "../../docs/migrating-from-node.md"), "utf8");
  for (const [, code] of document.matchAll(/```(?:go|js)\n(.*?)```/gs)) {
    const unknown = code.includes("…") ? [] : lines(code).filter((line) => !programs.has(line));
    if (unknown.length) throw new Error(`no program has ${show(unknown)}`);
  }
}

async function report(name, work) {
  const start = performance.now();
  try {
    await work();
    console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
  } catch (error) {
    failures++;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
}

function show(value) {
  return inspect(value, { depth: null, breakLength: 120 });
}

// observe runs a server program and the client script against it, and returns the script's result.
async function observe(script, command, args) {
  const port = await freePort();
  const folder = await mkdtemp(join(temporary, "files-"));
  const output = [];
  const server = spawn(command, args, { cwd: here, env: { ...env, PORT: String(port), UPLOADS: folder } });
  const exited = once(server, "exit");
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => output.push(text));
  const toolbox = tools(`http://127.0.0.1:${port}`, folder);
  try {
    await Promise.race([toolbox.reachable(), exited.then(() => Promise.reject(new Error("the server has ended")))]);
    return await within(script(toolbox), "the client script");
  } catch (error) {
    error.message += ` (${command} ${args.join(" ")})\n${output.join("")}`;
    throw error;
  } finally {
    toolbox.close();
    if (server.exitCode === null) server.kill();
    await exited;
  }
}

// tools is what client scripts work with.
function tools(url, folder) {
  const sockets = [];
  const open = ({ namespace = "/", ...options } = {}) => {
    const socket = io(url + namespace, { forceNew: true, reconnection: false, ...options });
    sockets.push(socket);
    return socket;
  };
  const next = (socket, event) =>
    within(new Promise((resolve) => socket.once(event, resolve)), event);

  return {
    url,
    folder,
    // connect resolves with a connected socket. If events are given, socket.first resolves with the arguments of the
    // first event of each name, in one list.
    async connect(options, events = []) {
      const socket = open(options);
      const firsts = events.map((event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args))));
      socket.first = within(Promise.all(firsts), events).then((all) => all.flat());
      const failed = new Promise((_, reject) => socket.once("connect_error", reject));
      await within(Promise.race([once(socket, "connect"), failed]), "connect");
      return socket;
    },
    // refused resolves with what a client is told that may not connect.
    async refused(options) {
      const socket = open(options);
      const admitted = once(socket, "connect").then(() => "connected");
      const refusal = new Promise((resolve) => socket.once("connect_error", ({ message, data }) => resolve({ message, data })));
      return within(Promise.race([refusal, admitted]), "a refusal");
    },
    // next resolves with the first argument of the next event of this name.
    next,
    // ask resolves with the acknowledgement of an event.
    ask: (socket, event, ...args) => socket.timeout(patience / 2).emitWithAck(event, ...args),
    // collect returns a function that returns what each socket has received so far.
    collect(from, events) {
      const heard = from.map(() => []);
      from.forEach((socket, i) => events.forEach((event) => socket.on(event, (...args) => heard[i].push([event, ...args]))));
      return () => heard;
    },
    // settle resolves when a condition holds.
    async settle(condition) {
      for (const end = Date.now() + patience / 2; !(await condition()); await pause(20)) {
        if (Date.now() > end) throw new Error(`does not come true: ${condition}`);
      }
    },
    async reachable() {
      for (const end = Date.now() + patience; Date.now() < end; await pause(20)) {
        try {
          return await fetch(`${url}/socket.io/`);
        } catch {} // not yet
      }
      throw new Error("the server cannot be reached");
    },
    close: () => sockets.forEach((socket) => socket.disconnect()),
  };
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end of ${what} in ${patience} ms`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// run runs a command in this folder and fails with its output.
async function run(command, args) {
  const child = spawn(command, args, { cwd: here, env });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => output.push(text));
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}\n${output.join("")}`);
}
