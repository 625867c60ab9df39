import type { ServicePromise } from './history.ts';

export type PromiseResult = 'kept' | 'broken' | 'unknown';

/** What was promised, measured, and by how much it was missed. */
export interface Kept {
  /** broken when any part is; else unknown when any part is; null: nothing was promised. */
  result: PromiseResult | null;
  rto?: {
    result: PromiseResult;
    promisedMs: number;
    measuredMs: number | null;
    atLeast: boolean;
    overMs: number;
  };
  lostWrites?: { result: PromiseResult; promised: number; measured: number | null; over: number };
}

/** What a drill measured, as far as promises are concerned. */
export interface Measured {
  /** Why nothing can be said, e.g. the fault left no evidence. A loss that was found stays found. */
  unknown: boolean;
  rtoMs: number | null;
  /** The service had not come back when the history ended. */
  atLeast: boolean;
  lost: number | null;
  /** What was found lost, also where not all could be read. */
  lostAtLeast: number;
}

/** Compares what was measured to the service's `promise`. A promise without proof is `unknown`, never kept. */
export function judgePromise(promise: ServicePromise | undefined, measured: Measured): Kept {
  const kept: Kept = { result: null };
  if (promise?.rtoMs !== undefined) {
    const { rtoMs, atLeast } = measured;
    const over = rtoMs === null ? 0 : Math.max(0, round(rtoMs - promise.rtoMs));
    const proven = rtoMs !== null && !atLeast && !measured.unknown;
    kept.rto = {
      result: over > 0 ? 'broken' : proven ? 'kept' : 'unknown',
      promisedMs: promise.rtoMs,
      measuredMs: rtoMs,
      atLeast,
      overMs: over,
    };
  }
  if (promise?.lostWrites !== undefined) {
    const { lost, lostAtLeast } = measured;
    const over = Math.max(0, lostAtLeast - promise.lostWrites);
    kept.lostWrites = {
      result: over > 0 ? 'broken' : lost !== null && !measured.unknown ? 'kept' : 'unknown',
      promised: promise.lostWrites,
      measured: lost,
      over,
    };
  }
  const parts = [kept.rto?.result, kept.lostWrites?.result].filter((part) => part !== undefined);
  if (parts.includes('broken')) kept.result = 'broken';
  else if (parts.includes('unknown')) kept.result = 'unknown';
  else if (parts.length > 0) kept.result = 'kept';
  return kept;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
