// An emitter of Node.js that the tests control. It is the twin of emit/main.go with the official emitters, and takes the same
// lines on its standard input.
import readline from 'node:readline';
import { Emitter as PostgresEmitter } from '@socket.io/postgres-emitter';
import { Emitter as RedisEmitter } from '@socket.io/redis-emitter';
import pg from 'pg';
import { createClient } from 'redis';
import { parseFlags } from '../reference/flags.js';

const flags = parseFlags({ adapter: ['string', 'redis'], backend: ['string', 'redis://127.0.0.1:6379'] });

const open = {
  async redis() {
    const client = createClient({ url: flags.backend });
    await client.connect();
    return { emitter: new RedisEmitter(client), close: () => client.quit() };
  },
  async postgres() {
    const pool = new pg.Pool({ connectionString: flags.backend, max: 1 }); // so that messages keep their order
    return { emitter: new PostgresEmitter(pool), close: () => pool.end() };
  },
};

const { emitter, close } = await open[flags.adapter]();
const lines = readline.createInterface({ input: process.stdin });
console.log('ready');
lines.on('line', (line) => {
  try {
    perform(JSON.parse(line, (key, value) => (typeof value?.$bin === 'string' ? Buffer.from(value.$bin, 'base64') : value)));
    console.log('done');
  } catch (err) {
    console.log('failed', err.message);
  }
});
lines.on('close', close);

function perform({ op, of, rooms = [], except = [], to = [], volatile, compress, event, args = [], close: closeConn = false }) {
  const root = of ? emitter.of(of) : emitter;
  if (op === 'sse') return root.serverSideEmit(event, ...args);
  let target = root.to(rooms).except(except);
  if (volatile) target = target.volatile;
  if (compress !== undefined) target = target.compress(compress);
  switch (op) {
    case 'emit':
      return target.emit(event, ...args);
    case 'join':
      return target.socketsJoin(to);
    case 'leave':
      return target.socketsLeave(to);
    case 'disconnect':
      return target.disconnectSockets(closeConn);
  }
  throw new Error(`unknown operation ${op}`);
}
