// Runs the client matrix: node run.js [--target go|reference] [--variant NAME…] [--client NAME…] [--scenario NAME]
//
// Every client program (README.md) runs the scenarios against an app of its own of the fixture program; the outcome is one
// table per variant. --client selects the clients whose name contains NAME. The exit status is 0 if nothing failed.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeCertificate } from '../lib/cert.js';

/** The same matrix on the server as it can be started: name → environment (../lib/target.js). */
const variants = {
  default: () => ({}),
  'no-epoll': () => ({ TARGET_FLAGS: '-no-epoll' }),
  tls: () => {
    const { cert, key } = makeCertificate(temp);
    return { TARGET_TLS_CERT: cert, TARGET_TLS_KEY: key };
  },
};

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'go' },
    variant: { type: 'string', multiple: true, default: ['default'] },
    client: { type: 'string', multiple: true, default: [''] },
    scenario: { type: 'string', default: '' },
  },
});
if (!values.variant.every((name) => Object.hasOwn(variants, name))) {
  console.error(`no such variant; variants are ${Object.keys(variants).join(', ')}`);
  process.exit(2);
}

const temp = mkdtempSync(path.join(os.tmpdir(), 'clients-'));
process.on('exit', () => rmSync(temp, { recursive: true, force: true }));
const common = { ...process.env, TARGET: values.target, SCENARIO: values.scenario, CLIENTS: values.client.join(',') };
if (values.target === 'go') {
  const { goBinary } = await import('../lib/target.js');
  common.GO_FIXTURE = goBinary('fixture', temp);
}

const failed = [];
for (const variant of values.variant) {
  console.log(`\n# clients of every kind: ${values.target}, ${variant}`);
  const matrix = fileURLToPath(new URL('matrix.js', import.meta.url));
  const child = spawn(process.execPath, [matrix], { env: { ...common, ...variants[variant]() }, stdio: 'inherit' });
  if ((await new Promise((resolve) => child.on('exit', resolve))) !== 0) failed.push(variant);
}
if (failed.length) console.error(`\nclient matrix failed on ${values.target}: ${failed.join(', ')}`);
process.exitCode = failed.length ? 1 : 0;
