import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Member } from '../../engines/engine.ts';
import { startFragment } from './run.ts';
import { unitName, unitText, userOf, writeUnit } from './systemd.ts';

const root = '/var/lib/phalanx/shop';
const web: Member = {
  name: 'web@app1',
  service: 'web',
  host: 'app1',
  command: 'node server.ts',
  env: {},
  files: [],
  limits: { memory: 268_435_456, openFiles: 5000 },
  ports: [],
  stop: { signal: 'TERM', timeoutMs: 1500 },
  data: [],
  kind: 'app',
};
const agent: Member = { ...web, name: 'front.agent@lb1', service: 'front', user: 'root', limits: {} };

test('a unit says which cluster it is of, and who it runs as', () => {
  expect(unitName(web, root)).toBe('phalanx-shop-web@app1.service');
  expect(userOf(web, root)).toBe('phx-shop-web');
  expect(userOf(agent, root)).toBe('root');
  const long = userOf(
    { service: 'a-service-with-a-long-name' },
    '/var/lib/phalanx/a-cluster-with-a-long-name',
  );
  expect(long).toMatch(/^[a-z][a-z0-9-]{1,30}$/);
});

test('limits and walls are in the unit', () => {
  const text = unitText(web, root);
  for (const line of [
    'MemoryMax=268435456',
    'LimitNOFILE=5000',
    'User=phx-shop-web',
    'ProtectSystem=strict',
    'NoNewPrivileges=yes',
    'KillSignal=SIGTERM',
    'TimeoutStopSec=1500ms',
  ])
    expect(text.split('\n')).toContain(line);
  const privileged = unitText(agent, root).split('\n');
  expect(privileged).toContain('ProtectSystem=full');
  expect(privileged).toContain('NoNewPrivileges=yes');
  expect(privileged.some((line) => line.startsWith('User='))).toBe(false);
});

// systemd's own opinion, where it is installed.
test.runIf(spawnSync('systemd-analyze', ['--version']).status === 0)(
  'systemd takes the units as they are',
  { tags: ['long'] },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'phalanx-units-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const member of [web, agent]) {
      const path = join(folder, unitName(member, root));
      // Programs have to be there to be verified.
      writeFileSync(path, unitText(member, root).replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'));
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
    }
  },
);

test('scripts for a real machine are sh, and a lab host is never asked what supervises it', () => {
  for (const script of [writeUnit(web, root), startFragment(web, root)])
    execFileSync('sh', ['-n'], { input: script });
  expect(startFragment(web, root)).toContain('/run/systemd/system');
  expect(startFragment(web, '/var/lib/phalanx/shop/hosts/app1')).not.toContain('systemd');
});
