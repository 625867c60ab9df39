import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Engines } from '../cluster/observe.ts';
import type { Drills } from '../engines/drill.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { type DrillOrder, runDrill, type World } from './run.ts';
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
    hosts: { h1: { name: 'h1', kind: 'lab' } },
    services: Object.fromEntries(
      Object.entries(services).map(([name, { promise }]) => [
        name,
        { name, type: name, hosts: ['h1'], uses: [], ...(promise ? { promise } : {}) },
      ]),
    ),
  } as unknown as Cluster;
  const engines = Object.fromEntries(
    Object.entries(services).map(([name, { of }]) => [name, { drills: async () => of.drills() }]),
  ) as unknown as Engines;
  return {
    ...{ cluster, engines, reach: {} as Reach, base: join(folder, 'drills'), versions: {}, meant: [] },
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
    const { verdict } = await runDrill(one, order(one, cart, 1_500));
    expect(verdict.recovery).toMatchObject({ atLeast: true });
    // Struck for half a second, waited for 1.5 s, and 2 s more.
    expect(verdict.recovery.rtoMs).toBeGreaterThan(3_500);
    expect(verdict.result).toBe('invalid');
    expect(verdict.why[0]).toBe('clients were not served again');
    expect(verdict.why[1]).toBe('not whole again within 1.5 s of healing: nobody answers');
    expect(verdict.why).toHaveLength(2);
    expect(verdict.lost).toBe(0);
    expect(exitOf(verdict)).toBe(4);
    expect(verdict.promise.result).toBe(promise ? 'broken' : null);
    rmSync(one.base, { recursive: true });
  }
});

test('another service that goes after the healing is told', { tags: ['long'] }, async () => {
  const cart = new MadeUp();
  const sessions = new MadeUp();
  sessions.serves = () => !cart.healed;
  const one = world({ cart: { of: cart }, sessions: { of: sessions, promise: { rto: 100 } } });
  const { verdict } = await runDrill(one, order(one, cart, 30_000));
  expect(verdict.why[0]).toBe(
    'the drill was aborted: sessions, which was not the target, is broken: nobody answers',
  );
  expect(exitOf(verdict)).toBe(5);
});
