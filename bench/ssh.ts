import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { machineRoot } from '../src/file/places.ts';
import { controlPath } from '../src/hosts/ssh/master.ts';
import { type Machine, Machines } from '../tests/lab/machines.ts';
import { type Bench, judge, type Result } from './bench.ts';
import { packages } from './packages.ts';
import { Accounts } from './ssh/accounts.ts';
import { Ansible, peersInstalled, pyinfraCommand, type Site } from './ssh/peers.ts';
import type { Stage } from './stage.ts';

const phalanx = resolve(import.meta.dirname, '../phalanx');
const name = 'bnssh';

export const bench: Bench = {
  name: 'ssh',
  what: 'Hosts by ssh, sshd in namespaces, three apps on each (twenty steps a host): nothing to change on 50 hosts against Ansible (pipelining, tuned) and pyinfra, from cold and with connections up; 100 hosts; a first Redis Cluster on 10 hosts against a plain Ansible playbook.',
  async run(stage: Stage): Promise<Result[]> {
    await packages(stage, ['openssh-server', 'busybox', 's6', 'iproute2', 'redis-server', 'python3-apt']);
    const bin = await peersInstalled(stage);
    const many = new Many(stage, stage.options.quick ? 6 : 100);
    await many.boot();
    const some = many.machines.machines.slice(0, stage.options.quick ? 4 : 50);
    const few = many.machines.machines.slice(0, stage.options.quick ? 6 : 10);
    return [
      ...(await nothing(stage, many, some, bin)),
      ...(await all(stage, many)),
      ...(await firstInstall(stage, many, few, bin)),
    ];
  },
};

/** Three apps with a release each on every host: packages, folders, files, releases, processes. */
const apps = (hosts: Machine[], release: string): string =>
  Object.entries({ web: 8001, api: 8002, jobs: 8003 })
    .map(
      ([app, port]) => `  ${app}:
    type: app
    hosts: [${hosts.map((host) => host.name).join(', ')}]
    release: ${release}
    command: busybox httpd -f -p ${port} -h .
    port: ${port}
`,
    )
    .join('');

const redis = (hosts: Machine[]): string =>
  `  cart: { type: redis, mode: cluster, hosts: [${hosts.map((host) => host.name).join(', ')}], shards: ${hosts.length / 2}, replicas: 1 }\n`;

async function steady(many: Many, file: string): Promise<Run> {
  const run = await many.phalanx('up', '-f', file);
  if (!run.out.includes('nothing to do')) throw new Error(`up again had something to do:\n${run.out}`);
  return run;
}

async function nothing(stage: Stage, many: Many, hosts: Machine[], bin: string): Promise<Result[]> {
  const site: Site = { machines: many.machines, root: many.root, release: many.release };
  const file = many.file(apps(hosts, many.release), hosts);
  stage.say(`up on ${hosts.length} hosts`);
  await many.phalanx('up', '-f', file);
  const ansible = new Ansible(stage, bin, site, 10);
  const playbook = () => many.run(ansible.command('steady.yaml', hosts), ansible.environment);
  const pyinfra = () => many.run(pyinfraCommand(stage, bin, site, hosts), {});
  stage.say('the same by Ansible and pyinfra, for the first time');
  await playbook();
  await pyinfra();

  const runs = { cold: [] as Run[], warm: [] as Run[] };
  const ansibles = { cold: [] as Run[], warm: [] as Run[] };
  const pyinfras: Run[] = [];
  // Minutes a run: one tells enough of a ratio of hundreds.
  const peerRounds = stage.options.long ? 5 : 1;
  for (let round = 1; round <= (stage.options.quick ? 2 : 5); round++) {
    many.endMasters();
    runs.cold.push(await steady(many, file));
    runs.warm.push(await steady(many, file));
    say(stage, `${round}: ours cold, warm`, runs.cold.at(-1)!, runs.warm.at(-1)!);
    if (round > peerRounds) continue;
    many.endMasters(ansible.sockets);
    ansibles.cold.push(unchanged(await playbook()));
    ansibles.warm.push(unchanged(await playbook()));
    say(stage, `${round}: Ansible cold, warm`, ansibles.cold.at(-1)!, ansibles.warm.at(-1)!);
    pyinfras.push(await pyinfra());
    say(stage, `${round}: pyinfra`, pyinfras.at(-1)!);
  }
  const ms = (of: Run[]): number[] => of.map((run) => run.ms);
  const cpu = (of: Run[]): number[] => of.map((run) => run.cpuMs / hosts.length);
  const on = `nothing to change on ${hosts.length} hosts`;
  return [
    judge(
      { metric: `${on}, cold`, unit: 'ms' },
      ms(runs.cold),
      { Ansible: ms(ansibles.cold), pyinfra: ms(pyinfras) },
      [
        { of: 'Ansible', atMost: 1 / 20 },
        { of: 'pyinfra', atMost: 1 / 8 },
      ],
    ),
    judge({ metric: `${on}, connections up`, unit: 'ms' }, ms(runs.warm), { Ansible: ms(ansibles.warm) }, [
      { of: 'Ansible', atMost: 1 / 50 },
    ]),
    judge(
      { metric: 'processor time a host, both ends, connections up', unit: 'ms' },
      cpu(runs.warm),
      { Ansible: cpu(ansibles.warm) },
      [{ atMost: 10 }],
    ),
    judge({ metric: 'processor time a host, both ends, cold', unit: 'ms' }, cpu(runs.cold), {
      Ansible: cpu(ansibles.cold),
      pyinfra: cpu(pyinfras),
    }),
  ];
}

