// Runs the suites against one target: node run.js --target go|reference [--variant NAME…] [--only PATTERN] [--out DIR] [FILE…]
//
// A FILE selects the files of suites/ whose name contains it; PATTERN selects tests by name, e.g. "G1\d". Without
// --variant the Go server is run in every variant and the reference in the default one. Results go to out/, or to the folder
// that --out names, as JSON lines, one file per target and variant (lib/reporter.js).
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeCertificate } from './lib/cert.js';

/** The same suites on the server as it can be started: name → environment (lib/target.js). */
const variants = {
  default: () => ({}),
  'no-epoll': () => ({ TARGET_FLAGS: '-no-epoll' }),
  tls: () => {
    const { cert, key } = makeCertificate(temp);
    return { TARGET_TLS_CERT: cert, TARGET_TLS_KEY: key, NODE_EXTRA_CA_CERTS: cert };
  },
  'own-listener': () => ({ TARGET_FLAGS: '-own-listener' }),
};

const root = fileURLToPath(new URL('.', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    target: { type: 'string', default: 'go' },
    variant: { type: 'string', multiple: true },
    only: { type: 'string' },
    out: { type: 'string', default: 'out' },
  },
});
const chosen = values.variant ?? (values.target === 'go' ? Object.keys(variants) : ['default']);
const files = readdirSync(path.join(root, 'suites'))
  .filter((name) => name.endsWith('.test.js') && (!positionals.length || positionals.some((p) => name.includes(p))))
  .map((name) => path.join('suites', name));
if (!files.length || !chosen.every((name) => Object.hasOwn(variants, name))) {
  console.error(`no such suite or variant; variants are ${Object.keys(variants).join(', ')}`);
  process.exit(2);
}

const temp = mkdtempSync(path.join(os.tmpdir(), 'compat-'));
process.on('exit', () => rmSync(temp, { recursive: true, force: true }));
const common = { ...process.env, TARGET: values.target };
if (values.target === 'go') {
  // Built once here, so that the test files, which are processes of their own, do not each build them.
  const { goBinary } = await import('./lib/target.js');
  common.GO_SERVER = goBinary('server', temp);
  common.GO_FIXTURE = goBinary('fixture', temp);
}

/** Runs the files in one variant and returns the exit status. */
function run(variant) {
  mkdirSync(path.resolve(root, values.out), { recursive: true });
  const args = [
    '--test', '--test-concurrency=2', '--test-timeout=600000', // of a test, and of a file
    '--test-reporter=spec', '--test-reporter-destination=stdout',
    '--test-reporter=./lib/reporter.js', `--test-reporter-destination=${path.join(values.out, `${values.target}-${variant}.jsonl`)}`,
    ...(values.only ? [`--test-name-pattern=${values.only}`] : []),
    ...files,
  ];
  const child = spawn(process.execPath, args, { cwd: root, env: { ...common, ...variants[variant]() }, stdio: 'inherit' });
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
}

const failed = [];
for (const variant of chosen) {
  console.log(`\n# ${values.target}, ${variant}`);
  if ((await run(variant)) !== 0) failed.push(variant);
}
if (failed.length) console.error(`\nfailed on ${values.target}: ${failed.join(', ')}`);
process.exitCode = failed.length ? 1 : 0;
