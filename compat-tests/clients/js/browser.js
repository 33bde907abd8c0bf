// The client in Chromium: node browser.js same-origin|cross-origin URL. Prints one JSON line per scenario (../README.md).
//
// In same-origin mode the page comes from the server itself (matrix.js put it there), in cross-origin mode from a server
// here, and sends credentials.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { chromium } from 'playwright-core';
import { routes } from './page.js';

const [how, url] = process.argv.slice(2);
const { env } = process;
const crossOrigin = how === 'cross-origin';

const browser = await chromium.launch({
  executablePath: env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  timeout: 180_000, // on a slow and busy machine it takes long to start
});
const page = await (await browser.newContext({ ignoreHTTPSErrors: env.CLIENT_CA !== '' })).newPage();
page.setDefaultTimeout(60_000);
page.on('pageerror', (err) => console.error(err));
await page.exposeFunction('report', (line) => console.log(line));

let address = url;
let server;
if (crossOrigin) {
  const answers = routes(env.CLIENT_PARSER, url);
  const serve = (req, res) => {
    const { status, headers, body } = answers[req.url] ?? { status: 404, headers: {}, body: '' };
    res.writeHead(status, headers).end(body);
  };
  // The scheme is that of the server: cookies tell http from https, though not ports.
  server = env.CLIENT_CA
    ? https.createServer({ cert: readFileSync(env.TARGET_TLS_CERT), key: readFileSync(env.TARGET_TLS_KEY) }, serve)
    : http.createServer(serve);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http${env.CLIENT_CA ? 's' : ''}://127.0.0.1:${server.address().port}`;
}
try {
  await page.goto(`${address}/`);
  await page.waitForFunction('window.start');
  await page.evaluate((setup) => window.start(setup), { url, recoveryURL: env.CLIENT_RECOVERY_URL, crossOrigin, only: env.SCENARIO });
} finally {
  await browser.close();
  server?.close();
}
