/** Microseconds of the history. */
interface Hung {
  from: number;
  to: number;
  by: Record<string, number>;
}

/** Operations that took less than this hung nowhere, microseconds. */
const least = 20_000;

/**
 * On which service a gap is to be blamed: every operation that overlaps it says where its time went, and those that were under way
 * when nothing was acknowledged spent theirs waiting for whoever was away.
 */
export class Blame {
  #hung: Hung[] = [];

  add(from: number, to: number, by: Record<string, number>): void {
    if (to - from >= least) this.#hung.push({ from, to, by });
  }

  /** Shares of 1, the largest first, those under a hundredth left out. Empty: nothing that hung says where. */
  of(gap: { from: number; to: number }): { service: string; share: number }[] {
    const times = new Map<string, number>();
    let total = 0;
    for (const { from, to, by } of this.#hung) {
      const within = Math.min(to, gap.to) - Math.max(from, gap.from);
      if (within <= 0) continue;
      // The longest part only: an operation waits for one thing at a time, and what came before and after was usual.
      const [longest] = Object.entries(by).sort(([, a], [, b]) => b - a);
      if (longest === undefined) continue;
      times.set(longest[0], (times.get(longest[0]) ?? 0) + within);
      total += within;
    }
    return [...times]
      .map(([service, time]) => ({ service, share: Math.round((time / total) * 100) / 100 }))
      .filter(({ share }) => share >= 0.01)
      .sort((a, b) => b.share - a.share || (a.service < b.service ? -1 : 1));
  }
}
