// Debian's Chromium, driven through playwright-core, and a web server for the pages of browser/: an origin of its own, as the
// server under test is another one.
import { accessSync, constants, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import nodeTest, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { createApp } from './fixture.js';
import { isTLS } from './target.js';
import { SOON } from './wait.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Why there is no browser, or undefined. */
const missing = (() => {
  try {
    accessSync(executablePath, constants.X_OK);
    return undefined;
  } catch {
    return `no Chromium at ${executablePath}: install the Debian package chromium, or name another one in CHROMIUM`;
  }
})();

const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];

/** The behaviour that apps have unless a test says otherwise. */
export const echo = {
  on: {
    ask: [{ op: 'ack', args: [{ $args: true }] }],
    message: [{ op: 'emit', args: ['back', { $args: true }] }],
  },
};

/** Serves browser/page.html on a port of its own, over TLS if the servers under test do. Returns {origin, close}. */
async function servePages() {
  const page = readFileSync(fileURLToPath(new URL('../browser/page.html', import.meta.url)));
  const handler = (req, res) => {
    const status = req.url === '/' ? 200 : 404;
    res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(status === 200 ? page : '');
  };
  const { TARGET_TLS_CERT: cert, TARGET_TLS_KEY: key } = process.env;
  const server = isTLS
    ? https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, handler)
    : http.createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http${isTLS ? 's' : ''}://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A test that needs the browser. Without one it is reported as skipped, with the reason; in CI it fails with it. */
export function test(name, body) {
  if (!missing) return nodeTest(name, body);
  if (process.env.CI !== 'true') return nodeTest(name, { skip: missing }, body);
  return nodeTest(name, () => {
    throw new Error(missing);
  });
}

/** For the body of a describe: its tests share a browser, each with pages of its own. */
export function usePages() {
  let browser;
  let pages;
  before(async () => {
    if (missing) return;
    pages = await servePages();
    browser = await chromium.launch({ executablePath, headless: true, args, timeout: 180_000 });
  });
  after(async () => {
    await browser?.close();
    pages?.close();
  });

  /** A page with cookies of its own, closed at the end of test t; what it writes to its console is in page.messages. */
  const openPage = async (t) => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true }); // the certificate is made for the run
    t.after(() => context.close());
    const page = await context.newPage();
    page.messages = [];
    page.on('console', (message) => page.messages.push(message.text()));
    page.on('pageerror', (err) => page.messages.push(String(err)));
    page.setDefaultTimeout(SOON);
    await page.goto(pages.origin);
    return page;
  };

  /**
   * An app that pages may use, and a page. connect(options) loads the bundle from the app and connects the page to it, and
   * returns its {id, transport}.
   */
  const start = async (t, { options, namespaces = { '/': echo }, bundle = 'socket.io.min.js', ...config } = {}) => {
    const cors = { origin: pages.origin, credentials: true };
    const app = await createApp(t, { namespaces, options: { cors, ...options }, ...config });
    const page = await openPage(t);
    const connect = (more = {}) =>
      page.evaluate(([url, from, opts]) => connect(`${url}/socket.io/${from}`, url, opts), [app.url, bundle, more]).catch((err) => {
        throw new Error(`${err.message}\n${page.messages.join('\n')}`);
      });
    return { app, page, connect };
  };

  return { openPage, start };
}
