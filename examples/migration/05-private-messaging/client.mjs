export default async ({ connect, refused, next, collect, settle }) => {
  const results = [await refused({ auth: {} }), await refused({ auth: { session: "unknown" } })];
  const names = new Map(); // of what is random
  const known = (id) => names.get(id) ?? id;
  const enter = async (auth) => {
    const socket = await connect({ auth }, ["session", "users"]);
    const [session, users] = await socket.first;
    names.set(session.user, session.user && `user of ${auth.name}`);
    results.push(users.map((u) => ({ ...u, user: known(u.user) })));
    return { socket, ...session };
  };
  const ada = await enter({ name: "Ada" });
  const online = next(ada.socket, "online");
  const grace = await enter({ name: "Grace" });
  results.push({ ...(await online), user: "" });
  const again = await enter({ session: ada.session, name: "Ada" }); // a second tab
  results.push(again.session === ada.session, again.user === ada.user);

  const heard = collect([ada.socket, again.socket, grace.socket], ["private message", "offline"]);
  ada.socket.emit("private message", { to: grace.user, text: "Hello" });
  await next(again.socket, "private message");
  grace.socket.emit("private message", { to: ada.user, text: "Hello Ada" });
  await settle(() => heard().flat().length === 4);
  ada.socket.disconnect();
  again.socket.disconnect();
  await next(grace.socket, "offline");
  const messages = heard().map((list) => list.map(([event, m]) => [event, m.text, known(m.from ?? m), known(m.to)]));
  await enter({ session: ada.session, name: "Ada" });
  return [results, messages];
};
