// Writes PARITY.md: each item of items.json with the tests that prove it, from the results of the last runs (run.js).
//
//   node parity/generate.js [--out DIR]           DIR: where run.js has put the results, "out" by default
//   node parity/generate.js --check [--out DIR]   changes nothing; fails if an item is not proven, a run is missing, or PARITY.md is not what
//                                                 the results say
//
// An item is proven in a run if at least one test that names it passed there and none that names it failed. Tests that were
// skipped prove nothing. A test that names an item which does not exist is an error.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const document = path.join(root, '..', 'PARITY.md');

/** The runs that count: what npm test and npm run test:reference do. */
const runs = { go: ['default', 'no-epoll', 'tls', 'own-listener'], reference: ['default'] };

/**
 * Suites that need something which is not on every machine. What their tests show beside the others is not in the document, which has to be the same
 * wherever it is made.
 */
const isOptional = (suite) => suite.startsWith('browser');

/** How many tests of a file are named for an item. */
const NAMED = 3;

const { values: flags } = parseArgs({ options: { check: { type: 'boolean' }, out: { type: 'string', default: 'out' } } });
const groups = JSON.parse(readFileSync(new URL('items.json', import.meta.url)));
const problems = [];

/** Items by id: text, and the results of each run: tests by "file\0name" with pass or fail. */
const items = new Map();
for (const [letter, { notApplicable, items: texts }] of Object.entries(groups)) {
  for (const [id, text] of Object.entries(texts)) {
    if (id[0] !== letter || items.has(id)) throw new Error(`items.json: ${id} is in the wrong place`);
    items.set(id, { id, text, notApplicable, results: new Map() });
  }
}

/** Reads the results of one run into the items. */
function read(target, variant) {
  const run = `${target} ${variant}`;
  const file = path.resolve(root, flags.out, `${target}-${variant}.jsonl`);
  if (!existsSync(file)) return void problems.push(`there are no results of ${run}`);
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const broken = new Set(lines.filter((line) => line.name === line.file).map((line) => line.file));
  for (const name of broken) problems.push(`${run}: ${name} failed as a whole`);
  for (const { name, ids, file: suite, status } of lines) {
    if (isOptional(suite) || status === 'skip') continue;
    if (status === 'fail' && name !== suite) problems.push(`${run}: failed: ${suite}: ${name}`);
    for (const id of ids) {
      const item = items.get(id);
      if (!item) throw new Error(`${suite}: "${name}" names ${id}, which is not in items.json`);
      if (!item.results.has(run)) item.results.set(run, new Map());
      const tests = item.results.get(run);
      const key = `${suite}\0${name}`;
      const passed = status === 'pass' && !broken.has(suite);
      tests.set(key, passed && tests.get(key) !== false);
    }
  }
}
for (const [target, variants] of Object.entries(runs)) for (const variant of variants) read(target, variant);

/** Whether the item is proven in a run. */
const proven = (item, run) => {
  const tests = [...(item.results.get(run)?.values() ?? [])];
  return tests.length > 0 && tests.every(Boolean);
};

/** The variants of a target in which the item is proven. */
const where = (item, target) => runs[target].filter((variant) => proven(item, `${target} ${variant}`));

const complete = (item) => Object.keys(runs).every((target) => where(item, target).length === runs[target].length);

for (const item of items.values()) {
  if (item.notApplicable) continue;
  for (const target of Object.keys(runs)) {
    const missing = runs[target].filter((variant) => !where(item, target).includes(variant));
    if (missing.length) problems.push(`${item.id} is not proven on ${target} (${missing.join(', ')})`);
  }
}

/* ---------- the document ---------- */

/** Text of a table cell: nothing in it is markup but code. */
const cell = (text) =>
  text.replaceAll('\n', ' ').split(/(`[^`]*`)/).map((part, i) => (i % 2 ? part.replaceAll('|', '\\|') : part.replace(/[\\*_<|~[\]]/g, '\\$&'))).join('');

/** A name without the ids in front. */
const title = (name) => name.replace(/^([A-V]\d\d )+/, '').replace(/^: /, '');

/** Which tests prove the item: by file, the first ones by name. */
function tests(item) {
  const files = new Map();
  for (const [run, results] of item.results) {
    for (const [key, passed] of results) {
      if (!passed || !proven(item, run)) continue;
      const [file, name] = key.split('\0');
      if (!files.has(file)) files.set(file, new Set());
      files.get(file).add(title(name));
    }
  }
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([file, names]) => {
    const sorted = [...names].sort();
    const more = sorted.length > NAMED ? `; and ${sorted.length - NAMED} more` : '';
    return `\`${file.replace('.test.js', '')}\`: ${sorted.slice(0, NAMED).map(cell).join('; ')}${more}`;
  }).join('<br>');
}

function verdict(item, target) {
  const variants = where(item, target);
  if (!variants.length) return 'not proven';
  if (variants.length === runs[target].length) return 'yes';
  return variants.join(', ');
}

function section([letter, { title: name, notApplicable, items: texts }]) {
  const lines = [`## ${letter}. ${name}`, ''];
  if (notApplicable) lines.push(`Not applicable: ${notApplicable}.`, '');
  lines.push(notApplicable ? '| | Behaviour |' : '| | Behaviour | Go | Node | Tests |', notApplicable ? '|---|---|' : '|---|---|---|---|---|');
  for (const id of Object.keys(texts)) {
    const item = items.get(id);
    const cells = notApplicable ? [] : [verdict(item, 'go'), verdict(item, 'reference'), tests(item) || '–'];
    lines.push(`| ${[id, cell(item.text), ...cells].join(' | ')} |`);
  }
  return lines.join('\n');
}

function summary() {
  const lines = ['| | Group | Items | Proven |', '|---|---|---|---|'];
  let all = 0;
  let done = 0;
  for (const [letter, { title: name, notApplicable, items: texts }] of Object.entries(groups)) {
    const ids = Object.keys(texts);
    const count = ids.filter((id) => complete(items.get(id))).length;
    if (!notApplicable) {
      all += ids.length;
      done += count;
    }
    lines.push(`| ${letter} | ${cell(name)} | ${ids.length} | ${notApplicable ? 'not applicable' : count} |`);
  }
  lines.push(`| | applicable | ${all} | ${done} |`);
  return lines.join('\n');
}

const text = `<!-- Made by compat-tests/parity/generate.js from the results of the compatibility suite; not to be edited. -->

# Parity with the Node.js server

What a client can observe of a Socket.IO 4.8 server, item by item, and the tests that prove it. The same tests run on this server and on
the official one. An item counts as proven where at least one test that names it passed and none that names it failed;
"yes" is every variant of the run (\`compat-tests/README.md\`): ${Object.entries(runs).map(([t, v]) => `${t === 'go' ? 'Go' : 'Node'} in ${v.join(', ')}`).join('; ')}.
Differences that are kept on purpose are in \`docs/differences.md\`.

${summary()}

${Object.entries(groups).map(section).join('\n\n')}
`;

if (!flags.check) {
  writeFileSync(document, text);
} else if (!existsSync(document) || readFileSync(document, 'utf8') !== text) {
  problems.push('PARITY.md is not what the results say; make it with `npm run parity`');
}
const applicable = [...items.values()].filter((item) => !item.notApplicable);
console.log(`${applicable.filter(complete).length} of ${applicable.length} items are proven in every run`);
for (const problem of problems) console.error(problem);
if (flags.check && problems.length) process.exitCode = 1;
