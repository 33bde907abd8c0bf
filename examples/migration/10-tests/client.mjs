export default async ({ connect, ask, next }) => {
  const [a, b] = [await connect(), await connect()];
  const added = next(b, "added");
  const results = [await ask(a, "list"), await ask(a, "add", "milk"), await added];
  for (const title of ["", 5, null, ["x"]]) results.push(await ask(a, "add", title));
  results.push(await ask(b, "add", "bread"), await ask(b, "list"));
  return results;
};
