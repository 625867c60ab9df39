import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentStatus, ServerStatus } from '../../src/engines/director/agent/status.ts';
import { get, load, TestCluster, until } from './cluster.ts';
import { accessOf, javaClient } from './zookeeper-client.ts';

const vip = '10.164.2.100';
const server = resolve(import.meta.dirname, '../../examples/hello/server.ts');
const voters = ['data1', 'data2', 'data3'];

const yaml = (apps: string[], register = 'register: locks'): string => `
cluster: zkareg
network: 10.164.2.0/24
hosts: { lb1: {}, ${apps.map((host) => `${host}: {}`).join(', ')}, data1: {}, data2: {}, data3: {} }
services:
  web:
    type: app
    hosts: [${apps.join(', ')}]
    command: node ${server}
    port: 8080
    check: { http: /healthz, interval: 200ms }
    drain: 1s
    uses: [locks]
    ${register}
  front:
    type: director
    hosts: [lb1]
    vip: ${vip}
    listen: [{ port: 80, to: web, scheduler: rr }]
  locks: { type: zookeeper, hosts: [data1, data2, data3], timing: fast }
`;

const three = ['app1', 'app2', 'app3'];
const cluster = new TestCluster(yaml(three));
const folder = (host: string, name: string): string =>
  `/var/lib/phalanx/zkareg/hosts/${host}/members/${name}@${host}`;
/** To the member's supervisor: -p freezes, -c thaws, -k kills, -d stops for good, -u starts. */
const tell = (word: string, host: string, name: string): string =>
  execFileSync('s6-svc', [word, `${folder(host, name)}/service`], { encoding: 'utf8' });

function agent(): { agent: AgentStatus; servers: ServerStatus[] } {
  const [first, ...rest] = readFileSync(`${folder('lb1', 'front.agent')}/status.jsonl`, 'utf8')
    .trim()
    .split('\n');
  return {
    ...(JSON.parse(first!) as { agent: AgentStatus }),
    servers: rest.map((line) => JSON.parse(line) as ServerStatus),
  };
}
/** Hosts that connections go to, as the packets have it. */
const pool = (): string[] => agent().servers.flatMap(({ up, server }) => (up ? [server.split('@')[1]!] : []));
const poolIs = (hosts: string[], ms?: number) =>
  until(`the pool is ${hosts.join(', ')}`, async () => `${pool()}` === `${hosts}`, ms);
const why = (host: string): string =>
  agent().servers.find(({ server }) => server === `web@${host}`)!.why ?? '';
