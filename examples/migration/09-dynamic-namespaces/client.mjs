export default async ({ connect, refused, ask, next, settle, collect }) => {
  const main = await connect();
  const made = collect([main], ["new"]);
  const results = [await ask(main, "list")];
  const enter = async (namespace, auth) => {
    const socket = await connect({ namespace, auth }, ["welcome"]);
    results.push((await socket.first).slice(0, 2));
    return socket;
  };
  for (const [namespace, auth] of [
    ["/project-x", { token: "secret" }], ["/project-1", {}], ["/project-1", { token: 7 }],
    ["/tenant-acme", { tenant: "other" }], ["/tenant-acme", undefined], ["/else", {}],
  ]) {
    results.push(await refused({ namespace, auth }));
    await settle(async () => (await ask(main, "list")).length === 1);
  }
  const first = await enter("/project-1", { token: "secret" });
  const second = await enter("/project-1", { token: "secret" });
  const other = await enter("/project-2", { token: "secret" });
  const tenant = await enter("/tenant-acme", { tenant: "acme" });
  results.push(await ask(main, "list"));

  const heard = collect([first, second, other, tenant], ["note", "announcement"]);
  results.push(await ask(first, "note", "only here") ?? "no argument");
  const announcements = [first, second, other].map((socket) => next(socket, "announcement"));
  main.emit("announce", "everywhere");
  await Promise.all(announcements);
  for (const socket of [second, other, tenant]) socket.disconnect();
  await settle(async () => (await ask(main, "list")).length === 2);
  results.push(await ask(main, "list"), heard(), made());
  return results;
};
