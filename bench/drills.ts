import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openSession } from '../src/cli/session.ts';
import { roundOf } from '../src/drill/repeated.ts';
import { duration } from '../src/drill/report/run.ts';
import { engines } from '../src/engines/index.ts';
import { type Row, TestCluster } from '../tests/lab/cluster.ts';
import { drill } from '../tests/lab/drills.ts';
import { type Line, linesOf, type measured, table } from './drills/rounds.ts';

/*
 * The table of docs/performance.md: how long clients are away and what is lost, per engine, fault and timing, by `phalanx drill` itself. Each round is a drill
 * of its own, appended to the results as it ends: a run that was interrupted goes on where it stopped, and --table prints what there is.
 */
const usage = `node bench/drills.ts                            everything: 20 rounds of each fault in each timing; many hours
node bench/drills.ts redis-cluster zookeeper    only these engines
  --fault kill-master                           only these faults; may be repeated
  --timing fast                                 only this timing
  --rounds 3                                    so many rounds of each fault, what is in the results already included
  --lane 2                                      beside a run that is under way, into the same results: hosts and a network of its own
  --results FILE                                default: bench/results/drills.jsonl
  --table                                       print the table of the results, drill nothing`;

const here = import.meta.dirname;
const hosts = 'hosts: { d1: {}, d2: {}, d3: {} }';
const three = 'hosts: [d1, d2, d3]';

interface Setup {
  service: string;
  /** Where the engine has timings. */
  timed: boolean;
  /** Hosts and services; everything else as a user gets it who says nothing. */
  file(timing: string): string;
  /** Commands that put roles back before a round, where what earlier rounds have moved would be measured instead of the fault. */
  before?(rows: Row[]): string[][];
}

const setups: Record<string, Setup> = {
  director: {
    service: 'front',
    timed: false,
    file: () => `hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {} }
services:
  web:
    type: app
    hosts: [app1, app2, app3]
    command: ${process.execPath} ${resolve(here, '../examples/hello/server.ts')}
    port: 8080
    check: { http: /healthz, interval: 200ms, timeout: 500ms, fall: 2 }
  front: { type: director, hosts: [lb1, lb2], vip: NETWORK.100, listen: [{ port: 80, to: web }] }`,
  },
  'redis-sentinel': {
    service: 'cart',
    timed: true,
    file: (timing) =>
      `${hosts}\nservices: { cart: { type: redis, mode: sentinel, ${three}, timing: ${timing} } }`,
  },
  'redis-cluster': {
    service: 'cart',
    timed: true,
    file: (timing) =>
      `${hosts}\nservices: { cart: { type: redis, mode: cluster, ${three}, timing: ${timing} } }`,
    // A master on each host: a host that has failed over to has two of the three, and its loss is the loss of their majority.
    before: (rows) =>
      rows
        .filter(({ name, role }) => name.startsWith('cart@') && role === 'replica')
        .map(({ name }) => ['switchover', 'cart', '--to', name]),
  },
  zookeeper: {
    service: 'locks',
    timed: true,
    file: (timing) => `${hosts}\nservices: { locks: { type: zookeeper, ${three}, timing: ${timing} } }`,
  },
  kafka: {
    service: 'events',
    timed: true,
    file: (timing) =>
      `${hosts}\nservices: { events: { type: kafka, ${three}, heap: 256mb, timing: ${timing}, topics: { orders: { partitions: 6 } } } }`,
  },
  rabbitmq: {
    service: 'jobs',
    timed: true,
    file: (timing) =>
      `${hosts}\nservices: { jobs: { type: rabbitmq, ${three}, timing: ${timing}, queues: { mail: {} } } }`,
  },
} satisfies Record<(typeof measured)[number], Setup>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fault: { type: 'string', multiple: true },
    timing: { type: 'string' },
    rounds: { type: 'string', default: process.env['BENCH_QUICK'] === '1' ? '1' : '20' },
    lane: { type: 'string', default: '1' },
    results: { type: 'string', default: join(here, 'results/drills.jsonl') },
    table: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const strangers = positionals.filter((name) => !(name in setups));
/** How many rounds a fault is to have in each timing. */
const rounds = Number(values.rounds);
const lane = Number(values.lane);
if (
  values.help ||
  strangers.length > 0 ||
  !(rounds > 0) ||
  !(Number.isInteger(lane) && lane >= 1 && lane <= 9)
) {
  console.error(strangers.length > 0 ? `no engine ${strangers}: ${Object.keys(setups).join(', ')}` : usage);
  process.exit(values.help ? 0 : 2);
}
mkdirSync(dirname(values.results), { recursive: true });

