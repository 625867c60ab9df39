import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { needReleases, openSession, packReleases, type Session, takeDevices } from './session.ts';

/** A file whose cluster is kept in a folder of the test, with these machines. */
function known(yaml: string, machines: object): string {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-session-'));
  const home = process.env['PHALANX_HOME'];
  process.env['PHALANX_HOME'] = folder;
  onTestFinished(() => {
    if (home === undefined) delete process.env['PHALANX_HOME'];
    else process.env['PHALANX_HOME'] = home;
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, 'prod'));
  writeFileSync(join(folder, 'prod/machines.json'), JSON.stringify(machines));
  const file = join(folder, 'prod.yaml');
  writeFileSync(file, yaml);
  return file;
}

const services = 'services: { web: { type: app, hosts: [d1], command: sleep infinity, port: 8080 } }';

it('a lab of the same name as a cluster of real machines is refused: all of them would be hosts that left', async () => {
  const file = known(`cluster: prod\nhosts: { d1: {} }\n${services}\n`, {
    p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' },
  });
  await expect(openSession(file)).rejects.toThrow('runs on real machines (p1)');
});

it("the interface that holds a machine's address is the one that it tells now, not the one that is remembered", () => {
  const session = {
    cluster: { hosts: { p1: { name: 'p1', kind: 'ssh', device: 'eth0' } } },
    kept: { machines: { p1: { ssh: 'root@p1', address: '192.0.2.1', device: 'eth0' } } },
  } as unknown as Session;
  expect(takeDevices(session, { p1: { device: 'eth0' } })).toBe(false);
  expect(takeDevices(session, { p1: { device: 'ens18' }, gone: { device: 'eth7' } })).toBe(true);
  expect(session.cluster.hosts['p1']!.device).toBe('ens18');
  expect(session.kept.machines).toEqual({
    p1: { ssh: 'root@p1', address: '192.0.2.1', device: 'ens18' },
  });
  takeDevices(session, { p1: {} });
  expect(session.cluster.hosts['p1']!.device).toBe('ens18');
});

it('a release folder that is not there stops what ships it, and nothing else', async () => {
  const file = known(
    `cluster: prod
hosts: { p1: { ssh: root@192.0.2.1 } }
services: { web: { type: app, hosts: [p1], release: gone, command: ./web, port: 8080 } }
`,
    { p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' } },
  );
  const session = await openSession(file);
  expect(session.cluster.releases).toEqual({});
  for (const ships of [packReleases, needReleases])
    expect(() => ships(session)).toThrow(/service web: the release folder .*\/gone does not exist/);
});
