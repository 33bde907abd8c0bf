// HTTP requests with everything a test may want to see or to spoil.
import http from 'node:http';
import https from 'node:https';
import { isTLS } from './target.js';
import { SOON, within } from './wait.js';

const client = isTLS ? https : http;

/** A keep-alive agent for the servers under test. */
export const newAgent = (options = {}) => new client.Agent({ keepAlive: true, ...options });

/**
 * Sends one request. options: {port, agent, method, path, headers, body, timeout}; body is text, bytes, or a function
 * that gets the ClientRequest and sends (or does not send) the body itself.
 * Returns a promise of {status, headers, rawHeaders, body, text, json}; it has abort(), which cuts the connection, and
 * `sent`, a promise that resolves when the request has been handed to the kernel.
 */
export function request({ port, agent, method = 'GET', path, headers = {}, body, timeout = SOON }) {
  const req = client.request({ host: '127.0.0.1', port, agent, method, path, headers });
  const sent = new Promise((resolve) => req.once('finish', resolve));
  const reply = new Promise((resolve, reject) => {
    req.on('error', reject);
    req.on('response', async (res) => {
      const chunks = [];
      try {
        for await (const chunk of res) chunks.push(chunk);
      } catch (err) {
        return reject(err);
      }
      return resolve(new Response(res, Buffer.concat(chunks)));
    });
    // Without this listener Node would destroy the connection of an unexpected 101 silently.
    req.on('upgrade', (res, socket) => {
      socket.destroy();
      resolve(new Response(res, Buffer.alloc(0)));
    });
  });
  if (typeof body === 'function') body(req);
  else if (body !== undefined) req.end(body);
  else req.end();
  const promise = within(timeout, `${method} ${path}`, reply);
  promise.catch(() => {}); // a test may look at the outcome later, or not at all
  return Object.assign(promise, { abort: () => req.destroy(), sent, req });
}

class Response {
  constructor(res, body) {
    this.status = res.statusCode;
    this.headers = res.headers;
    this.rawHeaders = res.rawHeaders;
    this.body = body;
  }

  get text() {
    return this.body.toString();
  }

  get json() {
    return JSON.parse(this.text);
  }
}