const linesNow = (): Line[] => linesOf(values.results);

let left = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    if (!left) console.error('leaving after this round; what has ended is kept');
    left = true;
  });

/** Drills that failed to say anything, one after the other, before an engine is given up. */
const patience = 3;

async function measure(engine: string, timing: string | undefined, net: number): Promise<void> {
  const { service, file, before } = setups[engine]!;
  const name = `drb${lane === 1 ? '' : lane}-${engine}${timing === undefined ? '' : `-${timing}`}`;
  const network = `10.${171 + lane}.${net}`;
  const cluster = new TestCluster(
    `cluster: ${name}\nnetwork: ${network}.0/24\n${file(timing ?? '').replaceAll('NETWORK', network)}\n`,
  );
  const same = (line: Line): boolean => line.service === engine && line.timing === timing;
  const done = (fault: string): number =>
    linesNow().filter((line) => same(line) && line.fault === fault).length;
  try {
    // Asked of the file alone where everything is there already: nothing is built for nothing.
    if (values.fault?.every((fault) => done(fault) >= rounds)) return;
    await cluster.run(['down', '--purge']);
    await cluster.must('up');
    const session = await openSession(cluster.file);
    const drilled = session.cluster.services[service]!;
    const { drills, observe } = engines[drilled.type]!;
    const live = await observe?.(drilled, session.cluster, session.reach);
    const { standard, roles } = await drills!(drilled, session.cluster, session.reach, live);
    const faults = (values.fault ?? standard).filter((fault) => roles.some((role) => fault.endsWith(role)));
    let failures = 0;
    // One round of each fault after the other, so that a run that is interrupted has something of all.
    for (;;) {
      const next = faults
        .map((fault) => ({ fault, had: done(fault) }))
        .filter(({ had }) => had < rounds)
        .sort((a, b) => a.had - b.had)[0];
      if (next === undefined || left) return;
      const { fault, had } = next;
      const seed = 1_000 + had;
      if (before) for (const command of before((await cluster.status()).rows)) await cluster.must(...command);
      const began = performance.now();
      const found = await drill(cluster, service, fault, '--seed', String(seed)).catch(
        (error: Error) => error,
      );
      rmSync(join(cluster.folder, 'drills'), { recursive: true, force: true });
      if (left) return;
      if (found instanceof Error) {
        console.error(`${engine} ${timing ?? ''} ${fault}: ${found.message}`);
        if (++failures >= patience) throw found;
        // A new one: what the last drill left it in is not what the next is to be measured on.
        await cluster.run(['down', '--purge']);
        await cluster.must('up');
        continue;
      }
      failures = 0;
      const { verdict } = found;
      const { timing: _named, ...round } = roundOf(verdict);
      const line: Line = {
        ...round,
        service: engine,
        ...(timing === undefined ? {} : { timing }),
        ...{ at: new Date().toISOString(), seconds: Math.round((performance.now() - began) / 100) / 10 },
        ...{ load: Math.round(loadavg()[0]! * 10) / 10, seed },
        ...(verdict.why.length > 0 ? { why: verdict.why.join('; ').slice(0, 300) } : {}),
      };
      appendFileSync(values.results, `${JSON.stringify(line)}\n`);
      const away = line.awayMs === null ? 'not known' : duration(line.awayMs);
      console.error(
        `${engine} ${timing ?? ''} ${fault} ${had + 1}/${rounds}: away ${away}, ${line.acknowledged > 0 ? `lost ${line.lost ?? '?'} of ${line.acknowledged}, ` : ''}${line.seconds} s${line.why ? `: ${line.why}` : ''}`,
      );
    }
  } finally {
    await cluster.remove();
  }
}

const failed: string[] = [];
if (!values.table)
  for (const [n, [engine, { timed }]] of Object.entries(setups).entries()) {
    if (positionals.length > 0 && !positionals.includes(engine)) continue;
    for (const [m, timing] of (timed ? ['fast', 'default'] : [undefined]).entries())
      if (!left && (values.timing === undefined || timing === undefined || values.timing === timing))
        await measure(engine, timing, 100 + 2 * n + m).catch((error: Error) => {
          // What the others come to is not held up by it; the next run tries it again.
          console.error(`${engine} ${timing ?? ''} given up: ${error.stack}`);
          failed.push(engine);
        });
  }
const lines = linesNow();
for (const line of table(lines)) console.log(line);
if (lines.some(({ fault, lost }) => /^kill-/.test(fault) && lost !== null && lost > 0)) process.exitCode = 4;
if (failed.length > 0) process.exitCode = 1;
