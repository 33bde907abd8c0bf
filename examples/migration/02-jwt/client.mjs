import { createHmac } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function sign(claims, { alg = "HS256", secret = "a secret of at least 32 bytes ..." } = {}) {
  const text = `${encode({ alg, typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

export default async ({ connect, refused, next, ask }) => {
  const now = Math.floor(Date.now() / 1000);
  const ada = { sub: "ada", role: "admin", exp: now + 60 };
  const tokens = [
    undefined, 7, "", "not.a.token", sign(ada, { secret: "another" }), sign(ada, { alg: "none" }),
    `${encode({ alg: "none" })}.${encode(ada)}.`, sign({ ...ada, exp: now - 1 }),
  ];
  const results = [];
  for (const token of tokens) results.push(await refused({ auth: { token } }));

  const admin = await connect({ auth: { token: sign(ada) } });
  const user = await connect({ auth: { token: sign({ sub: "bob", role: "user" }) } });
  results.push(await ask(admin, "whoami"), await ask(user, "whoami"));
  const denied = next(user, "denied");
  user.emit("admin:announce", "I am the boss");
  results.push(await denied);
  const announcement = next(user, "announcement");
  admin.emit("admin:announce", "Lunch");
  results.push(await announcement);
  return results;
};
