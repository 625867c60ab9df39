import { execFileSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { TestCluster, until } from '../tests/lab/cluster.ts';
import { accessOf, writer } from '../tests/lab/kafka-clients.ts';

/*
 * Time without acknowledged writes (acks=all, three copies) when a broker that leads partitions is killed (SIGKILL; the supervisor starts it
 * again) and when it is frozen (SIGSTOP), seen by a stock client that writes to all partitions. Every broker is a controller as well, and
 * each round takes the next one, so one in three is the active controller: its rounds are told apart.
 * Usage: node bench/kafka.ts [ROUNDS [kill|freeze [fast|default]]]. Milliseconds; exit status 4 when `timing: fast` misses its target.
 */
const rounds = Number(process.argv[2] ?? 20);
const [, , , onlyFault, onlyTiming] = process.argv;

const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(q * values.length) - 1)]!;

interface Round {
  gap: number;
  wasActive: boolean;
}

async function measure(timing: 'default' | 'fast', fault: 'kill' | 'freeze'): Promise<Round[]> {
  const name = `kfbench-${timing}`;
  const cluster = new TestCluster(`
cluster: ${name}
network: 10.94.${timing === 'fast' ? 51 : 50}.0/24
hosts: { data1: {}, data2: {}, data3: {} }
services:
  events: { type: kafka, hosts: [data1, data2, data3], heap: 256mb, timing: ${timing}, topics: { orders: { partitions: 6 } } }
`);
  try {
    await cluster.must('up');
    // A client that gives an answer a second: its own patience is part of what a frozen broker costs.
    const client = writer(await accessOf(cluster), 'orders', { patienceMs: 1_000 });
    const found: Round[] = [];
    for (let round = 0; found.length < rounds; round++) {
      if (round > 3 * rounds) throw new Error('leaders change by themselves too often to measure anything');
      const rows = await until(
        'healthy',
        async () => {
          const { health, rows: seen } = await cluster.status();
          return health === 'healthy' && seen;
        },
        240_000,
      );
      const victim = rows[round % rows.length]!;
      const flowing = client.sofar();
      await until('writes flow', async () => client.sofar() > flowing + 50, 60_000);
      const service = `/var/lib/phalanx/${name}/hosts/${victim.host}/members/events@${victim.host}/service`;
      client.resetGap();
      const at = performance.now();
      execFileSync('s6-svc', [fault === 'kill' ? '-k' : '-p', service]);
      await until('every partition is written again', async () => client.allSince(at + 500), 180_000);
      const gap = client.longestGapMs();
      if (fault === 'freeze') execFileSync('s6-svc', ['-c', service]);
      // Evidence: it led partitions; a broker that leads none is missed by nobody.
      if (Number(victim.facts['leads']) > 0) found.push({ gap, wasActive: victim.role.includes('active') });
    }
    await client.stop();
    return found;
  } finally {
    await cluster.remove();
  }
}

/** Milliseconds, p95, with `timing: fast`: what the product promises. */
const targets = { kill: 2_500, freeze: 3_000 };

for (const fault of ['kill', 'freeze'] as const)
  for (const timing of ['fast', 'default'] as const) {
    if ((onlyFault ?? fault) !== fault || (onlyTiming ?? timing) !== timing) continue;
    const found = await measure(timing, fault);
    const of = (list: Round[]): Record<string, number> =>
      list.length === 0
        ? {}
        : Object.fromEntries(
            (
              [
                ['p50', 0.5],
                ['p95', 0.95],
                ['worst', 1],
              ] as const
            ).map(([key, q]) => [
              key,
              Math.round(
                quantile(
                  list.map(({ gap }) => gap),
                  q,
                ),
              ),
            ]),
          );
    const all = of(found);
    const kept = timing === 'default' || all['p95']! <= targets[fault];
    if (!kept) process.exitCode = 4;
    const load = loadavg().map((one) => Math.round(one * 10) / 10);
    const active = of(found.filter(({ wasActive }) => wasActive));
    console.log(JSON.stringify({ fault, timing, rounds: found.length, ...all, active, kept, load }));
  }
