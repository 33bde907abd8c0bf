export default async ({ connect, next, ask }) => {
  const ada = await connect();
  const grace = await connect();
  const results = [await ask(ada, "login", "Ada")];
  const joined = next(ada, "joined");
  results.push(await ask(grace, "login", "Grace"), await joined);
  results.push(await ask(grace, "login", "Eve"));
  const typing = next(ada, "typing");
  grace.emit("typing", true);
  results.push(await typing);
  const said = next(ada, "said");
  grace.emit("say", "Good morning, 世界");
  results.push(await said);
  const left = next(grace, "left");
  ada.disconnect();
  results.push(await left);
  return results;
};
