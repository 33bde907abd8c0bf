// A self-signed certificate for 127.0.0.1 and localhost, made afresh for a test run so that no key is kept anywhere.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

/** DER: one element from its tag and its contents. */
function der(tag, ...contents) {
  const body = Buffer.concat(contents);
  const n = body.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const SEQUENCE = 0x30;
const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'));
const utcTime = (date) => der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

/** Writes cert.pem and key.pem to a folder and returns their paths. */
export function makeCertificate(folder) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(SEQUENCE, oid('2a8648ce3d040302')); // ecdsa-with-SHA256
  const commonName = der(SEQUENCE, oid('550403'), der(0x0c, Buffer.from('compat-tests')));
  const name = der(SEQUENCE, der(0x31, commonName));
  const day = 24 * 3600 * 1000;
  const validity = der(SEQUENCE, utcTime(new Date(Date.now() - day)), utcTime(new Date(Date.now() + 30 * day)));
  const names = der(SEQUENCE, der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])));
  const extensions = der(
    SEQUENCE,
    der(SEQUENCE, oid('551d11'), der(0x04, names)), // subjectAltName
    der(SEQUENCE, oid('551d13'), der(0x01, Buffer.from([0xff])), der(0x04, der(SEQUENCE, der(0x01, Buffer.from([0xff]))))), // a CA
  );
  const serial = randomBytes(8);
  serial[0] = (serial[0] & 0x7f) | 0x01;
  const tbs = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', tbs, privateKey));
  const pem = der(SEQUENCE, tbs, algorithm, signature).toString('base64').replace(/.{1,64}/g, '$&\n');
  const paths = { cert: path.join(folder, 'cert.pem'), key: path.join(folder, 'key.pem') };
  writeFileSync(paths.cert, `-----BEGIN CERTIFICATE-----\n${pem}-----END CERTIFICATE-----\n`);
  writeFileSync(paths.key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return paths;
}
