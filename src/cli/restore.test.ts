import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type RestoreOptions, StepFailed, StepHeld } from '../engines/engine.ts';
import { restored } from './restore.ts';

const folder = mkdtempSync(join(tmpdir(), 'phalanx-restore-'));
const record = join(folder, 'restore-cart');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => rmSync(record, { force: true }));

const options = { from: '/backups/one', foreign: false, say: () => {} };
const done = { keys: 1, expired: 0, taken: '2026-11-23T18:00:12.345Z' };
const refuse = async (): Promise<never> => {
  throw new StepHeld('it is not empty');
};
const breakOff = async ({ begin }: RestoreOptions): Promise<never> => {
  begin('seal');
  throw new StepFailed('cart@d1: connection lost');
};

describe('a restore that failed says what it left behind', () => {
  it('nothing, where it had not begun', async () => {
    await expect(restored(refuse, 'cart', record, options)).rejects.toThrow(
      'nothing of cart was changed: it is not empty',
    );
  });

  it('a part, and the same one goes on from there', async () => {
    const unended = 'the restore of cart is not ended: cart@d1: connection lost';
    await expect(restored(breakOff, 'cart', record, options)).rejects.toThrow(unended);
    await expect(restored(breakOff, 'cart', record, options)).rejects.toThrow(unended);
    await expect(restored(refuse, 'cart', record, options)).rejects.toThrow(
      'the restore of cart is not ended',
    );
    const seen = await restored(
      async ({ unfinished }) => ({ ...done, taken: unfinished! }),
      'cart',
      record,
      options,
    );
    expect(seen.taken).toBe('seal');
    expect(existsSync(record)).toBe(false);
  });
});
