import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastingKind } from '../../src/drill/lasting.ts';
import { TestCluster } from './cluster.ts';
import { type Drilled, drill } from './drills.ts';

const server = resolve(import.meta.dirname, 'stream-server.ts');
const cluster = new TestCluster(`
cluster: drllast
network: 10.172.10.0/24
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {} }
services:
  web:
    type: app
    hosts: [app1, app2]
    command: ${process.execPath} ${server}
    port: 8080
    check: { http: /, interval: 100ms, timeout: 300ms, fall: 2 }
    drill: { download: /large, websocket: /live }
  front:
    type: director
    hosts: [lb1, lb2]
    vip: 10.172.10.100
    listen: [{ port: 80, to: web, scheduler: rr, forward: nat }]
    promise: { rto: 5s }
`);

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

const of = ({ verdict, out }: Drilled, kind: LastingKind) => {
  const found = verdict.lasting?.find((one) => one.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} in the verdict:\n${out}`);
  return found;
};

describe('long downloads and websockets through the VIP', () => {
  it('survive a takeover: the other director knows them', async () => {
    const drilled = await drill(cluster, 'front', 'cut-owner', '--for', '2s', '--seed', '7');
    expect(drilled.exit, drilled.out).toBe(0);
    for (const kind of ['downloads', 'websockets'] as const) {
      const { struck, survived, brokenOutside } = of(drilled, kind);
      expect(struck, drilled.out).toBeGreaterThan(3);
      expect([survived, brokenOutside], drilled.out).toEqual([struck, 0]);
    }
    expect(drilled.out).toContain('8 of 8 websockets survived');
  });

  it('are cut with their server, counted, and soon back at another one', async () => {
    const html = join(cluster.folder, 'report.html');
    const drilled = await drill(
      cluster,
      'front',
      'power-off-app',
      '--for',
      '3s',
      '--seed',
      '7',
      '--html',
      html,
    );
    const downloads = of(drilled, 'downloads');
    expect(downloads.survived, drilled.out).toBeLessThan(downloads.struck);
    const { struck, survived, longestAwayMs, notBack } = of(drilled, 'websockets');
    expect(struck).toBe(8);
    // Half of them were at the other server.
    expect(survived, drilled.out).toBeGreaterThan(0);
    expect(survived, drilled.out).toBeLessThan(8);
    expect(notBack, drilled.out).toBe(0);
    expect(longestAwayMs, drilled.out).toBeGreaterThan(0);
    expect(readFileSync(html, 'utf8')).toContain(
      `${survived} of 8 websockets survived; those cut were back after`,
    );
  });
});
