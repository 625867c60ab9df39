import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { authority } from './certificate.ts';

const made = () => authority('a secret', 'shop cart').issue('cart@d1', '10.1.0.11');

it('the same secret gives the same certificates, another secret others', () => {
  expect(made()).toEqual(made());
  expect(authority('another', 'shop cart').issue('cart@d1', '10.1.0.11')).not.toEqual(made());
});

it('a member is known by its address, its name and the authority, and by nothing else', () => {
  const certificate = new X509Certificate(made().certificate);
  const ca = new X509Certificate(authority('a secret', 'shop cart').certificate);
  expect(certificate.verify(ca.publicKey)).toBe(true);
  expect(certificate.checkIssued(ca)).toBe(true);
  expect(ca.ca).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.checkIP('10.1.0.11')).toBe('10.1.0.11');
  expect(certificate.checkIP('10.1.0.12')).toBeUndefined();
  expect(certificate.checkHost('cart.d1')).toBe('cart.d1');
  expect(
    certificate.verify(new X509Certificate(authority('another', 'shop cart').certificate).publicKey),
  ).toBe(false);
});
