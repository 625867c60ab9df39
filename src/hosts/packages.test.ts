import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { machine } from './machine.ts';
import { guard, installScript, missing, missingPackages, unguard } from './packages.ts';

let policy: string;
beforeEach(() => {
  policy = join(mkdtempSync(join(tmpdir(), 'phalanx-policy-')), 'policy-rc.d');
});
afterEach(() => rmSync(dirname(policy), { recursive: true }));

const own = () => `${policy}.phalanx-own`;

test('what is missing is named, in the order asked for; what is installed is not', async () => {
  expect(await missingPackages(['phalanx-is-no-package', 'coreutils', 'no-such.thing+1', 'dpkg'])).toEqual([
    'phalanx-is-no-package',
    'no-such.thing+1',
  ]);
  expect(await missingPackages([])).toEqual([]);
  expect(() => missing(['x; rm -rf /'])).toThrow('is no name of a Debian package');
});

test('nothing missing: apt is not even asked', async () => {
  const asked = `${policy}-asked`;
  const fake = `mkdir ${policy}-bin; cd ${policy}-bin
for name in apt-get apt-cache; do printf '#!/bin/sh\\necho "$@" >>${asked}\\n' >$name; chmod 755 $name; done
PATH=${policy}-bin:$PATH`;
  expect((await machine.run(`${fake}\n${installScript(['coreutils', 'dpkg'])}`)).exit).toBe(0);
  expect(existsSync(asked)).toBe(false);
});

test('lists that could not all be fetched, of which apt only warns, are fetched once more', {
  tags: ['long'],
}, async () => {
  const fake = `mkdir ${policy}-bin; cd ${policy}-bin
printf '#!/bin/sh\ncase "$*" in *update*) echo >>updates ;; *install*) echo "installs after $(wc -l <updates)" >&2; exit 100 ;; esac\n' >apt-get
printf '#!/bin/sh\\n[ "$(cat updates 2>/dev/null | wc -l)" -ge 2 ] && is=1.0 || is="(none)"; echo "phalanx-is-no-package:"; echo "  Candidate: $is"\\n' >apt-cache
printf '#!/bin/sh\n' >systemctl
chmod 755 *
PATH=${policy}-bin:$PATH`;
  const script = installScript(['phalanx-is-no-package']).replaceAll('/usr/sbin/policy-rc.d', policy);
  const { exit, stderr } = await machine.run(`${fake}\n${script}`);
  expect(exit).toBe(1);
  expect(stderr).toContain('installs after 2');
});

test('while it installs no service is started; afterwards there is no policy', async () => {
  const script = `${guard(policy)}\nsh ${policy} redis-server start; echo "$?"\n${unguard(policy)}`;
  expect((await machine.run(script)).text).toBe('101');
  expect(existsSync(policy)).toBe(false);
});

test("the user's own policy is put back as it was, and meanwhile not asked", async () => {
  writeFileSync(policy, '#!/bin/sh\nexit 104\n', { mode: 0o755 });
  const script = `${guard(policy)}\n${policy} x start; echo "$?"\n${unguard(policy)}\n${policy} x start; echo "$?"`;
  expect((await machine.run(script)).text).toBe('101\n104');
  expect(existsSync(own())).toBe(false);
});

test('killed in the middle: the policy left behind forbids nothing, asks the own one, and the next run clears it away', {
  tags: ['long'],
}, async () => {
  await machine.run(`${guard(policy)}\nkill -9 $$`);
  expect((await machine.run(`${policy} x start; echo "$?"`)).text).toBe('0');
  expect((await machine.run(`${guard(policy)}\n${unguard(policy)}`)).exit).toBe(0);
  expect(existsSync(policy)).toBe(false);

  writeFileSync(policy, '#!/bin/sh\nexit 104\n', { mode: 0o755 });
  await machine.run(`${guard(policy)}\nkill -9 $$`);
  expect((await machine.run(`${policy} x start; echo "$?"`)).text).toBe('104');
  await machine.run(`${guard(policy)}\nkill -9 $$`);
  await machine.run(`${guard(policy)}\n${unguard(policy)}`);
  expect(readFileSync(policy, 'utf8')).toBe('#!/bin/sh\nexit 104\n');
  expect(existsSync(own())).toBe(false);
});
