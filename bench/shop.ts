import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { JournalLine } from '../src/cluster/journal.ts';
import { type Bench, judge, type Result } from './bench.ts';
import { BenchCluster } from './cluster.ts';
import type { Stage } from './stage.ts';

const examples = resolve(import.meta.dirname, '../examples');
const services = ['front', 'web', 'worker', 'cart', 'locks', 'events', 'jobs'];

/** The shop as it is in the example, on addresses of its own. */
const yaml = readFileSync(`${examples}/shop.yaml`, 'utf8')
  .replace('cluster: shop', 'cluster: bnshop\nnetwork: 10.96.4.0/24')
  .replace('vip: 10.77.0.100', 'vip: 10.96.4.100')
  .replaceAll('release: shop', `release: ${examples}/shop`);

export const bench: Bench = {
  name: 'shop',
  what: 'The whole shop of examples/shop.yaml, all engines on one machine: `up` from nothing and where its time goes, `up` with nothing to do, and the memory of all that runs.',
  async run(stage: Stage): Promise<Result[]> {
    const cluster = new BenchCluster(stage, 'bnshop', yaml);
    // Installs what is missing and builds the release, so that neither is in the figures.
    await cluster.up();
    const times = { up: [] as number[], nothing: [] as number[], memory: [] as number[] };
    const spans = new Map<string, number[]>();
    const [rounds, again] = stage.options.quick ? [1, 2] : [3, 5];
    for (let round = 1; round <= rounds; round++) {
      await cluster.must('down', '--purge');
      times.up.push((await cluster.must('up')).ms);
      for (const [name, seconds] of spansOf(`/var/lib/phalanx/bnshop/journal.jsonl`))
        spans.set(name, [...(spans.get(name) ?? []), seconds]);
      await quiet();
      for (let i = 0; i < again; i++) {
        const { out, ms } = await cluster.must('up');
        if (!out.includes('nothing to do')) throw new Error(`up again had something to do:\n${out}`);
        times.nothing.push(ms);
      }
      times.memory.push(memory('/var/lib/phalanx/bnshop/'));
      stage.say(
        `${round}/${rounds}: up ${times.up.at(-1)!.toFixed(0)} ms, nothing to do ${times.nothing.at(-1)!.toFixed(0)} ms, ${times.memory.at(-1)!.toFixed(0)} MB`,
      );
    }
    return [
      judge({ metric: 'up from nothing, packages present', unit: 'ms' }, times.up, {}, [{ atMost: 60_000 }]),
      ...[...spans].map(([metric, seconds]) => judge({ metric, unit: 's' }, seconds)),
      judge({ metric: 'up with nothing to do', unit: 'ms' }, times.nothing, {}, [{ atMost: 1000 }]),
      judge(
        { metric: 'memory of all processes', unit: 'MB', note: 'proportional set size: shared pages once' },
        times.memory,
        {},
        [{ atMost: 4096 }],
      ),
    ];
  },
};

/** Engines go on for a while after they serve (compiling, electing): waits until three quarters of the machine are idle, a minute at most. */
async function quiet(): Promise<void> {
  const times = (): { idle: number; all: number } => {
    const [idle, all] = cpus().reduce(
      ([sum, total], { times: { idle: own, ...busy } }) => [
        sum + own,
        total + own + Object.values(busy).reduce((a, b) => a + b),
      ],
      [0, 0] as [number, number],
    );
    return { idle, all };
  };
  const until = performance.now() + 60_000;
  for (let before = times(); performance.now() < until; ) {
    await wait(3_000);
    const now = times();
    if ((now.idle - before.idle) / (now.all - before.all) > 0.75) return;
    before = now;
  }
}

/**
 * Seconds of the last run in the journal, from its beginning: when each service's first step began and its last one ended. Services come up side by
 * side on the same cores, so these are no sum.
 */
function spansOf(journal: string): Map<string, number> {
  const lines = readFileSync(journal, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as JournalLine);
  const { run } = lines.findLast((line) => line.event === 'end')!;
  const mine = lines.filter((line) => line.run === run);
  const found = new Map<string, number>();
  for (const line of mine) {
    if (line.event !== 'step') continue;
    const at = (Date.parse(line.at) - Date.parse(mine[0]!.at)) / 1000;
    const service = services.find((name) => new RegExp(`^\\S+ ${name}([@.]|$)`).test(line.step)) ?? 'hosts';
    const [first, last] = [`${service} begun after`, `${service} done after`];
    if (line.state === 'start') found.set(first, Math.min(found.get(first) ?? at, at));
    if (line.state === 'done') found.set(last, at);
  }
  return found;
}

/** MB of memory of all processes that work for a cluster: those whose environment names its folder. */
function memory(folder: string): number {
  let kb = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder)) continue;
      kb += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // Ended meanwhile.
    }
  return kb / 1024;
}
