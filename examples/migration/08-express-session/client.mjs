export default async ({ url, connect, refused, next, ask }) => {
  const post = (path, body, cookie = "") =>
    fetch(url + path, { method: "POST", headers: { "content-type": "application/json", cookie }, body: JSON.stringify(body) });
  const login = async (user) => {
    const response = await post("/login", { user });
    const header = response.headers.get("set-cookie");
    results.push(response.status, header.replace(/=.*?;/, ";"));
    return header.split(";")[0];
  };
  const results = [await refused()];
  const ada = await login("Ada");
  const grace = await login("Grace");
  results.push(/^connect\.sid=s%3A[\w-]+\.[\w%]+$/.test(ada));
  const as = (cookie) => ({ extraHeaders: { cookie } });
  const forged = ada.split(".").slice(0, 2).join(".") + "." + grace.split(".")[2];
  results.push(await refused(as(forged)), await refused(as("connect.sid=s%3Ax.y")), await refused(as("connect.sid=")));
  const sockets = [await connect(as(ada)), await connect(as(ada)), await connect(as(`theme=dark; ${grace}`))];
  for (const socket of sockets) results.push(await ask(socket, "whoami"));

  const gone = [next(sockets[0], "disconnect"), next(sockets[1], "disconnect")];
  results.push((await post("/logout", {}, ada)).status, await Promise.all(gone));
  results.push(await refused(as(ada)), sockets[2].connected);
  return results;
};
