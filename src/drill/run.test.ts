import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Engines } from '../cluster/observe.ts';
import type { Drills } from '../engines/drill.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import { type DrillOrder, runDrill, type World } from './run.ts';
import { troublesNow } from './steady.ts';
import { exitOf } from './verdict.ts';

// A drill's baseline and tail alone are five seconds.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phalanx-run-'));
  writeFileSync(join(folder, 'cluster.yaml'), 'cluster: made-up\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A service that is there in this process only. */
class MadeUp {
  held: number[] = [];
  struck = false;
  healed = false;
  /** What a fault does to it, and healing. */
  serves = (): boolean => !this.struck;

  drills(): Drills {
    return {
      client: 'made up',
      models: { set: {} },
      replicas: ['one'],
      load: { rate: 500, clients: 4, mix: { add: 1 } },
      roles: ['one'],
      standard: ['freeze-one'],
      forMs: 500,
      versions: {},
      aim: () => ({ host: 'h1', member: 'cart@h1' }),
      unserved: () => (this.serves() ? [] : ['nobody answers']),
      open: async () => ({
        groupOf: () => undefined,
        invoke: async ({ v }) => {
          if (!this.serves()) return { type: 'fail', error: 'nobody answers' };
          this.held.push(v as number);
          return { type: 'ok' };
        },
        finals: async () => [
          { member: 'one', model: 'set', role: 'authority', group: '', holds: { values: this.held } },
        ],
        close: async () => undefined,
      }),
    };
  }
}

function world(services: Record<string, { of: MadeUp; promise?: Service['promise'] }>): World {
  const cluster = {
    name: 'made-up',
    file: join(folder, 'cluster.yaml'),
    home: folder,
    network: { cidr: '192.0.2.0/24', prefix: 24, machine: '192.0.2.254' },
    hosts: { h1: { name: 'h1', kind: 'ssh', root: folder, address: '192.0.2.1' } },
    services: Object.fromEntries(
      Object.entries(services).map(([name, { promise }]) => [
        name,
        { name, type: name, hosts: ['h1'], uses: [], ...(promise ? { promise } : {}) },
      ]),
    ),
  } as unknown as Cluster;
  const engines = Object.fromEntries(
    Object.entries(services).map(([name, { of }]) => [
      name,
      { drills: async () => of.drills(), packages: () => [], members: () => [] },
    ]),
  ) as unknown as Engines;
  // The host is none that is really there.
  const away = { name: 'h1', run: () => Promise.reject(new HostUnreachable('h1', 'not there')) };
  const reach = { host: () => away } as unknown as Reach;
  return {
    ...{ cluster, engines, reach, base: join(folder, 'drills'), versions: {}, meant: ['h1'] },
    say: () => undefined,
    signal: new AbortController().signal,
  };
}

const order = (one: World, cart: MadeUp, wholeMs: number): DrillOrder => ({
  service: one.cluster.services['cart']!,
  drills: cart.drills(),
  aimed: {
    name: 'freeze-one',
    role: 'one',
    fault: {
      does: 'freezes',
      member: true,
      inject: async () => {
        cart.struck = true;
      },
      evidence: async () => 'struck',
      heal: async () => {
        cart.healed = true;
      },
    },
  } as unknown as DrillOrder['aimed'],
  forMs: 500,
  seed: 1,
  accepted: [],
  wholeMs,
});

test('a service that never comes back was away for at least as long as was waited: broken, and its members are read', {
  tags: ['long'],
}, async () => {
  for (const promise of [{ rto: 1_000, lostWrites: 0 }, undefined]) {
    const cart = new MadeUp();
    const one = world({ cart: { of: cart, ...(promise ? { promise } : {}) } });
    const { verdict } = await runDrill(one, order(one, cart, 4_000));
    expect(verdict.recovery).toMatchObject({ atLeast: true });
    // Struck for half a second, waited for 4 s, and 2 s more.
    expect(verdict.recovery.rtoMs).toBeGreaterThan(6_000);
    expect(verdict.result).toBe('invalid');
    expect(verdict.why[0]).toBe('clients were not served again');
    expect(verdict.why[1]).toBe('not whole again within 4 s of healing: nobody answers');
    expect(verdict.why).toHaveLength(2);
    expect(verdict.lost).toBe(0);
    expect(exitOf(verdict)).toBe(4);
    expect(verdict.promise.result).toBe(promise ? 'broken' : null);
    rmSync(one.base, { recursive: true });
  }
});

test('another service that goes after the healing is told, with all that was found of the drilled one', {
  tags: ['long'],
}, async () => {
  const cart = new MadeUp();
  cart.serves = () => !cart.struck || cart.healed;
  const sessions = new MadeUp();
  sessions.serves = () => !cart.healed;
  const one = world({ cart: { of: cart }, sessions: { of: sessions, promise: { rto: 100 } } });
  const { verdict } = await runDrill(one, order(one, cart, 30_000));
  expect(verdict.why).toEqual(['sessions, which was not the target, is broken: nobody answers']);
  expect(verdict).toMatchObject({ lost: 0, recovery: { atLeast: false } });
  expect(verdict.recovery.rtoMs).toBeGreaterThan(400);
  expect(exitOf(verdict)).toBe(5);
});

test('who waits for an answer is not served yet, whatever else is well', { tags: ['long'] }, async () => {
  const cart = new MadeUp();
  let back = Number.POSITIVE_INFINITY;
  cart.serves = () => !cart.struck || cart.healed;
  const drills = cart.drills();
  const { open } = drills;
  drills.open = async (run) => {
    const client = await open(run);
    return {
      ...client,
      // What is sent from the fault until four seconds after the healing hangs until then, and is given up.
      async invoke(operation) {
        if (!cart.struck || performance.now() > back) return client.invoke(operation);
        while (performance.now() < back) await sleep(20);
        return { type: 'info', error: 'timeout' };
      },
    };
  };
  const one = world({ cart: { of: cart } });
  const { aimed, ...rest } = order(one, cart, 20_000);
  const heal = async (): Promise<void> => {
    cart.healed = true;
    back = performance.now() + 4_000;
  };
  // The rest of the cluster is accepted as it is; clients are waited for all the same.
  const { troubles } = await troublesNow(one.cluster, one.engines, one.reach);
  const { verdict } = await runDrill(one, {
    ...rest,
    drills,
    aimed: { ...aimed, fault: { ...aimed.fault, heal } },
    accepted: troubles,
  });
  expect(verdict.faults[0]!.wholeMs! - verdict.faults[0]!.healedMs!).toBeGreaterThan(4_000);
  expect(verdict.recovery.atLeast).toBe(false);
  expect(verdict.recovery.rtoMs).toBeGreaterThan(4_400);
  expect(verdict.result).toBe('valid');
});
