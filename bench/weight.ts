import type { AgentConfig, Listen } from '../src/engines/director/tables.ts';
import { actor } from './actor.ts';
import { type Bench, judge, type Result } from './bench.ts';
import type { Stage } from './stage.ts';

const space = 'bnweight';
const address = '10.96.4.11';

const config: AgentConfig = {
  cluster: 'bench',
  service: 'weight',
  host: 'director',
  address,
  peers: [],
  syncPort: 7077,
  vips: ['10.96.4.100'],
  listens: [],
};

const model: Listen = {
  name: 'tcp-80',
  proto: 'tcp',
  ports: [80, 80],
  plane: 'nftables',
  forward: 'nat',
  scheduler: 'wrr',
  hashPort: false,
  persistenceMs: 0,
  idleMs: 900_000,
  servers: [],
  sorry: [],
  check: { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 },
};

const servers = 10_000;

export const bench: Bench = {
  name: 'weight',
  what: 'One change of a weight among 10,000 real servers until the kernel has it, and the loading of 100,000 slots.',
  async run(stage: Stage): Promise<Result[]> {
    await stage.namespace(space);
    await stage.sh(`ip -n ${space} link add eth0 type veth peer name eth1
ip -n ${space} addr add ${address}/24 dev eth0
ip -n ${space} link set eth0 up; ip -n ${space} link set eth1 up`);
    const director = actor(stage, ['ip', ['netns', 'exec', space]], 'weight/director.ts');
    const loads = await loading(stage, director);
    const changes = await changing(stage, director);
    await director.tell('close');
    await director.end();
    return [
      judge(
        { metric: '100,000 slots loaded (two virtual services, 10,000 real servers)', unit: 'ms' },
        loads,
        {},
        [{ atMost: 1500 }],
      ),
      judge(
        {
          metric: 'a weight changed among 10,000 real servers',
          unit: 'ms',
          note: `slowest ${Math.max(...changes).toFixed(1)} ms`,
        },
        changes,
        {},
        [{ atMost: 20 }],
      ),
    ];
  },
};

type Director = ReturnType<typeof actor>;

async function loading(stage: Stage, director: Director): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < (stage.options.quick ? 2 : 5); run++) {
    stage.going();
    await director.tell('open', config);
    // Weights 1 to 9, 5 on average: 50,000 slots in each of the two.
    times.push(await director.tell<number>('load', model, [80, 81], servers, 9));
    const slots = Object.entries(await director.tell<Record<string, number>>('shares'))
      .map(([count, many]) => Number(count) * many)
      .reduce((sum, one) => sum + one, 0);
    stage.say(`${slots} slots in ${times.at(-1)!.toFixed(0)} ms`);
    if (slots < 99_000) throw new Error(`only ${slots} slots are in the kernel`);
    await director.tell('close');
  }
  return times;
}

async function changing(stage: Stage, director: Director): Promise<number[]> {
  await director.tell('open', config);
  await director.tell('load', model, [80], servers, 1);
  const times: number[] = [];
  for (let run = 0; run < (stage.options.quick ? 5 : 25); run++) {
    stage.going();
    times.push(await director.tell<number>('weight', 5000 + run, 3));
  }
  // Kernel's own word: one server has three slots, all others one.
  const shares = await director.tell<Record<string, number>>('shares');
  if (shares[3] !== 1 || shares[1] !== servers - 1)
    throw new Error(`the kernel's slots are not as they were set: ${JSON.stringify(shares)}`);
  return times;
}
