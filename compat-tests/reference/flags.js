// Go-style command line flags, so that the Node programs take the very same arguments as their Go twins.

/**
 * Parses `-name value`, `-name=value` and `--name…`. spec maps names to [type, default]; types are "string", "int",
 * "bool" and "duration" (Go syntax, the result is in milliseconds). Unknown flags end the process with status 2, as
 * package flag does.
 */
export function parseFlags(spec, argv = process.argv.slice(2)) {
  const out = {};
  for (const [name, [, def]] of Object.entries(spec)) out[name] = def;
  for (let i = 0; i < argv.length; i++) {
    const m = /^--?([^=]+)(?:=(.*))?$/s.exec(argv[i]);
    if (!m || !Object.hasOwn(spec, m[1])) fail(`flag provided but not defined: ${argv[i]}`);
    const [, name, inline] = m;
    const [type] = spec[name];
    if (type === 'bool') {
      out[name] = inline === undefined ? true : inline === 'true' || inline === '1';
      continue;
    }
    const text = inline ?? argv[++i];
    if (text === undefined) fail(`flag needs an argument: -${name}`);
    if (type === 'int') out[name] = Number(text);
    else if (type === 'duration') out[name] = parseDuration(text);
    else out[name] = text;
    if (Number.isNaN(out[name])) fail(`invalid value "${text}" for flag -${name}`);
  }
  return out;
}

const units = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };

/** Milliseconds in a Go duration such as "25s", "300ms" or "1m30s"; NaN if it is none. */
export function parseDuration(text) {
  if (text === '0') return 0;
  const part = /(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)/gy;
  let total = 0;
  let end = 0;
  for (let m; (m = part.exec(text)); end = part.lastIndex) total += Number(m[1]) * units[m[2]];
  return end === text.length && end > 0 ? total : NaN;
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