/** Every pool that there is until `stop`, each once. */
function watching(): { stop(): Promise<string[]> } {
  const seen = new Set<string>();
  let on = true;
  const work = (async () => {
    for (; on; await wait(10)) seen.add(pool().join(' '));
  })();
  return {
    async stop() {
      on = false;
      await work;
      return [...seen];
    },
  };
}
const addressOf = (host: string): string =>
  (
    JSON.parse(readFileSync('/var/lib/phalanx/zkareg/addresses.json', 'utf8')) as Record<
      string,
      { address: string }
    >
  )[host]!.address;

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('a registry', { timeout: 180_000 }, () => {
  it('has a node for each member, which anybody may see and only the application may touch', async () => {
    await poolIs(three);
    const url = accessOf('zkareg', 'locks', voters).url;
    const said = await javaClient({ url, auth: '' }, [
      'ls /registry/web',
      'get /registry/web/web@app1',
      'delete /registry/web/web@app1',
    ]);
    expect(said).toContain('[web@app1, web@app2, web@app3]');
    expect(said).toContain(`{"address":"${addressOf('app1')}","port":8080}`);
    expect(said).toMatch(/Insufficient permission|NoAuth/);
    expect(pool()).toEqual(three);
  });

  it('a lost session takes its member out, though the member answers every check; a new one brings it back', async () => {
    tell('-p', 'app2', 'web.registrar');
    await poolIs(['app1', 'app3']);
    expect(why('app2')).toContain('not registered');
    expect((await get(`http://${addressOf('app2')}:8080/healthz`)).status).toBe(200);
    const row = (await cluster.status()).rows.find(({ name }) => name === 'tcp-80 web@app2')!;
    expect(row).toMatchObject({ health: 'down', why: expect.stringContaining('not registered') });
    tell('-c', 'app2', 'web.registrar');
    await poolIs(three);
  });

  it('a registrar that dies or is replaced takes nobody out', async () => {
    const watch = watching();
    const process = () => readFileSync(`${folder('app1', 'web.registrar')}/state`, 'utf8');
    const before = process();
    tell('-k', 'app1', 'web.registrar');
    await until(
      'another holds the node',
      async () => process() !== before && process().startsWith('registered'),
    );
    expect(await watch.stop()).toEqual([three.join(' ')]);
  });

  it('a member that stops leaves the registry, and comes back with its check', async () => {
    tell('-d', 'app3', 'web');
    await poolIs(['app1', 'app2']);
    const { url } = accessOf('zkareg', 'locks', voters);
    await until('its node is gone', async () =>
      (await javaClient({ url, auth: '' }, ['ls /registry/web'])).includes('[web@app1, web@app2]'),
    );
    tell('-u', 'app3', 'web');
    await poolIs(three);
  });

  it('a ZooKeeper leader that dies or hangs changes nothing in the pool', async () => {
    const watch = watching();
    for (const [word, mend] of [
      ['-k', ''],
      ['-p', '-c'],
    ] as const) {
      const leader = async () =>
        (await cluster.status()).rows.find(({ service, role }) => service === 'locks' && role === 'leader')
          ?.host;
      const first = await until('somebody leads', leader);
      tell(word, first, 'locks');
      await until('another leads', async () => {
        const now = await leader();
        return now !== undefined && now !== first;
      });
      await until('the registry is followed', async () => agent().agent.errors.length === 0);
      if (mend) tell(mend, first, 'locks');
      await until('healthy', async () => (await cluster.status()).health === 'healthy', 60_000);
    }
    expect(await watch.stop()).toEqual([three.join(' ')]);
  });

  it('without the ensemble the pool is the last known, checks go on, and so it is for an agent that starts then', async () => {
    for (const host of ['data1', 'data2']) tell('-d', host, 'locks');
    await until('it is told', async () => agent().agent.errors[0]?.includes('last known'));
    expect(pool()).toEqual(three);
    tell('-d', 'app1', 'web');
    await poolIs(['app2', 'app3']);
    tell('-u', 'app1', 'web');
    await poolIs(three);
    const { pid } = agent().agent;
    tell('-k', 'lb1', 'front.agent');
    await until('another agent', async () => agent().agent.pid !== pid && agent().agent.errors.length > 0);
    const watch = watching();
    for (const host of ['data1', 'data2']) tell('-u', host, 'locks');
    await until('healthy', async () => (await cluster.status()).health === 'healthy', 60_000);
    expect(await watch.stop()).toEqual([three.join(' ')]);
    tell('-p', 'app2', 'web.registrar');
    await poolIs(['app1', 'app3']);
    tell('-c', 'app2', 'web.registrar');
    await poolIs(three);
  });

  it('a new member is behind the VIP, and a change rolls through without a lost request', async () => {
    const clients = load(`http://${vip}/who`, 4);
    cluster.write(yaml([...three, 'app4']));
    await cluster.must('up');
    await poolIs([...three, 'app4']);
    cluster.write(yaml([...three, 'app4']).replace('drain: 1s', 'drain: 1s\n    env: { GREETING: hello }'));
    await cluster.must('up');
    const { ok, failures } = await clients.stop();
    expect(failures).toEqual([]);
    expect(ok).toBeGreaterThan(100);
    cluster.write(yaml(three));
    await cluster.must('up');
    await poolIs(three);
  });

  it('taken out of the file and put back, it never leaves a server out; without it a registrar decides nothing', async () => {
    const watch = watching();
    cluster.write(yaml(three, ''));
    await cluster.must('up');
    expect((await cluster.status()).rows.some(({ role }) => role === 'registrar')).toBe(false);
    const { url } = accessOf('zkareg', 'locks', voters);
    await until('every node is gone', async () =>
      /^\[\]$/m.test(await javaClient({ url, auth: '' }, ['ls /registry/web'])),
    );
    expect(pool()).toEqual(three);
    cluster.write(yaml(three));
    await cluster.must('up');
    expect(await watch.stop()).toEqual([three.join(' ')]);
    expect((await cluster.status()).health).toBe('healthy');
  });
});