async function all(stage: Stage, many: Many): Promise<Result[]> {
  const hosts = many.machines.machines;
  const file = many.file(apps(hosts, many.release), hosts);
  stage.say(`up on ${hosts.length} hosts`);
  await many.phalanx('up', '-f', file);
  many.endMasters();
  const runs = { cold: [] as number[], warm: [] as number[] };
  for (let round = 1; round <= (stage.options.quick ? 2 : 5); round++) {
    many.endMasters();
    runs.cold.push((await steady(many, file)).ms);
    runs.warm.push((await steady(many, file)).ms);
    stage.say(`${round}: cold ${runs.cold.at(-1)!.toFixed(0)} ms, warm ${runs.warm.at(-1)!.toFixed(0)} ms`);
  }
  await many.phalanx('down', '--purge', '-f', file);
  const on = `nothing to change on ${hosts.length} hosts`;
  return [
    judge({ metric: `${on}, connections up`, unit: 'ms' }, runs.warm, {}, [{ atMost: 1500 }]),
    judge({ metric: `${on}, cold`, unit: 'ms' }, runs.cold),
  ];
}

/** From machines with nothing of it to a cluster that serves every slot; both from cold. */
async function firstInstall(stage: Stage, many: Many, hosts: Machine[], bin: string): Promise<Result[]> {
  const site: Site = { machines: many.machines, root: many.root, release: many.release };
  const file = many.file(redis(hosts), hosts);
  const ansible = new Ansible(stage, bin, site, 10);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 1; round <= (stage.options.quick ? 1 : 5); round++) {
    many.endMasters();
    many.endMasters(ansible.sockets);
    ours.push((await many.phalanx('up', '-f', file)).ms);
    await many.phalanx('down', '--purge', '-f', file);
    theirs.push((await many.run(ansible.command('redis.yaml', hosts), ansible.environment)).ms);
    for (const host of hosts) many.machines.inside(host.name, undoRedis(many.root));
    stage.say(`${round}: ours ${ours.at(-1)!.toFixed(0)} ms, Ansible ${theirs.at(-1)!.toFixed(0)} ms`);
  }
  return [
    judge({ metric: `a Redis Cluster on ${hosts.length} hosts, first time`, unit: 'ms' }, ours, {
      Ansible: theirs,
    }),
  ];
}

/** Takes away what redis.yaml made on a machine. */
const undoRedis = (root: string): string => `cd ${root}/by-ansible/redis || exit 0
s6-svscanctl -t scan
read -r pid <redis.pid && while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
cd /
rm -rf ${root}/by-ansible`;

/** A playbook that had something to change was not the one to measure. */
function unchanged(run: Run): Run {
  if (/changed=[1-9]/.test(run.out))
    throw new Error(`the playbook changed something:\n${run.out.slice(-4000)}`);
  return run;
}

function say(stage: Stage, what: string, ...runs: Run[]): void {
  const each = runs.map(({ ms, cpuMs }) => `${ms.toFixed(0)} ms (${cpuMs.toFixed(0)} ms of processor)`);
  stage.say(`${what}: ${each.join(', ')}`);
}

