// The scenarios for the JavaScript clients, in Node and in a browser. Nothing here knows where it runs or which version of
// the client it drives; what differs between versions is in Peer.

/** How long anything may take, in ms. */
const SOON = 30_000;

// An ArrayBuffer in browsers: it is the only form that the MessagePack parser there takes for binary.
const bytes = (...values) => (typeof Buffer === 'undefined' ? new Uint8Array(values).buffer : Buffer.from(values));
const ascii = (text) => bytes(...[...text].map((c) => c.charCodeAt(0)));

/** A value as text, binary parts of whatever type as hex, so that values can be compared. */
function plain(v) {
  const convert = (v) => {
    if (v instanceof ArrayBuffer) v = new Uint8Array(v);
    if (ArrayBuffer.isView(v)) return { hex: Array.from(new Uint8Array(v.buffer, v.byteOffset, v.byteLength), (b) => b.toString(16).padStart(2, '0')).join('') };
    if (Array.isArray(v)) return v.map(convert);
    if (v === null || typeof v !== 'object') return v;
    return Object.fromEntries(Object.keys(v).sort().map((k) => [k, convert(v[k])]));
  };
  return JSON.stringify(convert(v));
}

function same(got, want, what = 'value') {
  const [g, w] = [plain(got), plain(want)];
  if (g !== w) throw new Error(`${what}: got ${g?.slice(0, 500)}, want ${w?.slice(0, 500)}`);
}

function within(what, promise, ms = SOON) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One socket of the client, its events as queues. */
class Peer {
  #queues = new Map();

  /** client: the client's module; version: "2.5"; options: those of its Manager, and nsp, auth, on (the peer whose connection is shared), to (another server). */
  constructor({ client, version, url, parser }, { nsp = '/', auth, on, to = url, ...options }) {
    this.old = version < '3';
    this.manager = on?.manager ?? new client.Manager(to, {
      path: '/socket.io', reconnection: false, autoConnect: false, ...(parser && { parser }),
      // Clients before 3 have no auth payload; they put it into the query.
      ...(this.old && auth && { query: auth }),
      ...options,
    });
    this.socket = this.manager.socket(nsp, this.old ? undefined : { auth });
    for (const event of ['echo', 'red', 'other', 'number', 'question', 'answer', 'you', 'because', 'disconnect', 'connect', this.refusalEvent]) this.queue(event);
    this.socket.open();
  }

  get refusalEvent() {
    return this.old ? 'error' : 'connect_error';
  }

  get engine() {
    return this.manager.engine;
  }

  queue(event) {
    const queue = { items: [], waiting: [] };
    this.#queues.set(event, queue);
    this.socket.on(event, (...args) => {
      // Questions are answered as the last argument says, which is the acknowledgement.
      if (event === 'question') return args.pop()(...args);
      const waiter = queue.waiting.shift();
      if (waiter) waiter(args);
      else queue.items.push(args);
    });
  }

  /** The arguments of the next event of this name. */
  next(event) {
    const queue = this.#queues.get(event);
    if (queue.items.length) return Promise.resolve(queue.items.shift());
    return within(`event ${event}`, new Promise((resolve) => queue.waiting.push(resolve)));
  }

