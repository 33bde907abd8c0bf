import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export default async ({ connect, next, ask, settle, folder }) => {
  const socket = await connect({ transports: ["websocket"] });
  const file = Buffer.alloc(200_000, (i) => i);
  file.forEach((_, i) => (file[i] = (i * 7) % 251));
  const results = [await ask(socket, "chunk", 0, file.subarray(0, 10)), await ask(socket, "start", { name: "x", size: 1e9 })];
  for (const name of ["../picture.png", "..", "", "a\0b"]) results.push(await ask(socket, "start", { name, size: 1 }));
  const { chunk } = await ask(socket, "start", { name: "picture.png", size: file.length });
  results.push(chunk, await ask(socket, "start", { name: "x", size: 1 }), await ask(socket, "chunk", 5, file.subarray(0, 10)));
  for (let at = 0; at < file.length; at += chunk) {
    results.push(await ask(socket, "chunk", at, file.subarray(at, at + chunk)));
  }
  results.push(results.at(-1).sha256 === createHash("sha256").update(file).digest("hex"));
  results.push(file.equals(await readFile(join(folder, "picture.png"))));

  // A chunk above maxHttpBufferSize ends the connection, and what was uploaded so far is removed.
  await ask(socket, "start", { name: "large.bin", size: 500_000 });
  await ask(socket, "chunk", 0, file.subarray(0, chunk));
  results.push((await readdir(folder)).length);
  const gone = next(socket, "disconnect");
  socket.emit("chunk", chunk, file);
  results.push(await gone);
  await settle(async () => (await readdir(folder)).length === 1);
  results.push(await readdir(folder));
  return results;
};
