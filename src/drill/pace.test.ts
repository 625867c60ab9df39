import { expect, test } from 'vitest';
import { untilPaced } from './pace.ts';

class Counted {
  invoked = 0;
  acknowledged = 0;
  unanswered = 0;
  get underWay(): number {
    return this.invoked - this.acknowledged - this.unanswered;
  }
}

/** A load whose stretches are as told: operations invoked, acknowledged and failed in each. */
async function paced(stretches: [number, number, number][]): Promise<{ said: string[]; marks: number }> {
  const load = new Counted();
  const said: string[] = [];
  let marks = 0;
  let next = 0;
  const advance = () => {
    const [invoked, acknowledged, unanswered] = stretches[next++]!;
    load.invoked += invoked;
    load.acknowledged += acknowledged;
    load.unanswered += unanswered;
  };
  // The first stretch passes while it waits; each further one after it has been said that the last was none.
  setTimeout(advance, 0);
  await untilPaced(load, { steady: () => marks++ }, 10, {
    say: (line) => {
      said.push(line);
      setTimeout(advance, 0);
    },
    signal: new AbortController().signal,
  });
  expect(next).toBe(stretches.length);
  return { said, marks };
}

test('a load that is served is the baseline at once', async () => {
  expect(await paced([[100, 97, 0]])).toEqual({ said: [], marks: 0 });
});

test('one that is served too slowly, or turned away, begins again and says so', async () => {
  const { said, marks } = await paced([
    [100, 60, 0],
    [100, 120, 3],
    [100, 100, 0],
    [100, 110, 0],
    [100, 100, 0],
  ]);
  const waiting = 'waiting until clients are served at the usual pace: of 100 in 0.01 s';
  expect(said).toEqual([
    `${waiting} 40 wait for an answer`,
    `${waiting} 3 failed`,
    `${waiting} 17 wait for an answer`,
    // It has caught up only within this one: what came of that is not the usual pace.
    `${waiting} 17 wait for an answer`,
  ]);
  expect(marks).toBe(4);
});

test('one that never comes to its pace is struck all the same, which is said', async () => {
  const load = new Counted();
  const said: string[] = [];
  const failing = setInterval(() => {
    load.invoked++;
    load.unanswered++;
  }, 1);
  const world = { say: (line: string) => said.push(line), signal: new AbortController().signal };
  await untilPaced(load, { steady: () => undefined }, 20, world, 50);
  clearInterval(failing);
  expect(said.at(-1)).toMatch(/^clients are not served .* failed; the fault is made all the same$/);
});

test('Ctrl-C ends the waiting', async () => {
  const ended = untilPaced(new Counted(), { steady: () => undefined }, 10_000, {
    say: () => undefined,
    signal: AbortSignal.timeout(5),
  });
  await expect(ended).rejects.toThrow();
});
