import { describe, expect, test } from 'vitest';
import type { Header, Line } from './history.ts';
import { Analysis, exitOf, type Verdict } from './verdict.ts';

const header: Header = {
  ...{ history: 1, cluster: 'shop', service: 'web', engine: 'app', versions: {}, seed: 1, file: '' },
  ...{ client: 'planted', fault: { name: 'freeze-app' }, models: { set: { clean: 20 } }, replicas: [] },
};

/** What became of a transaction: milliseconds until it was acknowledged, or until it failed. */
type Fate = { ms: number; fails?: true } | undefined;

interface Told {
  /** When it was whole again, seconds; undefined: never. */
  whole?: number;
  /** When the last transaction was sent, seconds. */
  until?: number;
  promise?: Header['promise'];
}

/** A transaction each 50 ms, acknowledged after 5 ms unless `fate` (of its number and the milliseconds at which it is sent) says something else. The fault comes at second 8. */
function judged(
  fate: (n: number, ms: number) => Fate,
  { whole = 16, until = 20, promise }: Told = {},
): Verdict {
  const lines: { t: number; line: Line }[] = [];
  for (const [phase, s] of [
    ['planned', 8],
    ['evidence', 8.001],
    ['whole', whole],
  ] as const)
    lines.push({ t: s * 1e6, line: { fault: 'freeze-app', phase, t: s * 1e6 } });
  const values: number[] = [];
  for (let i = 0; i < until * 20; i++) {
    const t = i * 50_000;
    const { ms, fails } = fate(i, t / 1_000) ?? { ms: 5 };
    if (!fails) values.push(i);
    lines.push({ t, line: { i, type: 'invoke', t, p: 0, f: 'add', v: i } });
    const ended = t + ms * 1_000;
    lines.push({ t: ended, line: { i, type: fails ? 'info' : 'ok', t: ended } });
  }
  const analysis = new Analysis();
  analysis.feed({ ...header, ...(promise ? { promise } : {}) });
  for (const { line } of lines.sort((a, b) => a.t - b.t)) analysis.feed(line);
  const t = 100_000_000;
  analysis.feed({ final: 'one', model: 'set', role: 'authority', group: '', t, values, done: true });
  analysis.feed({ end: 'complete', t });
  return analysis.finish().verdict;
}

const third = (n: number): boolean => n % 3 === 0;
/** Known to a gap of the usual. */
const about = (ms: number | null, expected: number): void => {
  expect(ms).toBeGreaterThan(expected - 160);
  expect(ms).toBeLessThan(expected + 160);
};

describe('a part of the customers', () => {
  test('that is turned away is an outage, however many are served beside them', () => {
    const verdict = judged(
      (n, ms) => (third(n) && ms >= 9_000 && ms < 11_000 ? { ms: 5, fails: true } : undefined),
      { promise: { rtoMs: 1_000 } },
    );
    about(verdict.recovery.rtoMs, 2_000);
    expect(verdict.promise.result).toBe('broken');
    expect(verdict.recovery.errorsInGap).toBe(14);
    expect(verdict.recovery.errorsOutsideGap).toBe(0);
  });

  test('that waits for the whole of it is one, although nobody is turned away', () => {
    const verdict = judged((n, ms) =>
      third(n) && ms >= 9_000 && ms < 12_000 ? { ms: 12_001 - ms } : undefined,
    );
    about(verdict.recovery.rtoMs, 3_000);
    expect(verdict.recovery.gap!.toMs).toBe(12_001);
    expect(verdict.result).toBe('valid');
    // Their waiting is within the gap: what is outside was as quick as ever.
    expect(verdict.recovery.p99OutsideGapMs).toBeLessThan(10);
  });

  test('is seen also after an outage of all of them', () => {
    const verdict = judged((n, ms) => {
      if (ms >= 8_000 && ms < 10_000) return { ms: 10_001 - ms };
      return third(n) && ms >= 11_000 && ms < 15_000 ? { ms: 15_001 - ms } : undefined;
    });
    about(verdict.recovery.rtoMs, 4_000);
    expect(verdict.recovery.gap!.toMs).toBe(15_001);
  });

  test('that is slow as some always are is none', () => {
    expect(judged((n) => (n % 10 === 0 ? { ms: 1_200 } : undefined)).recovery.rtoMs).toBeLessThan(100);
  });

  test('that was so before the fault is not the fault of it', () => {
    const verdict = judged((_n, ms) => (ms === 3_000 ? { ms: 5_100 } : undefined));
    expect(verdict.recovery.rtoMs).toBeLessThan(200);
  });
});

describe('one who gives up', () => {
  test('was turned away when it was sent, whatever its patience, and however long the load goes on', () => {
    const lost = (n: number, ms: number): Fate =>
      third(n) && ms >= 8_050 && ms < 9_000 ? { ms: 20_000, fails: true } : undefined;
    for (const until of [16, 40]) {
      const verdict = judged(lost, { whole: 13, until });
      about(verdict.recovery.rtoMs, 950);
      expect(verdict.recovery.atLeast).toBe(false);
      expect(exitOf(verdict)).toBe(0);
    }
  });

  test('in the last moments leaves no service that is gone', () => {
    const verdict = judged((_n, ms) => (ms === 19_800 ? { ms: 5, fails: true } : undefined), { whole: 19.9 });
    expect(verdict.recovery.atLeast).toBe(true);
    expect(exitOf(verdict)).toBe(0);
  });
});

describe('a service that never comes back', () => {
  test('was away until the load ended at least, also where the last that is heard is a late answer', () => {
    const verdict = judged(
      (_n, ms) => {
        if (ms === 19_900) return { ms: 1_500 };
        return ms >= 8_000 ? { ms: 5, fails: true } : undefined;
      },
      { promise: { rtoMs: 2_000 } },
    );
    expect(verdict.recovery.atLeast).toBe(true);
    expect(verdict.recovery.rtoMs).toBeGreaterThan(11_500);
    expect(exitOf(verdict)).toBe(4);
  });

  test('is none only for a part of the customers: neither kept nor valid', () => {
    const verdict = judged((n, ms) => {
      if (ms < 8_000 || n % 3 === 0) return undefined;
      return n % 3 === 1 ? { ms: 5, fails: true } : { ms: 3_000 };
    });
    expect(verdict.recovery.atLeast).toBe(true);
    expect(verdict.result).toBe('invalid');
    expect(verdict.why[0]).toBe('clients were not served again');
  });
});

test('all waiting is one outage, and what is outside it was as quick as ever', () => {
  const verdict = judged((_n, ms) =>
    ms >= 8_000 && ms < 13_000 ? { ms: 13_001 - ms + (400 * (ms % 3)) / 3 } : undefined,
  );
  about(verdict.recovery.rtoMs, 5_200);
  expect(verdict.recovery.p99OutsideGapMs).toBeLessThan(20);
});
