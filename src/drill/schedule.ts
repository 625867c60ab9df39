import type { OperationName, Value } from './history.ts';
import { Random } from './random.ts';

/** What clients shall do, from a seed alone: no clock, no state of the service. */
export interface ScheduleOptions {
  seed: number;
  /** Operations a second, all clients together; 500 or more per group, so that a gap is known to a few milliseconds. */
  rate: number;
  /** How long; Infinity gives operations for as long as they are taken. */
  durationMs: number;
  /** Number of logical clients; operation n is not tied to n % clients but drawn. */
  clients: number;
  /** Shares by operation: { add: 8, has: 2 }. */
  mix: Partial<Record<OperationName, number>>;
  /** Keys of counters and registers, and how many websockets; default 5. */
  keys?: number;
}

export interface Scheduled {
  /** Microseconds after the start at which it is to be sent, whatever has happened to those before (open loop). */
  at: number;
  p: number;
  f: OperationName;
  k?: string;
  v?: Value;
}

/**
 * The operations of one drill, in order. Elements and register values are unique per model, counting up from 0
 * (registers from 1); `has` asks for one that has been scheduled before; `incr` adds 1, so that what is missing of a counter is a number of writes.
 */
export function* schedule(options: ScheduleOptions): Generator<Scheduled, void> {
  const random = new Random(options.seed);
  const shares = Object.entries(options.mix).filter(([, share]) => share > 0) as [OperationName, number][];
  const whole = shares.reduce((sum, [, share]) => sum + share, 0);
  const keys = options.keys ?? 5;
  const count = Math.floor((options.rate * options.durationMs) / 1000);
  const next = { add: 0, append: 0, enqueue: 0, register: 1 };
  const draw = (): OperationName => {
    let at = (random.uint32() / 2 ** 32) * whole;
    for (const [f, share] of shares) {
      at -= share;
      if (at < 0) return f;
    }
    return shares[shares.length - 1]![0];
  };
  for (let n = 0; n < count; n++) {
    const at = Math.floor((n * 1_000_000) / options.rate);
    const p = random.below(options.clients);
    let f = draw();
    if (f === 'has' && next.add === 0) f = 'add';
    switch (f) {
      case 'add':
      case 'append':
      case 'enqueue':
        yield { at, p, f, v: next[f]++ };
        break;
      case 'has':
        yield { at, p, f, v: random.below(next.add) };
        break;
      case 'incr':
        yield { at, p, f, k: `c${random.below(keys)}`, v: 1 };
        // Was once the amount: a seed gives the same operations as it always did.
        random.below(3);
        break;
      case 'count':
        yield { at, p, f, k: `c${random.below(keys)}` };
        break;
      case 'write':
        yield { at, p, f, k: `r${random.below(keys)}`, v: next.register++ };
        break;
      case 'cas':
        // What it expects is known only when it runs: the client puts the value it last read in place of null.
        yield { at, p, f, k: `r${random.below(keys)}`, v: [null, next.register++] };
        break;
      case 'read':
        yield { at, p, f, k: `r${random.below(keys)}` };
        break;
      case 'ping':
        yield { at, p, f, k: `w${random.below(keys)}` };
        break;
      default:
        yield { at, p, f };
    }
  }
}