  /** How many events of this name have come and not been taken. */
  count(event) {
    return this.#queues.get(event).items.length;
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** The arguments that the server acknowledges with. */
  call(...args) {
    return within(`acknowledgement of ${args[0]}`, new Promise((resolve) => this.socket.emit(...args, (...ack) => resolve(ack))));
  }

  async connected() {
    await Promise.race([
      this.next('connect'),
      this.next(this.refusalEvent).then(([err]) => { throw new Error(`refused: ${err?.message ?? plain(err)}`); }),
    ]);
    return this;
  }

  async whoAmI() {
    this.emit('who-am-i');
    return (await this.next('you'))[0];
  }

  close() {
    this.socket.disconnect();
    if (this.manager.engine) this.manager.engine.close();
  }
}

const polling = { transports: ['polling'] };
const websocket = { transports: ['websocket'] };

const events = [
  [],
  [1, -1.5, 'é 文字 😀', true, null, [1, [2]], { a: { b: [] }, '': 'x' }],
  ['x'.repeat(100_000)],
];
const binary = [
  [bytes(0, 1, 2, 255)],
  [{ a: [ascii('one')], b: { c: ascii('two') } }, 'text', bytes()],
  [bytes(...Array.from({ length: 50_000 }, (_, i) => i % 256))],
];

/** Both transports on their own: [suffix of the name, options]. */
const both = [['polling', polling], ['websocket', websocket]];

/**
 * MessagePack of a client before 3: its parser marks binary by packet types, adds a null to packets without data, and throws at
 * errors that are objects, none of which the parser of servers after 2 knows. Between those two only a part works.
 */
const oldMessagePack = ({ version, parser }) => version < '3' && parser !== undefined;
const notOldMessagePack = (scenario) => (open, setup) =>
  oldMessagePack(setup) ? 'socket.io-msgpack-parser 2 and 3 differ in binary, packets without data, and errors' : scenario(open, setup);
const payloads = (setup) => (oldMessagePack(setup) ? events : [...events, ...binary]);

const scenarios = [
  ...both.map(([transport, options]) => [`connect over ${transport}`, async (open) => {
    const peer = await open(options).connected();
    same((await peer.whoAmI()).transport, transport, 'transport');
    same(await peer.call('echo-ack', 1), [1]);
  }]),

  ['upgrade', async (open) => {
    const peer = await open({ transports: ['polling', 'websocket'] }).connected();
    const upgraded = within('upgrade', new Promise((resolve) => {
      if (peer.engine.transport.name === 'websocket') resolve();
      else peer.engine.on('upgrade', resolve);
    }));
    let sent = 0;
    const timer = setInterval(() => peer.emit('echo', sent++), 1);
    try {
      await upgraded;
    } finally {
      clearInterval(timer);
    }
    while (sent < 20) peer.emit('echo', sent++);
    for (let i = 0; i < sent; i++) same(await peer.next('echo'), [i]);
    same((await peer.whoAmI()).transport, 'websocket', 'transport');
  }],

  ...both.map(([transport, options]) => [`auth over ${transport}`, async (open, { version }) => {
    // Client 1 takes what it polls for UTF-8 that has been encoded twice, which servers after 2 do not do.
    const user = version < '2' && transport === 'polling' ? 'e&=' : 'é&=';
    const peer = await open({ ...options, auth: { token: 'secret', user } }).connected();
    const you = await peer.whoAmI();
    const given = peer.old ? you.query : you.auth;
    same([given.token, given.user], ['secret', user]);
    same(you.id, peer.socket.id, 'id');
    same(you.protocol, peer.old ? 3 : 4, 'protocol');
  }]),

  ['refusal', async (open, setup) => {
    // Clients before 3 get either the data or the message.
    const plain = open({ auth: { token: 'plain' } });
    const [text] = await plain.next(plain.refusalEvent);
    if (plain.old) same(text, 'no token');
    else same([text.message, text.data ?? null], ['no token', null]);
    same(plain.socket.connected, false, 'connected');
    plain.close();

    if (!oldMessagePack(setup)) {
      const data = { code: 'E_TOKEN', token: 'wrong' };
      const peer = open({ auth: { token: 'wrong' } });
      const [err] = await peer.next(peer.refusalEvent);
      if (peer.old) same(err, data);
      else same([err.message, err.data], ['wrong token', data]);
      peer.close();
    }
    await open({ auth: { token: 'right' } }).connected();
  }],

  ...both.flatMap(([transport, options]) => [
    [`events over ${transport}`, async (open) => {
      const peer = await open(options).connected();
      for (const args of events) {
        peer.emit('echo', ...args);
        same(await peer.next('echo'), args);
      }
      for (let i = 0; i < 100; i++) peer.emit('echo', i);
      for (let i = 0; i < 100; i++) same(await peer.next('echo'), [i]);
      peer.emit('burst');
      for (let i = 0; i < 200; i++) same(await peer.next('number'), [i]);
    }],

    [`binary over ${transport}`, notOldMessagePack(async (open) => {
      const peer = await open(options).connected();
      for (const args of binary) {
        peer.emit('echo', ...args);
        same(await peer.next('echo'), args);
      }
    })],

    [`acknowledgements by the server over ${transport}`, async (open, setup) => {
      const peer = await open(options).connected();
      for (const args of payloads(setup)) same(await peer.call('echo-ack', ...args), args);
      same(await Promise.all([1, 2, 3].map((i) => peer.call('echo-ack', i))), [[1], [2], [3]]);
    }],

    [`acknowledgements by the client over ${transport}`, async (open, setup) => {
      const peer = await open(options).connected();
      for (const args of payloads(setup)) {
        peer.emit('ask', ...args);
        same(await peer.next('answer'), args);
      }
    }],
  ]),

  ['rooms', async (open, setup) => {
    const [a, b, c] = await Promise.all([open(websocket).connected(), open(websocket).connected(), open(polling).connected()]);
    await a.call('join');
    await b.call('join');
    const one = oldMessagePack(setup) ? ['one'] : ['one', bytes(1, 2)];
    c.emit('to-red', ...one);
    for (const peer of [a, b]) same(await peer.next('red'), one);
    a.emit('to-others-in-red', 'two');
    same(await b.next('red'), ['two']);
    await b.call('leave');
    c.emit('to-red', 'three');
    same(await a.next('red'), ['three']);
    c.emit('to-others', 'four');
    for (const peer of [a, b]) same(await peer.next('other'), ['four']);
    // What has been delivered wrongly has come before these acknowledgements.
    await Promise.all([a, b, c].map((peer) => peer.call('echo-ack')));
    same([a, b, c].map((peer) => [peer.count('red'), peer.count('other')]), [[0, 0], [0, 0], [0, 0]], 'events that nobody expects');
  }],

  ['namespaces', notOldMessagePack(async (open) => {
    const root = await open().connected();
    const custom = await open({ nsp: '/custom', on: root }).connected();
    same(await custom.call('echo-ack', 'custom'), ['custom']);
    same(await root.call('echo-ack', 'root'), ['root']);
    await custom.call('join');
    root.emit('to-red', 'not for /custom');
    custom.emit('to-red', 'for /custom');
    same(await custom.next('red'), ['for /custom']);
    const nobody = open({ nsp: '/nobody', on: root });
    const [err] = await nobody.next(nobody.refusalEvent);
    same(err.message, 'Invalid namespace');
    custom.socket.disconnect();
    same(await root.call('echo-ack', 'still'), ['still']);
  })],

  ['disconnect by the client', notOldMessagePack(async (open) => {
    const [peer, witness] = await Promise.all([open().connected(), open().connected()]);
    same(await peer.call('echo-ack', 'here'), ['here']);
    const { id } = peer.socket;
    peer.socket.disconnect();
    same((await peer.next('disconnect'))[0], 'io client disconnect');
    witness.emit('why-did', id);
    same(await witness.next('because'), ['client namespace disconnect']);
  })],

  ['disconnect by the server', async (open) => {
    const peer = await open().connected();
    peer.emit('kick');
    same((await peer.next('disconnect'))[0], 'io server disconnect');
    const other = await open(websocket).connected();
    other.emit('kick-connection');
    same((await other.next('disconnect'))[0], 'io server disconnect');
  }],

  ...both.map(([transport, options]) => [`reconnect over ${transport} after a restart`, async (open) => {
    const peer = await open({ ...options, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 }).connected();
    const { id } = peer.socket;
    peer.emit('restart');
    await peer.next('disconnect');
    peer.emit('echo', 'kept meanwhile');
    await peer.next('connect');
    same(await peer.next('echo'), ['kept meanwhile']);
    if (peer.socket.id === id) throw new Error('the id is still the same');
    same(await peer.call('echo-ack', 1), [1]);
  }]),

  ...both.map(([transport, options]) => [`recovery over ${transport}`, async (open, { recoveryURL: to }) => {
    if (!to) return 'clients before 4.6 know no recovery';
    const [peer, other] = await Promise.all([open({ ...options, to }).connected(), open({ ...options, to }).connected()]);
    // The last argument of an event is the offset.
    const red = async () => (await peer.next('red')).slice(0, -1);
    await peer.call('join');
    other.emit('to-red', 'before');
    same(await red(), ['before']);
    const { id } = peer.socket;
    peer.engine.close();
    await peer.next('disconnect');
    other.emit('why-did', id);
    same((await other.next('because')).slice(0, -1), ['transport close']);
    for (let i = 0; i < 3; i++) other.emit('to-red', i, bytes(i));
    await other.call('echo-ack');
    peer.socket.connect();
    await peer.next('connect');
    same([peer.socket.recovered, peer.socket.id], [true, id]);
    for (let i = 0; i < 3; i++) same(await red(), [i, bytes(i)]);
    same((await peer.whoAmI()).recovered, true, 'recovered');
    other.emit('to-red', 'after');
    same(await red(), ['after']);
  }]),
];

const crossOriginScenarios = both.map(([transport, options]) => [`credentials over ${transport}`, async (open) => {
  // The first answer over polling sets the cookie, which every later request has to bring.
  await open({ ...polling, withCredentials: true }).connected();
  const peer = await open({ ...options, withCredentials: true }).connected();
  const { cookie, origin } = await peer.whoAmI();
  if (!/(^|; )io=\S{20}/.test(cookie)) throw new Error(`the cookie is ${JSON.stringify(cookie)}`);
  if (typeof location !== 'undefined') same(origin, location.origin, 'origin');
  same(await peer.call('echo-ack', 1), [1]);
}]);

/**
 * Runs the scenarios one after the other and reports each: {name, ok} or {name, ok: false, error} or {name, skipped}.
 * setup: {client, version, url, recoveryURL, parser, crossOrigin, only}; recoveryURL is that of a server with recovery.
 */
export async function run(setup, report) {
  for (const [name, scenario] of [...scenarios, ...(setup.crossOrigin ? crossOriginScenarios : [])]) {
    if (setup.only && !name.includes(setup.only)) continue;
    const peers = [];
    const open = (options = {}) => {
      const peer = new Peer(setup, setup.crossOrigin ? { withCredentials: true, ...options } : options);
      peers.push(peer);
      return peer;
    };
    try {
      const skipped = await within(name, scenario(open, setup), 3 * SOON);
      report(skipped ? { name, skipped } : { name, ok: true });
    } catch (err) {
      report({ name, ok: false, error: err.stack?.split('\n').slice(0, 4).join('\n') ?? String(err) });
    }
    for (const peer of peers) peer.close();
  }
}
