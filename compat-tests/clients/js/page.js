// The page that runs the scenarios in a browser, as routes of an HTTP server. It loads the client as pages do, from the
// server that it is to talk to.
import { readFileSync } from 'node:fs';

const html = (bundle) => `<!doctype html>
<meta charset="utf-8">
<title>client</title>
<script src="${bundle}"></script>
<script type="module">
import { run } from './scenarios.js';
window.start = (setup) => run({ ...setup, client: io, version: '4.8' }, (result) => window.report(JSON.stringify(result)));
</script>
`;

/** Routes in the form of the fixture's config. server: the URL of the server if it is not the page's own. */
export function routes(parser, server = '') {
  const bundle = parser === 'msgpack' ? 'socket.io.msgpack.min.js' : 'socket.io.min.js';
  const scenarios = readFileSync(new URL('scenarios.js', import.meta.url), 'utf8');
  return {
    '/': { status: 200, headers: { 'Content-Type': 'text/html' }, body: html(`${server}/socket.io/${bundle}`) },
    '/scenarios.js': { status: 200, headers: { 'Content-Type': 'text/javascript; charset=utf-8' }, body: scenarios },
    '/favicon.ico': { status: 204, headers: {}, body: '' },
  };
}
