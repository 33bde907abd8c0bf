// Engine.IO payloads and Socket.IO packets as bytes, for tests that speak the protocols themselves.

/** Separator of packets in a long-polling payload of Engine.IO v4. */
export const RS = '\x1e';

/** Engine.IO packets as one v4 payload: text as it is, bytes as base64 messages. */
export const encodePayload = (packets) =>
  packets.map((p) => (typeof p === 'string' ? p : `b${p.toString('base64')}`)).join(RS);

/** The packets of a v4 payload: text as it is, binary messages as bytes. */
export const decodePayload = (text) =>
  text.split(RS).map((p) => (p[0] === 'b' ? Buffer.from(p.slice(1), 'base64') : p));

/** A Socket.IO CONNECT packet inside an Engine.IO message. */
export const connectPacket = (nsp = '/', auth) =>
  `40${nsp === '/' ? '' : `${nsp},`}${auth === undefined ? '' : JSON.stringify(auth)}`;

/** The JSON behind the header of an Engine.IO message such as `42/nsp,7["a"]`: {type, nsp, id, data, attachments}. */
export function parsePacket(text) {
  const m = /^4(\d)(?:(\d+)-)?(?:(\/[^,]*),?)?(\d+)?([^]*)$/.exec(text);
  if (!m) throw new Error(`not a Socket.IO packet: ${text}`);
  const [, type, attachments, nsp = '/', id, json] = m;
  return {
    type: Number(type),
    nsp,
    attachments: Number(attachments ?? 0),
    id: id === undefined ? undefined : Number(id),
    data: json === '' ? undefined : JSON.parse(json),
  };
}
