import { cpSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { get, load, TestCluster } from './cluster.ts';

const hello = resolve(import.meta.dirname, '../../examples/hello');
const vip = '10.172.13.100';
const url = `http://${vip}/who`;

const yaml = (hosts: string, command = 'node server.ts'): string => `
cluster: moving
network: 10.172.13.0/24
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {}, app4: {} }
services:
  web:
    type: app
    hosts: [${hosts}]
    release: hello
    command: ${command}
    port: 8080
    check: { http: /healthz, interval: 100ms, timeout: 500ms }
    drain: 2s
    start: 6s
  front:
    type: director
    hosts: [lb1, lb2]
    vip: ${vip}
    listen:
      - { port: 80, to: web, scheduler: rr, forward: nat }
`;

const cluster = new TestCluster(yaml('app1, app2'));
cpSync(hello, join(cluster.folder, 'hello'), { recursive: true });

async function served(): Promise<string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < 12; i++) seen.add((JSON.parse((await get(url)).body) as { member: string }).member);
  return [...seen].sort();
}

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('an app changes its hosts', () => {
  it('all of them at once under load, and no request is lost', async () => {
    cluster.write(yaml('app3, app4'));
    const clients = load(url, 8);
    const out = await cluster.must('up');
    const { ok, failures } = await clients.stop();
    expect(failures).toEqual([]);
    expect(ok).toBeGreaterThan(200);
    expect(out.indexOf('done ready web@app4')).toBeLessThan(out.indexOf('done stop web@app1'));
    expect(await served()).toEqual(['web@app3', 'web@app4']);
    expect(await cluster.must('up')).toContain('nothing to do');
    expect((await cluster.status()).rows.filter((row) => row.health !== 'ok')).toEqual([]);
  });

  it('to hosts on which it does not come up: those that are to leave go on, run after run, until it does', async () => {
    cluster.write(yaml('app1, app2', 'node missing.ts'));
    for (let run = 0; run < 2; run++) {
      const { exit, out } = await cluster.run(['up']);
      expect(exit, out).toBe(1);
      expect(out).toMatch(/FAILED ready web@app1/);
      expect(await served()).toEqual(['web@app3', 'web@app4']);
    }
    cluster.write(yaml('app1, app2'));
    const clients = load(url, 8);
    await cluster.must('up');
    expect((await clients.stop()).failures).toEqual([]);
    expect(await served()).toEqual(['web@app1', 'web@app2']);
  });

  it('to fewer under load, and no request is lost', async () => {
    cluster.write(yaml('app1'));
    const clients = load(url, 8);
    await cluster.must('up');
    expect((await clients.stop()).failures).toEqual([]);
    expect(await served()).toEqual(['web@app1']);
    expect((await cluster.status()).rows.filter((row) => row.health !== 'ok')).toEqual([]);
  });
});
