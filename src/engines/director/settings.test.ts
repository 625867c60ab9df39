import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine, HostSetting, Member } from '../engine.ts';
import { type DirectorSpec, schema } from './schema.ts';
import { directorSettings } from './settings.ts';

/** What the host of the only director must have set, for these VIPs and listens; or that of its real server. */
function settings(vip: string[], listen: object, at = 'h1', name = 'front'): HostSetting[] {
  const host = (n: number) => ({
    name: `h${n}`,
    kind: 'lab',
    address: `10.0.0.${n}`,
    address6: `fd00::${n}`,
    root: '',
  });
  const director: Service<DirectorSpec> = {
    name,
    type: 'director',
    hosts: ['h1'],
    uses: [],
    spec: schema.parse({ vip, listen: [{ port: 80, to: 'web', ...listen }] }),
  };
  const web: Service = { name: 'web', type: 'app', hosts: ['h2'], uses: [], spec: {} };
  const member = { name: 'web@h2', host: 'h2', ports: [{ proto: 'tcp', port: 80 }] } as Member;
  const cluster = { name: 'c', hosts: { h1: host(1), h2: host(2) }, services: { [name]: director, web } };
  const engine = { members: () => [member] } as unknown as Engine;
  return directorSettings(director, cluster as unknown as Cluster, () => engine).filter(
    (setting) => setting.host === at,
  );
}
const six = (vip: string[], listen: object): HostSetting | undefined =>
  settings(vip, listen).find(({ title }) => title === 'IPv6 forwarding on');

test('a director with an IPv6 VIP forwards IPv6 where the kernel is what forwards', () => {
  const both = ['10.0.0.100', 'fd00::100'];
  for (const listen of [{}, { forward: 'nat', plane: 'ipvs' }, { forward: 'fullnat' }]) {
    expect(six(both, listen), JSON.stringify(listen)).toBeDefined();
    expect(six(['10.0.0.100'], listen)).toBeUndefined();
  }
  for (const listen of [{ forward: 'dr' }, { forward: 'nat', plane: 'nftables' }, { plane: 'haproxy' }])
    expect(six(both, listen), JSON.stringify(listen)).toBeUndefined();
});

test('a director that has another name now needs the same of its real servers, by the same titles', () => {
  const of = (name: string) =>
    settings(['10.0.0.100', 'fd00::100'], { forward: 'nat' }, 'h2', name).map(({ title, undo }) => ({
      title,
      undo,
    }));
  expect(of('edge')).toEqual(of('front'));
  expect(of('edge')).toHaveLength(4);
});

test('a host that begins to forward IPv6 goes on hearing its routers, and is left as it was', () => {
  const root = mkdtempSync(join(tmpdir(), 'phalanx-settings-'));
  const conf = join(root, 'proc/sys/net/ipv6/conf');
  const write = (name: string, value: string) => {
    mkdirSync(dirname(join(conf, name)), { recursive: true });
    writeFileSync(join(conf, name), `${value}\n`);
  };
  const now = () =>
    Object.fromEntries(
      readdirSync(conf).map((name) => [name, readFileSync(join(conf, name, 'accept_ra'), 'utf8').trim()]),
    );
  const sh = (script: string) =>
    execFileSync('sh', [
      '-euc',
      script.replaceAll('/proc/sys', `${root}/proc/sys`).replaceAll('/run/', `${root}/run/`),
    ]);
  const forwarding = () => readFileSync(join(conf, 'all/forwarding'), 'utf8').trim();
  const before = { all: '1', default: '1', eth0: '1', 'eth0.5': '1', eth1: '0', eth2: '2' };
  for (const [name, value] of Object.entries(before)) write(`${name}/accept_ra`, value);
  write('all/forwarding', '0');
  mkdirSync(join(root, 'run'));
  const { apply, undo, check } = six(['fd00::100'], { forward: 'fullnat' })!;

  expect(() => sh(check)).toThrow();
  // Also where that is done twice.
  for (const _time of [1, 2]) {
    sh(apply);
    sh(check);
    expect(forwarding()).toBe('1');
    expect(now()).toEqual({ ...before, eth0: '2', 'eth0.5': '2' });
  }
  sh(undo);
  expect(forwarding()).toBe('0');
  expect(now()).toEqual(before);
  expect(readdirSync(join(root, 'run'))).toEqual([]);

  // Who forwarded before hears no router, and is to hear none.
  write('all/forwarding', '1');
  sh(apply);
  expect(now()).toEqual(before);
  sh(undo);
  expect(forwarding()).toBe('1');
  rmSync(root, { recursive: true });
});
