// A reporter for Node's test runner that writes one JSON line per test, from which PARITY.md is made:
// {"name", "ids", "file", "status": "pass" | "fail" | "skip", "reason", "ms"}. A file that fails beside its tests, because a
// server under test did not end as it should, has a line with its own name.
import path from 'node:path';

/** The parity ids that a test name begins with: "G10 T04 two polls at once" proves G10 and T04. */
export function parityIDs(name) {
  const ids = [];
  for (const word of name.split(' ')) {
    if (!/^[A-V]\d\d$/.test(word)) break;
    ids.push(word);
  }
  return ids;
}

export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details?.type === 'suite') continue;
    if (data.nesting === 0 && data.name.endsWith('.js')) {
      const file = path.basename(data.name);
      const alone = type === 'test:fail' && data.details.error?.failureType !== 'subtestsFailed';
      if (alone) yield `${JSON.stringify({ name: file, ids: [], file, status: 'fail', ms: Math.round(data.details.duration_ms) })}\n`;
      continue;
    }
    const status = type === 'test:fail' ? 'fail' : data.skip !== undefined || data.todo !== undefined ? 'skip' : 'pass';
    const reason = typeof data.skip === 'string' ? data.skip : undefined;
    const file = data.file && path.basename(data.file);
    yield `${JSON.stringify({ name: data.name, ids: parityIDs(data.name), file, status, reason, ms: Math.round(data.details.duration_ms) })}\n`;
  }
}
