import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Member, Step } from '../../src/engines/engine.ts';
import type { Cluster } from '../../src/file/cluster.ts';
import type { RunResult } from '../../src/hosts/host.ts';
import { Lab } from '../../src/hosts/lab/lab.ts';
import { machine } from '../../src/hosts/machine.ts';

/** A cluster of hosts without services, its files in a folder of its own. `subnet` is the third number of 10.199.N.0/24. */
export function smallCluster(name: string, subnet: number, hosts: string[]): Cluster {
  const home = mkdtempSync(join(tmpdir(), `phalanx-${name}-`));
  return {
    name,
    file: `${home}/phalanx.yaml`,
    folder: home,
    home,
    network: { cidr: `10.199.${subnet}.0/24`, prefix: 24, machine: `10.199.${subnet}.1` },
    hosts: Object.fromEntries(
      hosts.map((host, at) => [
        host,
        {
          name: host,
          kind: 'lab' as const,
          address: `10.199.${subnet}.${at + 11}`,
          root: `${home}/hosts/${host}`,
        },
      ]),
    ),
    services: {},
    secrets: {},
    releases: {},
  };
}

/** Carries out the lab's plan as `up` would: each step as soon as what it needs is done. Gives the steps' ids. */
export async function build(cluster: Cluster): Promise<string[]> {
  const lab = new Lab();
  const { steps, refusals } = lab.plan(cluster, await lab.observe(cluster));
  if (refusals.length > 0) throw new Error(refusals.join('\n'));
  const done = new Map<string, Promise<void>>();
  for (const step of steps)
    done.set(
      step.id,
      perform(
        step,
        step.needs.map((id) => done.get(id)!),
      ),
    );
  await Promise.all(done.values());
  return steps.map(({ id }) => id);
}

async function perform(step: Step, needs: Promise<void>[]): Promise<void> {
  await Promise.all(needs);
  await succeeded(machine.run(scriptOf(step)), step.id);
}

export function scriptOf(step: Step): string {
  if (step.do.kind !== 'machine') throw new Error(`${step.id} is no step of the machine`);
  return step.do.script;
}

export async function succeeded(running: Promise<RunResult>, what: string): Promise<RunResult> {
  const result = await running;
  if (result.exit !== 0) throw new Error(`${what}: exit ${result.exit}: ${result.stderr}`);
  return result;
}

export function member(name: string, command: string, more: Partial<Member> = {}): Member {
  const [service, host] = name.split('@') as [string, string];
  return {
    name,
    service,
    host,
    command,
    env: {},
    files: [],
    limits: {},
    ports: [],
    stop: { signal: 'TERM', timeoutMs: 2_000 },
    data: [],
    kind: 'app',
    ...more,
  };
}

/** Asks again until the condition holds; fails with what it last saw. */
export async function until<T>(
  what: string,
  ask: () => Promise<T> | T,
  holds: (value: T) => boolean,
  ms = 10_000,
) {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await ask();
    if (holds(value)) return value;
    if (performance.now() > deadline)
      throw new Error(`${what}: still ${JSON.stringify(value)} after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
