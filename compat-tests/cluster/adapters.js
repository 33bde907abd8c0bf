// The official adapters by the names that backend/backend.go gives to those of Go.
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdapter as createPostgresAdapter } from '@socket.io/postgres-adapter';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import pg from 'pg';
import { createClient } from 'redis';

/** The backend that each adapter needs. */
export const backendOf = {
  memory: 'none',
  redis: 'redis',
  'redis-sharded': 'redis',
  'redis-sharded-private': 'redis',
  'redis-sharded-static': 'redis',
  'redis-streams': 'redis',
  postgres: 'postgres',
  nats: 'nats',
};

const modes = { 'redis-sharded': 'dynamic', 'redis-sharded-private': 'dynamic-private', 'redis-sharded-static': 'static' };

/** Opens the adapter of this name over the backend at url. Resolves to {adapter, close}: an option of Server, and what to call behind its end. */
export async function openAdapter(name, url) {
  if (name === 'memory') return { adapter: undefined, close: async () => {} };
  if (backendOf[name] === 'postgres') {
    // One connection listens, and one sends, so that messages keep their order.
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    await createTable(pool);
    const close = async () => {
      while (pool.waitingCount > 0) await sleep(10); // end would drop what waits for a connection
      await pool.end();
    };
    return { adapter: createPostgresAdapter(pool, { errorHandler: (err) => process.stderr.write(`postgres: ${err}\n`) }), close };
  }
  if (backendOf[name] !== 'redis') throw new Error(`unknown adapter ${name}`);
  const pub = createClient({ url });
  if (name === 'redis-streams') {
    await pub.connect();
    return { adapter: createStreamsAdapter(pub, { blockTimeInMs: 200 }), close: () => pub.quit() };
  }
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  return {
    adapter: modes[name] ? createShardedAdapter(pub, sub, { subscriptionMode: modes[name] }) : createAdapter(pub, sub),
    close: () => Promise.allSettled([pub.quit(), sub.quit()]),
  };
}

/** Creates the table of attachments, which the official adapter leaves to the application. */
async function createTable(pool) {
  try {
    await pool.query('CREATE TABLE IF NOT EXISTS socket_io_attachments (id bigserial UNIQUE, created_at timestamptz DEFAULT now(), payload bytea)');
  } catch (err) {
    if (err.code !== '23505') throw err; // another node is doing it
  }
}
