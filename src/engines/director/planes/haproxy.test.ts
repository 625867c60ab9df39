import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { AgentConfig, Listen, RealServer, Scheduler, ServerState } from '../tables.ts';
import { haproxyConfig, haproxyRefuses, haproxyWeights, serverName } from './haproxy.ts';

const server = (n: number, weight = 1): RealServer => ({
  name: `web@app${n}`,
  host: `app${n}`,
  address: `127.0.0.${n}`,
  port: 8080,
  checkPort: 8080,
  weight,
});

const listen = (part: Partial<Listen> = {}): Listen => ({
  name: 'tcp-80',
  proto: 'tcp',
  ports: [80, 80],
  plane: 'haproxy',
  forward: 'nat',
  scheduler: 'rr',
  hashPort: false,
  persistenceMs: 0,
  idleMs: 900_000,
  servers: [server(1), server(2)],
  sorry: [],
  check: { kind: 'tcp', intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 },
  ...part,
});

const config = (...listens: Listen[]): AgentConfig => ({
  cluster: 'shop',
  service: 'front',
  host: 'lb1',
  address: '127.0.0.1',
  peers: [],
  syncPort: 7600,
  vips: ['127.0.0.100', 'fd00::100'],
  listens,
});

const states = (...weights: number[]): ServerState[] =>
  weights.map((weight, n) => ({ server: server(n + 1), weight, up: true, sorry: false }));

test('haproxy itself takes the configuration, with every scheduler, a range, persistence and sorry servers', {
  tags: ['long'],
}, () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-haproxy-'));
  const schedulers: Scheduler[] = ['rr', 'wrr', 'lc', 'wlc', 'sh', 'mh', 'fo'];
  const listens = schedulers.map((scheduler, n) =>
    listen({ name: `tcp-${80 + n}`, ports: [18080 + n, 18080 + n], scheduler }),
  );
  const { port: _port, ...anyPort } = server(1);
  listens.push(
    listen({ name: 'tcp-18100-18110', ports: [18100, 18110], servers: [anyPort] }),
    listen({
      name: 'tcp-18200',
      ports: [18200, 18200],
      persistenceMs: 300_000,
      sorry: [server(1), server(9)],
    }),
  );
  writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(config(...listens)));
  expect(() =>
    execFileSync('haproxy', ['-c', '-f', 'haproxy.cfg'], { cwd: folder, stdio: 'pipe' }),
  ).not.toThrow();
  rmSync(folder, { recursive: true });
});

test('only listens whose plane is haproxy are rendered', () => {
  const text = haproxyConfig(config(listen(), listen({ name: 'tcp-81', plane: 'nftables' })));
  expect(text).toContain('listen tcp_80\n');
  expect(text).not.toContain('tcp_81');
});

test('both families of VIP are bound before they are owned, and servers carry their weights', () => {
  const text = haproxyConfig(config(listen({ scheduler: 'wrr', servers: [server(1, 3), server(2)] })));
  expect(text).toContain('  bind 127.0.0.100:80 transparent\n  bind [fd00::100]:80 transparent v6only\n');
  expect(text).toContain('  server web:app1 127.0.0.1:8080 id 1 weight 3\n');
});

test('what haproxy cannot hold names the plane that can', () => {
  expect(haproxyRefuses(listen({ proto: 'udp' }))).toContain('nftables');
  expect(haproxyRefuses(listen({ scheduler: 'sed' }))).toContain('nftables');
  expect(haproxyRefuses(listen({ scheduler: 'mh', hashPort: true }))).toContain('nftables');
  expect(haproxyRefuses(listen({ scheduler: 'mh' }))).toBeUndefined();
  expect(() => haproxyConfig(config(listen({ scheduler: 'ovf' })))).toThrow(/ovf.*nftables/);
});

test('names become such as haproxy takes, and no two names become one', () => {
  expect(serverName('front.haproxy@lb-1')).toBe('front.haproxy:lb-1');
  const names = ['a@b', 'a:b', 'a_b', 'a_40_b', 'a/b', 'ä@b'];
  const mapped = names.map(serverName);
  for (const name of mapped) expect(name).toMatch(/^[A-Za-z0-9._:-]+$/);
  expect(new Set(mapped).size).toBe(names.length);
});

test('weights keep their proportion within 256; rr and lc know none; zero stays zero', () => {
  const weights = (scheduler: Scheduler, ...w: number[]) => [
    ...haproxyWeights(listen({ scheduler }), states(...w)).values(),
  ];
  expect(weights('wrr', 3, 1, 0)).toEqual([3, 1, 0]);
  expect(weights('wlc', 65535, 6553, 1)).toEqual([256, 26, 1]);
  expect(weights('rr', 5, 1, 0)).toEqual([1, 1, 0]);
  expect(weights('fo', 5, 9, 9)).toEqual([0, 1, 0]);
});

test('fo falls over to the next when the heaviest is down', () => {
  const down = states(5, 9, 7);
  down[1]!.up = false;
  expect([...haproxyWeights(listen({ scheduler: 'fo' }), down).values()]).toEqual([0, 0, 1]);
});
