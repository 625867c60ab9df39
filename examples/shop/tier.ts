import { setTimeout as wait } from 'node:timers/promises';

/** One attempt may take this long: a frozen server answers nothing at all. Milliseconds. */
const patience = 1_000;

export class Late extends Error {
  override name = 'Late';
}

/** The promise's result, or Late after `ms`. */
export async function within<T>(work: Promise<T>, ms = patience): Promise<T> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      work,
      wait(ms, undefined, { signal: timer.signal }).then(() => {
        throw new Late(`no answer in ${ms} ms`);
      }),
    ]);
  } finally {
    timer.abort();
    work.catch(() => undefined);
  }
}

/** A tier stayed away for the whole time that a request had. */
export class Away extends Error {
  override name = 'Away';
  tier: string;
  constructor(tier: string, why: string) {
    super(why);
    this.tier = tier;
  }
}

/** One of the services behind the shop: how it was when it was last asked, and how long that took. */
export class Tier {
  readonly name: string;
  /** Why the last attempt failed; undefined when it did not. */
  trouble: string | undefined;
  constructor(name: string) {
    this.name = name;
  }

  /**
   * Does `work`, which must be safe to repeat, until it succeeds or `deadline` (performance.now()) has passed: then Away. A failover
   * behind the shop is a slower answer for its clients, not an error. Gives the result and how long all attempts took.
   */
  async patiently<T>(deadline: number, work: () => Promise<T>): Promise<{ result: T; ms: number }> {
    const began = performance.now();
    for (;;) {
      try {
        const result = await within(work());
        this.trouble = undefined;
        return { result, ms: performance.now() - began };
      } catch (error) {
        this.trouble = (error as Error).message;
        if (performance.now() + 50 > deadline) throw new Away(this.name, this.trouble);
        await wait(50);
      }
    }
  }
}
