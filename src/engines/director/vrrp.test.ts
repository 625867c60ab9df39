import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostNow } from './agent/fit.ts';
import { forgetFit, hostNowSh, keepalivedConfig, priorityOf, type Vrrp, vridOf } from './vrrp.ts';

/** keepalived looks for the interface even when it only tests a configuration, and takes no loopback. */
const device = Object.keys(networkInterfaces()).find((name) => name !== 'lo') ?? 'eth0';

const vrrp = (part: Partial<Vrrp> = {}): Vrrp => ({
  cluster: 'shop',
  service: 'front',
  host: 'lb2',
  address: '10.77.0.2',
  hosts: ['lb1', 'lb2'],
  vips: ['10.77.0.100', 'fd77::100'],
  device,
  advertMs: 50,
  preempt: false,
  ...part,
});

/** What keepalived itself says of a configuration: empty when it has nothing against it. */
function complaints(config: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-vrrp-'));
  const path = join(folder, 'keepalived.conf');
  writeFileSync(path, config);
  try {
    execFileSync('keepalived', ['-t', '-P', '-f', path], { stdio: 'pipe' });
    return '';
  } catch (error) {
    return String((error as { stderr: Buffer }).stderr);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('keepalived itself has nothing against it', { tags: ['long'] }, () => {
  expect(complaints(keepalivedConfig(vrrp()))).toBe('');
  expect(complaints(keepalivedConfig(vrrp({ preempt: true, unicast: ['10.77.0.1'], fit: '/tmp/fit' })))).toBe(
    '',
  );
  expect(complaints(keepalivedConfig(vrrp({ vips: ['fd77::100'] })))).toBe('');
  const six = { vips: ['fd77::100'], address: 'fd77::2' };
  expect(complaints(keepalivedConfig(vrrp({ ...six, unicast: ['fd77::1'] })))).toBe('');
  expect(complaints(keepalivedConfig(vrrp({ ...six, unicast: ['10.77.0.1'] })))).not.toBe('');
  const many = Array.from({ length: 40 }, (_, n) => `10.77.1.${n + 1}`);
  expect(complaints(keepalivedConfig(vrrp({ vips: many })))).toBe('');
  expect(complaints('vrrp_instance x {\n  prioritty 3\n}\n')).not.toBe('');
});

test('VIPs of both families are one instance, so that they move together', () => {
  const text = keepalivedConfig(vrrp());
  expect(text.match(/vrrp_instance/g)).toHaveLength(1);
  expect(text).toContain(`  virtual_ipaddress {\n    10.77.0.100/32 dev ${device}\n  }\n`);
  expect(text).toContain(`  virtual_ipaddress_excluded {\n    fd77::100/128 dev ${device} -nodad\n  }\n`);
});

test('nobody starts as the owner, and only with preempt is the VIP taken back', () => {
  expect(keepalivedConfig(vrrp())).toMatch(/state BACKUP[\s\S]*nopreempt/);
  expect(keepalivedConfig(vrrp({ preempt: true }))).toMatch(/state BACKUP/);
  expect(keepalivedConfig(vrrp({ preempt: true }))).not.toContain('nopreempt');
});

test('priorities fall in the order of the file, and all differ', () => {
  const few = ['lb1', 'lb2', 'lb3'];
  expect(few.map((host) => priorityOf(host, few))).toEqual([250, 230, 210]);
  const many = Array.from({ length: 100 }, (_, n) => `lb${n}`);
  const priorities = many.map((host) => priorityOf(host, many));
  expect(new Set(priorities).size).toBe(100);
  expect(priorities).toEqual([...priorities].sort((a, b) => b - a));
  expect(() => priorityOf('lb9', few)).toThrow(/lb9/);
});

test('a virtual router id is the same for ever and in its range', () => {
  expect(vridOf('shop', 'front')).toBe(vridOf('shop', 'front'));
  const ids = Array.from({ length: 2000 }, (_, n) => vridOf(`shop${n}`, 'front'));
  expect(Math.min(...ids)).toBeGreaterThanOrEqual(1);
  expect(Math.max(...ids)).toBeLessThanOrEqual(255);
  expect(new Set(ids).size).toBeGreaterThan(240);
});

test('adverts are centiseconds', () => {
  expect(keepalivedConfig(vrrp({ advertMs: 50 }))).toContain('advert_int 0.05\n');
  for (const advertMs of [0, 5, 15, 41_000])
    expect(() => keepalivedConfig(vrrp({ advertMs }))).toThrow(/multiples of 10 ms/);
});

test("keepalived begins unfit after a boot, and keeps the agent's word while the host runs", {
  tags: ['long'],
}, () => {
  const sh = (script: string) => execFileSync('sh', ['-uc', script], { encoding: 'utf8' });
  expect(sh(`echo ${hostNowSh}`)).toBe(`${hostNow()}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-fit-'));
  const fitAfter = (host: string): string => {
    writeFileSync(join(folder, 'fit'), '0\n');
    writeFileSync(join(folder, 'fit.host'), `${host}\n`);
    sh(forgetFit(folder));
    return readFileSync(join(folder, 'fit'), 'utf8');
  };
  expect(fitAfter(hostNow())).toBe('0\n');
  expect(fitAfter('another boot')).toBe('1\n');
  // keepalived is there before the agent's folder.
  rmSync(folder, { recursive: true });
  expect(sh(`${forgetFit(folder)}; echo on`)).toBe('on\n');
});
