// Files are uploaded in chunks, each acknowledged, so that the client knows how far it is.
const { createHash } = require("node:crypto");
const fs = require("node:fs/promises");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { Server } = require("socket.io");

const folder = process.env.UPLOADS ?? tmpdir();
const maxSize = 10e6; // bytes
const plainName = /^\w[\w. -]*$/;
const io = new Server(process.env.PORT ?? 3000, { maxHttpBufferSize: 128 * 1024 });

io.on("connection", (socket) => {
  let upload;

  socket.on("start", async ({ name, size }, done) => {
    if (upload) return done({ error: "an upload is running" });
    if (!plainName.test(name)) return done({ error: "invalid name" });
    if (!(size > 0 && size <= maxSize)) return done({ error: "too large" });
    upload = { name, size, received: 0 };
    upload.path = path.join(folder, `${socket.id}.part`);
    upload.file = await fs.open(upload.path, "w");
    done({ chunk: 64 * 1024 });
  });

  socket.on("chunk", async (offset, bytes, done) => {
    if (!upload || offset !== upload.received || offset + bytes.length > upload.size) {
      return done({ error: "unexpected chunk" });
    }
    await upload.file.write(bytes);
    upload.received += bytes.length;
    if (upload.received < upload.size) return done({ received: upload.received });
    const { name, size, file, path: part } = upload;
    upload = undefined;
    await file.close();
    await fs.rename(part, path.join(folder, name));
    const hash = createHash("sha256").update(await fs.readFile(path.join(folder, name)));
    done({ name, size, sha256: hash.digest("hex") });
  });

  socket.on("disconnect", async () => {
    if (!upload) return;
    await upload.file.close();
    await fs.unlink(upload.path);
  });
});
