import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Bench, judge, type Result } from './bench.ts';
import { BenchCluster } from './cluster.ts';
import { memoryOf, processesIn } from './processes.ts';
import type { Stage } from './stage.ts';

const shop = resolve(import.meta.dirname, '../examples/hello');

/** The first example as it was when the targets were set (two directors, three app servers), on addresses of its own. */
const yaml = `cluster: bnspine
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {} }
services:
  web:
    type: app
    hosts: [app1, app2, app3]
    release: ${shop}
    command: node server.ts
    port: 8080
    check: { http: /healthz, interval: 200ms, timeout: 500ms, fall: 2 }
    drain: 2s
  front:
    type: director
    hosts: [lb1, lb2]
    vip: 10.96.3.100
    listen:
      - { port: 80, to: web, scheduler: wrr, forward: nat }
    promise: { rto: 300ms }
`;

export const bench: Bench = {
  name: 'spine',
  what: 'The command itself: parse and plan of a large file, `up` from nothing, `up` with nothing to do, `down`, and the memory of the agents that then run.',
  async run(stage: Stage): Promise<Result[]> {
    return [...(await largePlan(stage)), ...(await commands(stage))];
  },
};

async function largePlan(stage: Stage): Promise<Result[]> {
  const file = join(stage.folder, 'large.yaml');
  writeFileSync(file, largeFile());
  const whole: number[] = [];
  const parse: number[] = [];
  let steps = 0;
  for (let run = 0; run < (stage.options.quick ? 2 : 5); run++) {
    const script = join(import.meta.dirname, 'spine/plan.ts');
    const found = JSON.parse(await stage.run(process.execPath, [script, file])) as Record<string, number>;
    if (found['members']! < 10_000) throw new Error(`the file has only ${found['members']} members`);
    whole.push(found['parse']! + found['plan']!);
    parse.push(found['parse']!);
    steps = found['steps']!;
    stage.say(`parse ${found['parse']!.toFixed(0)} ms, plan ${found['plan']!.toFixed(0)} ms, ${steps} steps`);
  }
  return [
    judge(
      {
        metric: 'parse and plan of 1,000 hosts and 10,000 members',
        unit: 'ms',
        note: `${steps} steps; each run in a new process`,
      },
      whole,
      {},
      [{ atMost: 1000 }],
    ),
    judge({ metric: 'of that, parse', unit: 'ms' }, parse),
  ];
}

/** Ten services on each of a thousand hosts, and a director before all of them. */
function largeFile(): string {
  const hosts = Array.from({ length: 1000 }, (_, i) => `app${i + 1}`);
  const services = Array.from({ length: 10 }, (_, i) => `web${i + 1}`);
  return `cluster: large
network: 10.96.0.0/16
hosts:
  lb1: {}
  lb2: {}
${hosts.map((host) => `  ${host}: {}`).join('\n')}
services:
${services
  .map(
    (name, i) => `  ${name}:
    type: app
    hosts: [${hosts.join(', ')}]
    command: ./server --port ${8001 + i}
    port: ${8001 + i}
    check: { http: /healthz }`,
  )
  .join('\n')}
  front:
    type: director
    hosts: [lb1, lb2]
    vip: 10.96.255.100
    listen:
${services.map((name, i) => `      - { port: ${80 + i}, to: ${name}, scheduler: wrr, forward: nat }`).join('\n')}
`;
}

async function commands(stage: Stage): Promise<Result[]> {
  const cluster = new BenchCluster(stage, 'bnspine', yaml);
  // Installs what is missing and bundles the agent, so that neither is in the figures.
  await cluster.up();
  const [rounds, again] = stage.options.quick ? [2, 2] : [5, 3];
  const times = { up: [] as number[], nothing: [] as number[], status: [] as number[], down: [] as number[] };
  const memory: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    times.down.push((await cluster.must('down')).ms);
    await cluster.must('down', '--purge');
    times.up.push((await cluster.must('up')).ms);
    for (let i = 0; i < again; i++) {
      const { out, ms } = await cluster.must('up');
      if (!out.includes('nothing to do')) throw new Error(`up again had something to do:\n${out}`);
      times.nothing.push(ms);
    }
    times.status.push((await cluster.must('status')).ms);
    memory.push(...agents().map((pid) => memoryOf(pid).now));
    const said = Object.entries(times).map(([name, each]) => `${name} ${each.at(-1)!.toFixed(0)} ms`);
    stage.say(
      `${round}/${rounds}: ${said.join(', ')}, agents ${memory
        .slice(-2)
        .map((mb) => `${mb.toFixed(0)} MB`)
        .join(' and ')}`,
    );
  }
  return [
    judge({ metric: 'up from nothing, packages present', unit: 'ms' }, times.up, {}, [{ atMost: 6000 }]),
    judge({ metric: 'up with nothing to do', unit: 'ms' }, times.nothing, {}, [{ atMost: 500 }]),
    judge({ metric: 'status', unit: 'ms' }, times.status),
    judge({ metric: 'down', unit: 'ms' }, times.down),
    judge({ metric: 'memory of one agent', unit: 'MB' }, memory, {}, [{ atMost: 80 }]),
  ];
}

/** The agents' processes, by the folders that they work in. */
function agents(): number[] {
  const found = ['lb1', 'lb2'].flatMap((host) =>
    processesIn(`/var/lib/phalanx/bnspine/hosts/${host}/members/front.agent@${host}`),
  );
  if (found.length < 2) throw new Error('the agents were not found among the processes');
  return found;
}
