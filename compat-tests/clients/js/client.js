// The client in Node: node client.js VERSION URL. Prints one JSON line per scenario (../README.md).
import { createRequire } from 'node:module';
import { run } from './scenarios.js';

const [version, url] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const client = require(`socket.io-client-${version}`);
const parser = process.env.CLIENT_PARSER === 'msgpack' ? require(`socket.io-msgpack-parser-${version < '3' ? 2 : 3}`) : undefined;

await run({ client, version, url, recoveryURL: process.env.CLIENT_RECOVERY_URL, parser, only: process.env.SCENARIO }, (result) => console.log(JSON.stringify(result)));
// Old clients leave timers behind.
process.exit(0);