function endMaster(path: string): void {
  spawnSync('ssh', ['-O', 'exit', '-o', `ControlPath=${path}`, '-'], { stdio: 'ignore' });
}

interface Run {
  ms: number;
  /** Processor time of both ends, in milliseconds. */
  cpuMs: number;
  out: string;
}

/** Many machines with sshd, and the commands that work on them: the command's processor time on one account, the machines' on another. */
class Many {
  readonly machines: Machines;
  readonly home = mkdtempSync(join(tmpdir(), 'bnssh-'));
  readonly root = machineRoot(name);
  readonly release: string;
  readonly #stage: Stage;
  readonly #accounts: Accounts;

  constructor(stage: Stage, count: number) {
    this.#stage = stage;
    this.#accounts = new Accounts(stage, name);
    stage.after(() => rmSync(this.home, { recursive: true, force: true }));
    const shells = Array.from({ length: count }, () => 'dash' as const);
    this.machines = new Machines('bnsshd', name, '10.173.2', shells);
    this.release = join(stage.folder, 'site');
    mkdirSync(this.release);
    writeFileSync(join(this.release, 'index.html'), 'hello\n');
  }

  /** Containers keep no cache of apt's, and Ansible's apt module reads all lists anew without: machines have one. */
  async #aptCache(): Promise<void> {
    const folder = join(this.#stage.folder, 'apt');
    const configuration = join(folder, 'apt.conf');
    mkdirSync(join(folder, 'archives/partial'), { recursive: true });
    writeFileSync(configuration, `Dir::Etc::parts "${folder}/none";\nDir::Cache "${folder}";\n`);
    mkdirSync(join(folder, 'none'));
    await this.#stage.sh(`APT_CONFIG=${configuration} apt-cache gencaches`);
    appendFileSync(join(this.machines.lab.folder, 'sshd_config'), `SetEnv APT_CONFIG=${configuration}\n`);
  }

  async boot(): Promise<void> {
    this.#stage.say(`starting ${this.machines.machines.length} machines`);
    this.#stage.after(async () => {
      this.endMasters();
      await this.machines.lab.remove();
    });
    await this.#aptCache();
    this.#accounts.enter('hosts');
    await this.machines.lab.must('up');
    this.#accounts.enter(undefined);
  }

  /** A cluster's file with these hosts. */
  file(services: string, hosts: Machine[]): string {
    const path = join(this.#stage.folder, 'cluster.yaml');
    const lines = hosts.map((host) => `  ${host.name}: { ssh: root@${host.address} }`).join('\n');
    writeFileSync(path, `cluster: ${name}\nnetwork: 10.173.2.0/24\nhosts:\n${lines}\nservices:\n${services}`);
    return path;
  }

  phalanx(...words: string[]): Promise<Run> {
    return this.run([phalanx, ...words], {
      PHALANX_HOME: this.home,
      PHALANX_SSH_CONFIG: this.machines.sshConfig,
    });
  }

  /** Runs a command as a user would, the whole process. Rejects when it fails. */
  async run([command = '', ...words]: string[], environment: Record<string, string>): Promise<Run> {
    this.#stage.going();
    const used = (): number => this.#accounts.used('control') + this.#accounts.used('hosts');
    const [cpu, began] = [used(), performance.now()];
    this.#accounts.enter('control');
    const child = spawn(command, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
      detached: true,
    });
    this.#accounts.enter(undefined);
    let out = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        out += chunk;
      });
    // Its exit, not its streams' end: masters of ssh may hold these.
    const exit = await new Promise((done, reject) => child.once('error', reject).once('exit', done));
    const ms = performance.now() - began;
    if (exit !== 0) throw new Error(`${command} ${words.join(' ')} ended with ${exit}:\n${out.slice(-4000)}`);
    return { ms, cpuMs: used() - cpu, out };
  }

  /** Ends the connections that stay, of ours and of the folder. */
  endMasters(sockets?: string): void {
    const ours = this.machines.machines.map(({ address }) =>
      controlPath(join(this.home, name), `root@${address}`),
    );
    const theirs = sockets === undefined ? [] : readdirSync(sockets).map((socket) => join(sockets, socket));
    for (const path of sockets === undefined ? ours : theirs) endMaster(path);
  }
}
