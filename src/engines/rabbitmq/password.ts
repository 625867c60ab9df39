import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** rabbit_password_hashing_sha256: base64 of a salt of four bytes and SHA-256 over salt and password (rabbitmq.com/passwords.html). */
export function passwordHash(password: string, salt: Buffer = randomBytes(4)): string {
  return Buffer.concat([salt, createHash('sha256').update(salt).update(password).digest()]).toString(
    'base64',
  );
}

/** Whether the hash, as RabbitMQ gives it out, is one of this password. */
export function matches(hash: string, password: string): boolean {
  const bytes = Buffer.from(hash, 'base64');
  const again = Buffer.from(passwordHash(password, bytes.subarray(0, 4)), 'base64');
  return bytes.length === again.length && timingSafeEqual(bytes, again);
}
