import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { seatsOf, sentinelSeatsOf } from './seats.ts';
import { sentinelStart, startScript } from './start.ts';
import { id, sample } from './testing/sample.ts';

const of = sample({ mode: 'cluster' });
const seats = seatsOf(of.service, of.cluster);
const shards = [
  ['cart@d1', 'cart.2@d2', '0-5460'],
  ['cart@d2', 'cart.2@d3', '5461-10922'],
  ['cart@d3', 'cart.2@d1', '10923-16383'],
] as const;

/** CLUSTER NODES as a member answers it; `lead` are the masters of the shards, where they are not the first of their line. */
function nodes(self: string, lead: Record<number, string> = {}): string {
  const lines = shards.flatMap(([first, second, slots], n) => {
    const master = lead[n] ?? first;
    return [first, second].map((name) => {
      const { address, port } = seats.find((one) => one.name === name)!;
      const flags = `${name === self ? 'myself,' : ''}${name === master ? 'master' : 'slave'}`;
      const rest = name === master ? `- 0 0 1 connected ${slots}` : `${id(master)} 0 0 1 connected`;
      return `${id(name)} ${address}:${port}@${port + 10_000} ${flags} ${rest}`;
    });
  });
  return `${lines.join('\n')}\n`;
}

const running: { child: ChildProcess; folder: string }[] = [];
afterEach(() => {
  for (const { child, folder } of running.splice(0)) {
    process.kill(-child.pid!, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

interface Given {
  /** The service; `cart@d1` of it, unless told otherwise. */
  of?: ReturnType<typeof sample>;
  name?: string;
  /** What is in the member's folder, by path. */
  files: Record<string, string>;
  /** Seconds by which files are older than the others. */
  age?: Record<string, number>;
}

interface Started {
  folder: string;
  asked(): number;
  said(): string;
  /** What redis-server was started with; undefined as long as it was not. */
  server(): string | undefined;
  /** All that members were told to do, `10.1.0.11:6379 replicaof ...`. */
  told(): string;
}

const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');

/** A master of a cluster that died with its data whole. */
const died: Given = {
  of,
  files: {
    'data/nodes.conf': nodes('cart@d1'),
    'data/redis.pid': '1',
    'data/.ran': boot,
    'data/appendonlydir/appendonly.aof.manifest': '',
  },
};

/**
 * Starts a member beside others that answer as given, by name: the same to every command, or by the command; those not named are silent. Its
 * redis-cli and redis-server are stand-ins: one looks the answer up, the other writes down with what it was started.
 */
function start(answers: Record<string, string | Record<string, string>>, given = died): Started {
  const { of: about = of, name: self = 'cart@d1', files, age = {} } = given;
  const all = [...seatsOf(about.service, about.cluster), ...sentinelSeatsOf(about.service, about.cluster)];
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-start-'));
  const put = (path: string, text: string, mode = 0o644): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
    chmodSync(join(folder, path), mode);
    const then = Date.now() / 1000 - (age[path] ?? 0);
    utimesSync(join(folder, path), then, then);
  };
  for (const { name, address, port } of all) {
    const said = answers[name];
    if (typeof said === 'string') put(`bin/${address}:${port}`, said);
    else
      for (const [command, text] of Object.entries(said ?? {}))
        put(`bin/${address}:${port} ${command}`, text);
  }
  put(
    'bin/redis-cli',
    `#!/bin/sh
echo asked >>'${folder}/asked'
while [ $# -gt 0 ]; do
  case $1 in --user) shift 2 ;; -h) host=$2; shift 2 ;; -p) port=$2; shift 2 ;; *) break ;; esac
done
case $1$2 in replicaof* | configset) echo "$host:$port $*" >>'${folder}/told' ;; esac
cat '${folder}/bin/'"$host:$port $*" 2>/dev/null || cat '${folder}/bin/'"$host:$port"
`,
    0o755,
  );
  put(
    'bin/redis-server',
    `#!/bin/sh\necho "$*" >'${folder}/starting' && mv '${folder}/starting' '${folder}/started'\nexec sleep 60\n`,
    0o755,
  );
  put('start', startScript(about.service, about.cluster, all.find(({ name }) => name === self)!), 0o755);
  put('admin.secret', 'x');
  put('redis.conf', '');
  for (const [path, text] of Object.entries(files)) put(path, text);
  const child = spawn('./start', {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: `${folder}/bin:${process.env['PATH']}` },
  });
  running.push({ child, folder });
  let said = '';
  child.stdout!.on('data', (chunk) => {
    said += chunk;
  });
  const read = (path: string): string | undefined =>
    existsSync(join(folder, path)) ? readFileSync(join(folder, path), 'utf8') : undefined;
  return {
    folder,
    asked: () => (read('asked') ?? '').split('\n').length - 1,
    said: () => said,
    server: () => read('started'),
    told: () => read('told') ?? '',
  };
}

const others = (lead?: Record<number, string>) =>
  Object.fromEntries(seats.slice(1).map(({ name }) => [name, nodes(name, lead)]));

it('a master that died waits while the others may still elect another', {
  tags: ['long'],
  timeout: 30_000,
}, async () => {
  const one = start(others());
  // Five peers a round.
  await expect.poll(one.asked, { timeout: 20_000 }).toBeGreaterThan(15);
  expect(existsSync(join(one.folder, 'started'))).toBe(false);
});

it('it starts when another has its slots', async () => {
  const one = start(others({ 0: 'cart.2@d2' }));
  await expect.poll(one.said, { timeout: 20_000 }).toContain('its slots have a new master');
  await expect.poll(() => existsSync(join(one.folder, 'started')), { timeout: 20_000 }).toBe(true);
}, 30_000);

it('it starts at once when too few masters are left to elect anybody: nobody waits for whom it waits for', async () => {
  const { 'cart@d2': _, ...rest } = others();
  const one = start(rest);
  await expect.poll(one.said, { timeout: 20_000 }).toContain('too few masters answer to elect another');
  await expect.poll(() => existsSync(join(one.folder, 'started')), { timeout: 20_000 }).toBe(true);
  expect(one.asked()).toBe(5);
}, 30_000);

const waits = { timeout: 20_000 };
const slaveOf = (host: number) => `slave\n10.1.0.${host}\n6379\nconnect\n5\n`;

describe('a master whose disk was exchanged', () => {
  const pair = sample({}, 2);
  const watched = sample({ mode: 'sentinel' });
  const master = (host: number) => `ip\n10.1.0.${host}\nport\n6379\nflags\nmaster\nconfig-epoch\n3\n`;
  const log = {
    'data/appendonlydir/appendonly.aof.manifest': '',
    'data/.ran': 'another',
    'data/redis.pid': '1',
  };
  /** As it answers when it began empty, so many seconds ago. */
  const empty = (seconds: number) => ({
    role: 'master\n0\n',
    dbsize: '0\n',
    'config get syslog-ident': 'syslog-ident\nbegan-empty\n',
    'info server': `run_id:x\r\nuptime_in_seconds:${seconds}\r\n`,
  });

  it('becomes a copy of its replica', async () => {
    const one = start({ 'cart@d2': slaveOf(11) }, { of: pair, files: {} });
    await expect.poll(one.said, waits).toContain('starting as a replica of 10.1.0.12');
    await expect.poll(one.server, waits).toContain('--replica-priority 0');
  }, 30_000);

  it.each<[string, Given['files']]>([
    ['where too few are left to elect', {}],
    ['where it was stopped in order before it had copied', { 'data/.ran': boot, 'data/.lacking': '' }],
  ])('under sentinels as well, %s', { tags: ['long'], timeout: 30_000 }, async (_, files) => {
    const answers = { 'cart@d2': slaveOf(11), 'cart.sentinel@d2': master(11) };
    const one = start(answers, { of: sample({ mode: 'sentinel', timing: 'fast' }), files });
    await expect.poll(one.said, waits).toContain('starting as a replica of 10.1.0.12');
    expect(existsSync(join(one.folder, 'data/.lacking'))).toBe(true);
  });

  it('that came back first is not copied by its replica', async () => {
    const files = { ...log, 'data/.role': '10.1.0.11:6379' };
    const given: Given = { of: pair, name: 'cart@d2', files, age: { 'data/.role': 100 } };
    const one = start({ 'cart@d1': empty(50) }, given);
    await expect.poll(one.server, waits).toContain('--min-replicas-to-write 1');
    expect(one.said()).toContain('10.1.0.11:6379, lost its disk');
    expect(one.server()).not.toContain('--replicaof');
  }, 30_000);

  it('nor under sentinels, which replace it', async () => {
    const files = { ...log, 'data/.copied': '' };
    const given: Given = { of: watched, name: 'cart@d2', files, age: { 'data/.copied': 100 } };
    const one = start({ 'cart@d1': empty(50), 'cart.sentinel@d2': master(11) }, given);
    await expect.poll(one.said, waits).toContain('lost its disk: they are to promote another');
    expect(one.told()).toBe('10.1.0.11:6379 replicaof 10.1.0.12 6379\n');
  }, 30_000);

  it.each([
    ['was copied since it began', { of: pair }, { ...empty(50) }, 10],
    [
      'did not begin with an empty disk',
      { of: pair },
      { ...empty(50), 'config get syslog-ident': 'syslog-ident\nredis\n' },
      100,
    ],
    ['has keys', { of: pair }, { ...empty(50), dbsize: '1\n' }, 100],
    ['does not say how long it has run', { of: pair }, { ...empty(50), 'info server': '' }, 100],
  ])(
    'one that %s is copied: it was emptied, or never had anything',
    async (_, about, answers, age) => {
      const files = { ...log, 'data/.role': '10.1.0.11:6379' };
      const given: Given = { ...about, name: 'cart@d2', files, age: { 'data/.role': age } };
      const one = start({ 'cart@d1': answers }, given);
      await expect.poll(one.said, waits).toContain('starting as a replica of 10.1.0.11:6379');
    },
    30_000,
  );

  it.each([pair, watched])(
    'a new service begins all the same',
    async (about) => {
      const one = start(
        { 'cart.sentinel@d1': 'ERR No such master with that name\n' },
        { of: about, files: {} },
      );
      await expect.poll(one.said, waits).toContain('starting without a master: it is new');
      await expect.poll(one.server, waits).toContain('--syslog-ident began-empty');
    },
    30_000,
  );
});

describe('starts with what was written last, whatever the file says now', () => {
  const alone = (persistence: string) => sample({ replicas: 0, persistence }, 1);
  const list = 'data/appendonlydir/appendonly.aof.manifest';
  const writes = 'data/appendonlydir/appendonly.aof.1.incr.aof';
  const log = { [list]: '', [writes]: '' };
  const both = { ...log, 'data/dump.rdb': '' };
  const marked = (by: string) => ({ ...both, 'data/.unlogged': `${by}\n` });
  const none = '--appendonly no --save 3600 1 300 100 60 10000';
  const older = { [list]: 100, [writes]: 100 };

  it.each<[string, string, Given['files'], Given['age'], string | undefined]>([
    ['aof: a snapshot is all there is', 'aof', { 'data/dump.rdb': '' }, {}, none],
    ['aof: the log', 'aof', { ...both, 'data/.kept': '' }, older, undefined],
    ['aof: a snapshot newer than a log that was no longer written', 'mixed', marked('rdb'), older, none],
    ['aof: a log that was written since', 'aof', marked('rdb'), { 'data/dump.rdb': 100 }, undefined],
    ['rdb: the log', 'rdb', { ...both }, { 'data/dump.rdb': 100 }, '--appendonly yes'],
    ['rdb: a log that was no longer written', 'rdb', marked('rdb'), older, undefined],
    ['rdb: such a log of a Phalanx that did not mark it', 'rdb', both, older, undefined],
    ['none: the log, once', 'none', log, {}, '--appendonly yes'],
    ['none: no log of former times', 'none', marked('none'), {}, undefined],
  ])(
    '%s',
    async (_, persistence, files, age, args) => {
      const one = start({}, { of: alone(persistence), files, age: age ?? {} });
      await expect.poll(one.server, waits).toBeDefined();
      const logs = /--appendonly \w+( --save [\d ]*\d)?/.exec(one.server()!)?.[0];
      expect(logs).toBe(args);
    },
    30_000,
  );

  it('and then is set to the file, once it has read all of it', {
    tags: ['long'],
    timeout: 30_000,
  }, async () => {
    const answers = { 'info persistence': 'loading:0\r\nasync_loading:0\r\n', role: 'master\n0\n' };
    const now = 'config set appendonly yes save ';
    const files = { 'data/dump.rdb': '' };
    const one = start({ 'cart@d1': { ...answers, [now]: 'OK\n' } }, { of: alone('aof'), files });
    await expect.poll(one.told, waits).toContain('10.1.0.11:6379 config set appendonly yes save');
    await expect.poll(() => existsSync(join(one.folder, 'data/.unlogged')), waits).toBe(false);
    const loading = { ...answers, 'info persistence': 'loading:1\r\nasync_loading:0\r\n' };
    const other = start({ 'cart@d1': loading }, { of: alone('aof'), files });
    await expect.poll(other.asked, waits).toBeGreaterThan(1);
    expect(other.told()).toBe('');
  });

  it.each([
    ['aof: it logged then as well', 'aof', 'starting without a master: its replicas follow it'],
    ['rdb: its log may be old', 'rdb', 'its own data is not whole'],
  ])(
    'killed, and never started by a Phalanx that marks logs, %s',
    async (_, persistence, said) => {
      const files = { 'data/.ran': boot, 'data/redis.pid': '1', 'data/.role': 'master', ...log };
      const one = start({ 'cart@d2': slaveOf(11) }, { of: sample({ persistence }, 2), files });
      await expect.poll(one.said, waits).toContain(said);
    },
    30_000,
  );

  it('a master whose log was still being written anew does not lead', async () => {
    const files = {
      ...{ 'data/.ran': boot, 'data/redis.pid': '1', 'data/.role': 'master', [list]: '' },
      'data/appendonlydir/temp-appendonly.aof.incr': '',
    };
    const one = start({ 'cart@d2': slaveOf(11) }, { of: sample({}, 2), files });
    await expect
      .poll(one.said, waits)
      .toContain('starting as a replica of 10.1.0.12:6379: its own data is not whole');
  }, 30_000);
});

describe('a sentinel', () => {
  const memory = [
    'sentinel monitor cart 10.1.0.12 6380 2',
    'sentinel known-replica cart 10.1.0.11 6379',
    'sentinel known-replica cart 10.1.0.11 6380',
    'sentinel known-sentinel cart 10.1.0.11 26379 0123',
    'sentinel down-after-milliseconds cart 5000',
  ];

  /** What it remembers once it is started with another port of the data members than it was, `was` in its folder. */
  function remembered(port: number, was?: number): string[] {
    const now = sample({ mode: 'sentinel', port });
    const folder = mkdtempSync(join(tmpdir(), 'phalanx-sentinel-'));
    mkdirSync(join(folder, 'data'));
    mkdirSync(join(folder, 'bin'));
    const put = (path: string, text: string): void =>
      writeFileSync(join(folder, path), text, { mode: 0o755 });
    put('bin/redis-server', '#!/bin/sh\n');
    put('sentinel.conf', 'port 26379\n');
    put('data/.said', 'port 26379\n');
    put('data/sentinel.conf', `${memory.join('\n')}\n`);
    if (was !== undefined) put('data/.port', `${was}\n`);
    put('start', sentinelStart(now.service, sentinelSeatsOf(now.service, now.cluster)[0]!));
    const env = { PATH: `${folder}/bin:${process.env['PATH']}` };
    // Twice: what was moved once stays where it is.
    for (let n = 0; n < 2; n++) execFileSync('./start', { cwd: folder, env });
    const lines = readFileSync(join(folder, 'data/sentinel.conf'), 'utf8').trimEnd().split('\n');
    rmSync(folder, { recursive: true });
    return lines;
  }

  it('remembers its master also where the port changed while all were stopped', () => {
    const [monitor, first, second, ...rest] = remembered(7000, 6379);
    expect([monitor, first, second]).toEqual([
      'sentinel monitor cart 10.1.0.12 7001 2',
      'sentinel known-replica cart 10.1.0.11 7000',
      'sentinel known-replica cart 10.1.0.11 7001',
    ]);
    expect(rest).toEqual(memory.slice(3));
  });

  it.each([
    ['in general', 6379],
    ['on its first start with a Phalanx that looks at it', undefined],
  ])('leaves two members of a host where they are when the port is the same, %s', (_, was) => {
    expect(remembered(6379, was)).toEqual(memory);
  });
});
