export default async ({ connect, ask }) => {
  const [a, b, c] = [await connect(), await connect(), await connect()];
  const results = [await ask(a, "divide", 1, 4), await ask(a, "divide", 1, 0), await ask(a, "divide", 0, 3)];
  results.push(await ask(b, "greet"));
  a.on("what is your name?", (answer) => answer("Ada"));
  results.push(await ask(a, "greet"));

  for (const [socket, vote] of [[a, "yes"], [b, "no"], [c, "yes"]]) {
    socket.on("vote", (question, answer) => answer(`${question} ${vote}`));
  }
  results.push(await ask(a, "poll", "Pizza?"));
  c.off("vote");
  results.push(await ask(a, "poll", "Pasta?"));
  return results;
};
