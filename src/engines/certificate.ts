import { createHash, createPrivateKey, createPublicKey, hkdfSync, type KeyObject, sign } from 'node:crypto';
import { bits, explicit, implicit, integer, octets, oid, sequence, set, text, time, yes } from './der.ts';

/** PEM texts of a certificate and its private key. */
export interface Issued {
  certificate: string;
  key: string;
}

/**
 * A certificate authority of one service and what it issues, made of one secret by arithmetic alone: the same secret gives the
 * same bytes each time, so that rendering a member stays a function of values and a second `up` finds nothing changed. That takes
 * Ed25519, whose signatures have no random part (RFC 8032), and dates that are fixed. Certificates: RFC 5280 with RFC 8410.
 */
export function authority(
  secret: string,
  name: string,
): { certificate: string; issue(member: string, address: string): Issued } {
  const key = keyOf(secret, 'authority');
  const subject = `${name} authority`;
  const ca = certificate(subject, subject, key, key, [
    extension('2.5.29.19', true, sequence(yes())),
    extension('2.5.29.15', true, bitString(0x06, 1)),
  ]);
  return {
    certificate: ca,
    issue(member, address) {
      const own = keyOf(secret, member);
      const san = sequence(
        implicit(7, addressBytes(address)),
        implicit(2, Buffer.from(member.replaceAll('@', '.'), 'ascii')),
      );
      const extensions = [
        extension('2.5.29.17', false, san),
        extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))),
      ];
      return {
        certificate: certificate(member, subject, own, key, extensions),
        key: own.export({ type: 'pkcs8', format: 'pem' }) as string,
      };
    },
  };
}

function keyOf(secret: string, purpose: string): KeyObject {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', `phalanx tls ${purpose}`, 32));
  // PKCS #8 of an Ed25519 key is this prefix and the seed (RFC 8410, section 7).
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

function certificate(
  subject: string,
  issuer: string,
  key: KeyObject,
  signer: KeyObject,
  extensions: Buffer[],
): string {
  const ed25519 = sequence(oid('1.3.101.112'));
  const named = (name: string): Buffer => sequence(set(sequence(oid('2.5.4.3'), text(name))));
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const serial = createHash('sha256').update(publicKey).update(subject).digest().subarray(0, 16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ed25519,
    named(issuer),
    sequence(time('200101000000Z'), time('20991231235959Z')),
    named(subject),
    publicKey,
    explicit(3, sequence(...extensions)),
  );
  const der = sequence(body, ed25519, bits(sign(null, body, signer)));
  const lines = der.toString('base64').match(/.{1,64}/g)!;
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [yes()] : []), octets(value));

/** A bit string of one byte, of which the last `unused` bits are not there. */
const bitString = (byte: number, unused: number): Buffer => Buffer.from([0x03, 0x02, unused, byte]);

function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
