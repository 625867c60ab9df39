import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Cluster } from '../../src/file/cluster.ts';
import { HostUnreachable } from '../../src/hosts/host.ts';
import {
  cutCable,
  freeze,
  heal,
  machineSide,
  mendCable,
  partition,
  powerOff,
  powerOn,
  thaw,
} from '../../src/hosts/lab/faults.ts';
import { Lab } from '../../src/hosts/lab/lab.ts';
import { machine } from '../../src/hosts/machine.ts';
import { reachOf } from '../../src/hosts/reach.ts';
import { build, scriptOf, smallCluster, until } from './small-cluster.ts';

const lab = new Lab();
const clusters: Cluster[] = [];

function cluster(name: string, subnet: number, hosts: string[]): Cluster {
  const made = smallCluster(name, subnet, hosts);
  clusters.push(made);
  return made;
}

afterEach(async () => {
  for (const made of clusters.splice(0)) {
    await lab.destroy(made, { purge: true });
    rmSync(made.home, { recursive: true, force: true });
  }
});

/** Whether `from` hears `to`: a closed port answers with a refusal, an unreachable host not at all. */
async function hears(made: Cluster, from: string, to: string): Promise<boolean> {
  const script = `timeout 1 bash -c '</dev/tcp/${made.hosts[to]!.address}/9' 2>&1 | grep -q refused`;
  return (await reachOf(made).host(from).run(script)).exit === 0;
}

async function machineHears(made: Cluster, to: string): Promise<boolean> {
  const script = `timeout 1 bash -c '</dev/tcp/${made.hosts[to]!.address}/9' 2>&1 | grep -q refused`;
  return (await machine.run(script)).exit === 0;
}

/** What of any lab of these tests the machine's kernel knows. */
function traces(): Record<string, string[]> {
  const lines = (command: string, words: string[]) =>
    execFileSync(command, words, { encoding: 'utf8' }).split('\n');
  const mine = (line: string) => /phalanx\.hb|phx-hb|phalanx-hb/.test(line);
  return {
    namespaces: readdirSync('/run/netns').filter(mine),
    links: lines('ip', ['-o', 'link']).filter(mine),
    mounts: lines('cat', ['/proc/mounts']).filter(mine),
    processes: lines('ps', ['-eo', 'args']).filter(mine),
  };
}

