export default async ({ url, connect, refused, next, settle, collect }) => {
  const present = async () => (await fetch(`${url}/presence`)).json();
  const results = [await refused(), await present()];
  const enter = async (user) => {
    const socket = await connect({ auth: { user } }, ["present"]);
    results.push((await socket.first)[0]);
    return socket;
  };
  const ada = await enter("Ada");
  const heard = collect([ada], ["online", "offline"]);
  const grace = await enter("Grace");
  const graceAgain = await enter("Grace");
  results.push(await present());
  grace.disconnect();
  await enter("Linus");
  results.push(await present());
  const offline = next(ada, "offline");
  graceAgain.disconnect();
  results.push(await offline);
  await settle(async () => (await present()).length === 2);
  results.push(heard(), (await fetch(`${url}/elsewhere`)).status);
  return results;
};
