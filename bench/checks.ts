import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check } from '../src/check/check.ts';
import type { Target } from '../src/check/checker.ts';
import type { AgentConfig, Listen } from '../src/engines/director/tables.ts';
import { bundle } from '../src/hosts/bundle.ts';
import { until } from '../tests/lab/cluster.ts';
import { actor } from './actor.ts';
import { type Bench, judge, type Result } from './bench.ts';
import { nginxFolders } from './nginx.ts';
import { packages } from './packages.ts';
import { memoryOf, processorOf } from './processes.ts';
import type { Stage } from './stage.ts';

const space = 'bnchecks';
const address = '10.96.5.11';
const check: Check = { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 };
const servers = 10_000;
const port = 8080;
const addressOf = (i: number): string => `10.96.${64 + Math.floor(i / 250)}.${(i % 250) + 1}`;

export const bench: Bench = {
  name: 'checks',
  what: '10,000 health checks (tcp) a second: what the checker costs, and what a whole agent with 10,000 real servers costs and holds in memory.',
  async run(stage: Stage): Promise<Result[]> {
    await packages(stage, ['nginx-light']);
    await buildTargets(stage);
    const alone = await checkerAlone(stage);
    const agent = await wholeAgent(stage);
    return [
      judge({ metric: 'tcp checks made, of 10,000 a second', unit: '/s' }, alone.perSecond, {}, [
        { atLeast: 9500 },
      ]),
      judge({ metric: 'the checker, for these', unit: 'cores' }, alone.cores, {}, [{ atMost: 0.5 }]),
      judge(
        { metric: 'agent with 10,000 real servers, checked every second: memory', unit: 'MB' },
        agent.memory,
        {},
        [{ atMost: 80 }],
      ),
      judge({ metric: 'the same agent: processor', unit: 'cores' }, agent.cores),
    ];
  },
};

/** One nginx that answers on every address of a range (a local route makes them all its own). */
async function buildTargets(stage: Stage): Promise<void> {
  await stage.namespace(space);
  await stage.sh(`ip -n ${space} link add eth0 type veth peer name eth1
ip -n ${space} addr add ${address}/24 dev eth0
ip -n ${space} link set eth0 up; ip -n ${space} link set eth1 up
ip -n ${space} route add local 10.96.64.0/18 dev lo`);
  const file = join(stage.folder, 'targets.conf');
  writeFileSync(
    file,
    `worker_processes 1;
daemon off;
master_process off;
pid ${stage.folder}/targets.pid;
error_log stderr crit;
events { worker_connections 8192; multi_accept on; }
http {
${nginxFolders(stage.folder)}
  access_log off;
  server { listen ${port} backlog=16384; location / { return 200; } }
}
`,
  );
  stage.start('ip', ['netns', 'exec', space, 'nginx', '-e', 'stderr', '-c', file], 'ignore');
  await until('nginx listens', async () =>
    (await stage.run('ip', ['netns', 'exec', space, 'ss', '-Hltn', `sport = :${port}`])).includes(`:${port}`),
  );
}

async function checkerAlone(stage: Stage): Promise<{ cores: number[]; perSecond: number[] }> {
  const targets: Target[] = Array.from({ length: servers }, (_, i) => ({
    address: addressOf(i),
    port,
    check,
  }));
  const prober = actor(stage, ['ip', ['netns', 'exec', space]], 'checks/prober.ts');
  await prober.tell('begin', targets);
  const cores: number[] = [];
  const perSecond: number[] = [];
  const { windows, ms } = stage.options.quick ? { windows: 2, ms: 1000 } : { windows: 5, ms: 4000 };
  // The first second after the start is not like the others: phases are still being spread.
  await prober.tell('measure', 1500);
  for (let window = 0; window < windows; window++) {
    stage.going();
    const found = await prober.tell<{ cores: number; perSecond: number; downs: number }>('measure', ms);
    if (found.downs > 0 && !stage.options.quick) stage.say(`${found.downs} targets were found down so far`);
    cores.push(found.cores);
    perSecond.push(found.perSecond);
    stage.say(`checker: ${found.perSecond.toFixed(0)} checks a second on ${found.cores.toFixed(2)} cores`);
  }
  await prober.end();
  return { cores, perSecond };
}

/** The agent as `up` ships and starts it, with one virtual service. */
async function wholeAgent(stage: Stage): Promise<{ memory: number[]; cores: number[] }> {
  const folder = join(stage.folder, 'agent');
  mkdirSync(folder);
  copyFileSync((await bundle('agent')).path, join(folder, 'agent.mjs'));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(agentConfig()));
  writeFileSync(join(folder, 'sync.secret'), 'bench', { mode: 0o600 });
  const agent = stage.start(
    'ip',
    ['netns', 'exec', space, process.execPath, '--max-old-space-size=64', join(folder, 'agent.mjs'), folder],
    'ignore',
  );
  const pid = agent.pid!;
  await until(
    'the agent has its tables',
    async () =>
      (await stage.run('ip', ['netns', 'exec', space, 'nft', 'list', 'tables'])).includes(
        'phalanx_bench_checks',
      ),
    120_000,
  );
  const memory: number[] = [];
  const cores: number[] = [];
  const { windows, ms } = stage.options.quick ? { windows: 2, ms: 1000 } : { windows: 5, ms: 4000 };
  for (let window = 0; window < windows; window++) {
    stage.going();
    const before = processorOf(pid);
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, ms));
    cores.push((processorOf(pid) - before) / ((performance.now() - began) / 1000));
    memory.push(memoryOf(pid).now);
    stage.say(
      `agent: ${memory.at(-1)!.toFixed(0)} MB (most ${memoryOf(pid).most.toFixed(0)}), ${cores.at(-1)!.toFixed(2)} cores`,
    );
  }
  return { memory, cores };
}

function agentConfig(): AgentConfig {
  const listen: Listen = {
    name: 'tcp-80',
    proto: 'tcp',
    ports: [80, 80],
    plane: 'nftables',
    forward: 'nat',
    scheduler: 'wrr',
    hashPort: false,
    persistenceMs: 0,
    idleMs: 900_000,
    servers: Array.from({ length: servers }, (_, i) => ({
      name: `web@app${i}`,
      host: `app${i}`,
      address: addressOf(i),
      port,
      checkPort: port,
      weight: 1,
    })),
    sorry: [],
    check,
  };
  return {
    cluster: 'bench',
    service: 'checks',
    host: 'director',
    address,
    peers: [],
    syncPort: 7077,
    vips: ['10.96.5.100'],
    listens: [listen],
  };
}
