import type { Stage } from './stage.ts';

/** One measured figure: medians of the runs, and what it is held to. */
export interface Result {
  metric: string;
  unit: string;
  /** Median of our runs. */
  ours: number;
  /** The same figure of others, measured in the same rounds: name -> median. */
  peers: Record<string, number>;
  /** Ours by theirs: the median of the rounds' own ratios, so that a machine that slows down meanwhile hits both. */
  ratio: Record<string, number>;
  /** In words: '>= 0.8 of direct'. Empty where nothing is promised. */
  target: string;
  /** Undefined where nothing is promised. */
  met: boolean | undefined;
  /** Every run, in order, by name; 'ours' among them. */
  runs: Record<string, number[]>;
  /** What a reader should know of this figure. */
  note?: string;
}

/** A named bench: what it shows, and how. Everything it makes is given to the stage, which clears up however it ends. */
export interface Bench {
  name: string;
  what: string;
  run(stage: Stage): Promise<Result[]>;
}

/** What a figure is held to: a bound on itself, or on its ratio to a peer. */
export interface Target {
  of?: string;
  atLeast?: number;
  atMost?: number;
}

/** Makes a result of runs: `ours` and each peer's in the same order of rounds. Throws where nothing was measured. */
export function judge(
  what: { metric: string; unit: string; note?: string },
  ours: number[],
  peers: Record<string, number[]> = {},
  targets: Target[] = [],
): Result {
  if (ours.length === 0) throw new Error(`${what.metric}: nothing was measured`);
  const ratio = Object.fromEntries(
    Object.entries(peers).map(([name, theirs]) => [
      name,
      median(ours.slice(0, theirs.length).map((one, round) => one / theirs[round]!)),
    ]),
  );
  const held = (target: Target): boolean => {
    const value = target.of === undefined ? median(ours) : ratio[target.of];
    if (value === undefined) throw new Error(`${what.metric}: ${target.of} was not measured`);
    return value >= (target.atLeast ?? -Infinity) && value <= (target.atMost ?? Infinity);
  };
  return {
    ...what,
    ours: median(ours),
    peers: Object.fromEntries(Object.entries(peers).map(([name, theirs]) => [name, median(theirs)])),
    ratio,
    target: targets.map((target) => inWords(target, what.unit)).join(', '),
    met: targets.length === 0 ? undefined : targets.every(held),
    runs: { ours, ...peers },
  };
}

function inWords({ of, atLeast, atMost }: Target, unit: string): string {
  const after = of === undefined ? (unit === '' ? '' : ` ${unit}`) : ` of ${of}`;
  return [
    ...(atLeast === undefined ? [] : [`>= ${atLeast}${after}`]),
    ...(atMost === undefined ? [] : [`<= ${atMost}${after}`]),
  ].join(', ');
}

export const median = (values: readonly number[]): number => percentile(values, 50);

/** Nearest rank: the smallest value that `p` per cent of them do not exceed. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (p === 50 && sorted.length % 2 === 0 && sorted.length > 0)
    return (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)]!;
}
