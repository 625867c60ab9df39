import { type Bench, judge, median, type Result, type Target } from './bench.ts';
import type { BenchCluster } from './cluster.ts';
import { packages } from './packages.ts';
import type { Stage } from './stage.ts';
import { buildPaths, onTheWay, type Path } from './throughput/paths.ts';
import { wires } from './throughput/wires.ts';
import { type Kind, parseWrk, wrkArgs } from './throughput/wrk.ts';

/** Issue 2, "How well": of direct, and of HAProxy in tcp mode. */
const targets: Record<string, Target[]> = {
  nat: [
    { of: 'direct', atLeast: 0.8 },
    { of: 'haproxy', atLeast: 1.9 },
  ],
  dr: [
    { of: 'direct', atLeast: 0.93 },
    { of: 'haproxy', atLeast: 2.2 },
  ],
};
const ours = ['nat', 'dr', 'fullnat', 'haproxy plane'];
const units: Record<Kind, string> = { requests: 'requests/s', connections: 'connections/s' };
/** More than this share of requests without a good answer, and the figure is none. */
const mostErrors = 0.001;

export const bench: Bench = {
  name: 'throughput',
  what: 'Requests and new connections a second through the VIP, by each way of forwarding, beside the same nginx asked directly and through proxies set up by hand.',
  async run(stage: Stage): Promise<Result[]> {
    await packages(stage, ['haproxy', 'libnginx-mod-stream', 'nginx-light', 'wrk']);
    const { cluster, paths } = buildPaths(stage);
    await cluster.up();
    const { rounds, seconds } = stage.options.quick ? { rounds: 2, seconds: 1 } : { rounds: 5, seconds: 3 };
    const results: Result[] = [];
    for (const kind of ['requests', 'connections'] as const) {
      const runs = await interleaved(stage, cluster, paths, kind, rounds, seconds);
      results.push(...judged(kind, kind, runs));
    }
    if (stage.options.long) {
      stage.say("once more, without the lab's bridge");
      await wires(stage, cluster, onTheWay);
      const runs = await interleaved(stage, cluster, paths, 'requests', rounds, seconds);
      results.push(...judged("requests without the lab's bridge", 'requests', runs));
    }
    return results;
  },
};

/** Each path once, then each path again: whatever the machine does meanwhile, it does to all. */
async function interleaved(
  stage: Stage,
  cluster: BenchCluster,
  paths: Path[],
  kind: Kind,
  rounds: number,
  seconds: number,
): Promise<Record<string, number[]>> {
  const runs: Record<string, number[]> = {};
  const [enter, words] = cluster.on('client');
  const load = async (path: Path, lasting: number) =>
    parseWrk(
      await stage.run(enter, [...words, ...wrkArgs(kind, lasting, path.url)], lasting * 1000 + 15_000),
    );
  for (const path of paths) await load(path, 1);
  for (let round = 1; round <= rounds; round++) {
    for (const path of paths) {
      const { perSecond, requests, errors } = await load(path, seconds);
      if (errors > requests * mostErrors)
        throw new Error(`${path.name}: ${errors} of ${requests} requests had no good answer`);
      runs[path.name] ??= [];
      runs[path.name]!.push(perSecond);
    }
    const shown = paths.map(({ name }) => `${name} ${Math.round(runs[name]!.at(-1)!)}`).join(', ');
    stage.say(`${kind} ${round}/${rounds}: ${shown}`);
  }
  return runs;
}

function judged(what: string, kind: Kind, runs: Record<string, number[]>): Result[] {
  const peers = Object.fromEntries(Object.entries(runs).filter(([name]) => !ours.includes(name)));
  return ours.map((name) =>
    judge(
      { metric: `${what}, ${name}`, unit: units[kind], note: `rounds ${spread(runs[name]!)}` },
      runs[name]!,
      peers,
      what === 'requests' ? (targets[name] ?? []) : [],
    ),
  );
}

/** How far the rounds lie apart. */
const spread = (values: number[]): string => {
  const middle = median(values);
  const part = (value: number) => `${Math.round((value / middle - 1) * 100)}%`;
  return `from ${part(Math.min(...values))} to +${part(Math.max(...values))} of the median`;
};
