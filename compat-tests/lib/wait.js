// Waiting for conditions, always with a deadline and never by sleeping for a guessed time.
import { setTimeout as sleep } from 'node:timers/promises';

/** How long anything that should happen promptly may take on a slow machine, in ms. */
export const SOON = 30_000;

/** The promise's outcome, or an error that names what did not happen within ms. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Calls f until it gives something truthy, and returns that. */
export async function until(what, f, ms = SOON) {
  for (const end = performance.now() + ms; ; await sleep(10)) {
    const value = await f();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
  }
}

/** Whether the promise is still pending after ms; for the few tests that show that something does not happen. */
export async function pendingAfter(ms, promise) {
  const pending = Symbol('pending');
  return (await Promise.race([promise, sleep(ms, pending)])) === pending;
}

export { sleep };

/** A queue whose reader waits for the next item. */
export class Queue {
  #items = [];
  #waiting = [];

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.#items.push(item);
  }

  get size() {
    return this.#items.length;
  }

  async next(what = 'next item', ms = SOON) {
    if (this.#items.length) return this.#items.shift();
    let waiter;
    const item = new Promise((resolve) => this.#waiting.push((waiter = resolve)));
    try {
      return await within(ms, what, item);
    } catch (err) {
      this.#waiting = this.#waiting.filter((w) => w !== waiter);
      throw err;
    }
  }
}
