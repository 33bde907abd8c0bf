export default async ({ connect, next, ask, collect, settle }) => {
  const [a, b, c] = [await connect(), await connect(), await connect()];
  const heard = collect([a, b, c], ["said", "entered", "left"]);
  const results = [await ask(a, "enter", "red"), await ask(b, "enter", "red"), await ask(b, "enter", "blue")];
  results.push(await ask(c, "enter", "blue"), await ask(c, "enter", "quiet"));

  const said = (text) => settle(() => heard()[1].some((event) => event[1] === text));
  a.emit("say", ["red", "blue"], "to both");
  await said("to both");
  c.emit("say", ["red", "blue"], "from the quiet");
  await said("from the quiet");
  results.push(await ask(b, "leave", "red"), await ask(c, "leave", "quiet"));
  a.emit("say", ["blue"], "to blue");
  await said("to blue");
  results.push(await ask(a, "move", "blue", "green"), await ask(b, "leave", "none"), await ask(c, "leave", "none"));

  const before = structuredClone(heard());
  const gone = [next(b, "disconnect"), next(c, "disconnect")];
  a.emit("close", "green");
  results.push(await Promise.all(gone));
  results.push(await ask(a, "enter", "green"));
  return [results, before];
};