describe('a cluster of lab hosts', () => {
  let one: Cluster;
  beforeEach(async () => {
    one = cluster('hbone', 1, ['a', 'b', 'a-host-with-a-very-long-name']);
    await build(one);
  });

  test('is there, each host by its own name and address, and a second plan has nothing to do', async () => {
    const observed = await lab.observe(one);
    expect(lab.plan(one, observed)).toEqual({ steps: [], refusals: [] });
    const run = await reachOf(one)
      .host('a')
      .run(
        `hostname; ip -o -4 addr show dev eth0; getent hosts b; ps -e -o comm= | head -n 1; echo '{"x":1}'`,
      );
    expect(run.lines).toEqual([{ x: 1 }]);
    const [name, address, b, init] = run.text.split('\n');
    expect(name).toBe('a');
    expect(address).toContain('10.199.1.11/24');
    expect(b).toMatch(/^10\.199\.1\.12\s+b$/);
    expect(init).toBe('s6-svscan');
    expect(await hears(one, 'a', 'a-host-with-a-very-long-name')).toBe(true);
    expect(await machineHears(one, 'b')).toBe(true);
  });

  test('a second cluster beside it disturbs nothing, and removing it neither', async () => {
    const two = cluster('hbtwo', 2, ['a', 'b']);
    await build(two);
    expect(await hears(two, 'a', 'b')).toBe(true);
    expect(await hears(one, 'a', 'b')).toBe(true);
    const init = (await lab.observe(one)).hosts['a']!.init;
    await lab.destroy(two);
    expect((await lab.observe(two)).hosts).toEqual({});
    expect((await lab.observe(one)).hosts['a']!.init).toBe(init);
    expect(await hears(one, 'a', 'b')).toBe(true);
  });

  test('a cluster that wants the same addresses is refused, and told who has them', async () => {
    const thief = cluster('hbthief', 1, ['x']);
    const plan = lab.plan(thief, await lab.observe(thief));
    expect(plan.steps).toEqual([]);
    expect(plan.refusals).toEqual([
      `network 10.199.1.0/24 is already used by cluster hbone (interface phx-hbone): set network: in ${thief.file}`,
    ]);
  });

  test('a cluster of the same name from another home is refused, and nothing that it is told to do touches the first', async () => {
    const two = cluster('hbone', 4, ['a', 'b']);
    const init = (await lab.observe(one)).hosts['a']!.init!;
    const observed = await lab.observe(two);
    expect(observed.hosts).toEqual({});
    const { steps, refusals } = lab.plan(two, observed);
    expect(steps).toEqual([]);
    expect(refusals).toEqual([
      expect.stringContaining(`cluster hbone stands on this machine already, from ${one.home}`),
    ]);
    for (const attempt of [
      () => lab.destroy(two, { purge: true }),
      () => heal(two),
      () => powerOn(two, 'a'),
      () => powerOff(two, 'a'),
    ])
      await expect(attempt()).rejects.toThrow('stands on this machine already');
    // Nor does a cluster of this name that has only real machines take it for hosts that left.
    const real = { ...two, hosts: {} };
    expect(lab.plan(real, await lab.observe(real))).toEqual({ steps: [], refusals: [] });
    await lab.destroy(real);
    expect((await lab.observe(one)).hosts['a']!.init).toBe(init);
    expect(await hears(one, 'a', 'b')).toBe(true);
  });

  test('a lab from before its uplink told of the home is ours, also to remove', async () => {
    const init = (await lab.observe(one)).hosts['a']!.init!;
    execFileSync('ip', ['link', 'set', 'dev', 'phx-hbone', 'alias', 'phalanx hbone']);
    expect(lab.plan(one, await lab.observe(one))).toEqual({ steps: [], refusals: [] });
    await powerOff(one, 'b');
    expect(await build(one)).toEqual(['boot host b']);
    expect((await lab.observe(one)).hosts['a']!.init).toBe(init);
    await lab.destroy(one);
    expect(traces()).toEqual({ namespaces: [], links: [], mounts: [], processes: [] });
  });

  test('powered off: unreachable, nothing of it runs; powered on: back', async () => {
    const host = reachOf(one).host('a');
    const init = (await lab.observe(one)).hosts['a']!.init!;
    await host.run('setsid sleep 1000 >/dev/null 2>&1 &');
    expect(traces().processes?.length).toBeGreaterThan(0);
    await powerOff(one, 'a');
    await expect(host.run('true')).rejects.toThrow(HostUnreachable);
    await expect(host.run('true')).rejects.toThrow('a: is down');
    expect(existsSync(`/proc/${init}/ns/net`)).toBe(false);
    expect(execFileSync('ip', ['netns', 'pids', 'phalanx.hbone.a'], { encoding: 'utf8' })).toBe('');
    const { steps } = lab.plan(one, await lab.observe(one));
    expect(steps.map(({ id }) => id)).toEqual(['boot host a']);
    await powerOn(one, 'a');
    expect((await host.run('true')).exit).toBe(0);
  });

  test('power lost in the middle of a script: unreachable, not a failed script', async () => {
    const host = reachOf(one).host('a');
    const running = host.run(`echo '{"begun":true}'; sleep 100`, { onLine: () => void powerOff(one, 'a') });
    await expect(running).rejects.toThrow('a: went down meanwhile');
  });

  test('a script that does not answer in time is ended with all it started', async () => {
    const host = reachOf(one).host('a');
    await expect(host.run('sleep 4711 & wait', { timeoutMs: 200 })).rejects.toThrow(
      'a: no answer within 200 ms',
    );
    await until(
      'the script is gone',
      async () => (await host.run('ps -e -o args=')).text,
      (text) => !text.includes('4711'),
    );
  });

  test('a cut cable is a cut cable, until it is mended; up mends it too', async () => {
    await cutCable(one, 'a');
    expect(await hears(one, 'b', 'a')).toBe(false);
    expect(await machineHears(one, 'a')).toBe(false);
    expect(
      (await reachOf(one).host('a').run('cat /sys/class/net/eth0/carrier; ip -o link show eth0')).text,
    ).toContain('NO-CARRIER');
    await mendCable(one, 'a');
    await until('b hears a', () => hears(one, 'b', 'a'), Boolean);
    await cutCable(one, 'a');
    expect(await build(one)).toEqual(['mend host a']);
    await until('b hears a', () => hears(one, 'b', 'a'), Boolean);
  });

  test('frozen: nothing of it runs and it is unreachable; thawed: it goes on where it was', async () => {
    const host = reachOf(one).host('a');
    await host.run('setsid sh -c "while :; do echo x >>/run/ticks; sleep 0.01; done" >/dev/null 2>&1 &');
    const ticks = async () => (await host.run('wc -l </run/ticks')).text;
    await until('it ticks', ticks, (text) => Number(text) > 3);
    await freeze(one, 'a');
    await expect(host.run('true')).rejects.toThrow('a: is frozen');
    const states = execFileSync(
      'sh',
      ['-c', 'ps -o stat= -p $(ip netns pids phalanx.hbone.a | paste -sd,)'],
      {
        encoding: 'utf8',
      },
    );
    expect(
      states
        .trim()
        .split('\n')
        .every((state) => state.startsWith('T')),
    ).toBe(true);
    expect((await lab.observe(one)).hosts['a']).toMatchObject({ up: false, frozen: true });
    await thaw(one, 'a');
    const before = Number(await ticks());
    await until('it ticks again', ticks, (text) => Number(text) > before);
  });

  test('frozen while it starts processes all the time: whoever waits for a child in vfork stops as well', async () => {
    const host = reachOf(one).host('a');
    // Each freeze finds each of them there about once in a hundred times.
    const spawning = 'setsid sh -c "while [ ! -e /run/enough ]; do /bin/true; done" >/dev/null 2>&1 &';
    await host.run(`for each in 1 2 3 4 5 6 7 8; do ${spawning} done`);
    for (let round = 0; round < 80; round++) {
      await freeze(one, 'a');
      await thaw(one, 'a');
    }
    await host.run('touch /run/enough');
  });

  test('a frozen host can be powered off', async () => {
    await freeze(one, 'a');
    await powerOff(one, 'a');
    expect((await lab.observe(one)).hosts['a']).toMatchObject({ up: false, frozen: false });
  });

  test('a partition cuts between its groups only, is seen by the next plan, and healed', async () => {
    const third = 'a-host-with-a-very-long-name';
    await partition(one, [
      ['a', machineSide],
      ['b', third],
    ]);
    expect(await hears(one, 'a', 'b')).toBe(false);
    expect(await hears(one, third, 'a')).toBe(false);
    expect(await hears(one, 'b', third)).toBe(true);
    expect(await machineHears(one, 'a')).toBe(true);
    expect(await machineHears(one, 'b')).toBe(false);
    const { steps } = lab.plan(one, await lab.observe(one));
    expect(steps.map(({ id }) => id)).toEqual(['mend network']);
    await heal(one);
    await until('a hears b', () => hears(one, 'a', 'b'), Boolean);
    expect(lab.plan(one, await lab.observe(one)).steps).toEqual([]);
  });

  test('a host that left the file is removed before its address is given to another', async () => {
    const next: Cluster = {
      ...one,
      hosts: { a: one.hosts['a']!, c: { ...one.hosts['b']!, name: 'c', root: `${one.home}/hosts/c` } },
    };
    const steps = await build(next);
    // The two removals run side by side: which ends first is nobody's promise.
    expect(steps.slice(0, 2).sort()).toEqual(['remove host a-host-with-a-very-long-name', 'remove host b']);
    expect(steps.slice(2)).toEqual(['name network', 'create host c', 'boot host c']);
    expect(Object.keys((await lab.observe(next)).hosts).sort()).toEqual(['a', 'c']);
    expect((await reachOf(next).host('a').run('getent hosts c')).text).toContain('10.199.1.12');
    expect(await hears(next, 'a', 'c')).toBe(true);
  });

  test('what somebody broke by hand is repaired, and only that', async () => {
    const b = (await lab.observe(one)).hosts['b']!.init;
    execFileSync('ip', ['link', 'del', 'phx-hbone']);
    expect(await build(one)).toEqual(['create network']);
    expect(await machineHears(one, 'b')).toBe(true);
    execFileSync('ip', ['netns', 'del', 'phalanx.hbone.a']);
    expect(await build(one)).toEqual(['create host a', 'boot host a']);
    expect(await hears(one, 'b', 'a')).toBe(true);
    rmSync(`${one.hosts['a']!.root}/init.pid`);
    expect(await build(one)).toEqual(['create host a', 'boot host a']);
    expect((await lab.observe(one)).hosts['b']!.init).toBe(b);
  });

  test('down leaves no process, namespace, interface or mount; and twice is once', async () => {
    expect(traces().namespaces).toHaveLength(4);
    await freeze(one, 'a');
    await lab.destroy(one);
    expect(traces()).toEqual({ namespaces: [], links: [], mounts: [], processes: [] });
    expect(existsSync(`${one.hosts['a']!.root}/members`)).toBe(true);
    await lab.destroy(one, { purge: true });
    expect(readdirSync(one.home)).toEqual([]);
  });
});

test('building killed anywhere: the next run finishes it', async () => {
  const made = cluster('hbkill', 3, ['a', 'b', 'c']);
  const { steps } = lab.plan(made, await lab.observe(made));
  const all = steps
    .map(scriptOf)
    .map((script) => `( ${script} )`)
    .join(' && ');
  let killed = 0;
  for (let ms = 4; ms < 400; ms += 26) {
    await lab.destroy(made);
    const child = spawn('sh', ['-s'], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    child.stdin.on('error', () => {});
    child.stdin.end(all);
    const ended = new Promise((resolve) => child.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, ms));
    // Every second time only the shell itself, so that what it started lives on beside the next run.
    try {
      process.kill(ms % 52 === 4 ? child.pid! : -child.pid!, 'SIGKILL');
    } catch {
      break;
    }
    await ended;
    killed += 1;
    await build(made);
    expect(lab.plan(made, await lab.observe(made)).steps, `killed after ${ms} ms`).toEqual([]);
    expect(await hears(made, 'a', 'c')).toBe(true);
    expect(await machineHears(made, 'b')).toBe(true);
  }
  expect(killed).toBeGreaterThan(3);
});
