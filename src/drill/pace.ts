import { setTimeout as sleep } from 'node:timers/promises';
import type { Load } from './load.ts';
import type { Recorder } from './recorder.ts';
import type { World } from './run.ts';

/** A load that does not come to its pace within this is struck as it is: milliseconds. */
const patienceMs = 60_000;
/** Where the service keeps up, no more than this share of a stretch's operations is under way when it begins and when it ends. */
const mostUnderWay = 0.1;

/**
 * Lets the load run for a stretch (milliseconds) in which clients are served at its pace and none is turned away; starts
 * another as long as they are not, for `waitMs`. A cluster that has just been started is slow at first, and what is slow before the fault would be taken
 * for usual, or make the baseline too short.
 */
export async function untilPaced(
  load: Pick<Load, 'invoked' | 'unanswered' | 'underWay'>,
  recorder: Pick<Recorder, 'steady'>,
  stretchMs: number,
  { say, signal }: Pick<World, 'say' | 'signal'>,
  waitMs = patienceMs,
): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const { invoked, unanswered, underWay } = load;
    await sleep(stretchMs, undefined, { signal });
    const made = load.invoked - invoked;
    const failed = load.unanswered - unanswered;
    const behind = Math.max(underWay, load.underWay);
    if (failed === 0 && behind <= mostUnderWay * made) return;
    const what = `of ${made} in ${stretchMs / 1_000} s ${failed > 0 ? `${failed} failed` : `${behind} wait for an answer`}`;
    if (performance.now() > deadline) {
      say(`clients are not served at the usual pace: ${what}; the fault is made all the same`);
      return;
    }
    say(`waiting until clients are served at the usual pace: ${what}`);
    recorder.steady();
  }
}
