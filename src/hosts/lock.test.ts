import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Held, type Lock, lockFile } from './lock.ts';

function path(): string {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-lock-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'deep/er/lock');
}

function held(answer: Lock | Held): Lock {
  if ('heldBy' in answer) throw new Error(`held by ${answer.heldBy}`);
  return answer;
}

test('one at a time; the second is told who; released, it is free', async () => {
  const at = path();
  const first = held(await lockFile(at));
  expect(await lockFile(at)).toEqual({ heldBy: process.pid });
  await first.release();
  const second = held(await lockFile(at));
  await second.release();
});

test('kill -9 of the holder frees it', { tags: ['long'] }, async () => {
  const at = path();
  const holder = spawn(
    process.execPath,
    [
      '-e',
      `import(${JSON.stringify(join(import.meta.dirname, 'lock.ts'))}).then(async ({ lockFile }) => { await lockFile(${JSON.stringify(at)}); console.log('locked'); setInterval(() => {}, 1e6); })`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  expect(await lockFile(at)).toEqual({ heldBy: holder.pid });
  holder.kill('SIGKILL');
  await new Promise((resolve) => holder.once('exit', resolve));
  let answer = await lockFile(at);
  for (let passes = 0; 'heldBy' in answer && passes < 100; passes += 1) answer = await lockFile(at);
  await held(answer).release();
});

test('a process with nothing else to do lives until it has released, also when the pipes to the holder close late', {
  tags: ['long'],
}, async () => {
  const at = path();
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-lock-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  // What stays behind has the pipes for a moment longer than flock itself.
  writeFileSync(join(folder, 'flock'), '#!/bin/sh\nsleep 0.5 &\necho locked\nexec cat >/dev/null\n', {
    mode: 0o755,
  });
  const source = `
    const { lockFile } = await import(${JSON.stringify(join(import.meta.dirname, 'lock.ts'))});
    await (await lockFile(${JSON.stringify(at)})).release();
    console.log('released');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: `${folder}:${process.env['PATH']}` },
  });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const [exit] = await once(child, 'close');
  expect({ exit, said }).toEqual({ exit: 0, said: 'released\n' });
});

test('a lock that cannot be is an error that names it', async () => {
  await expect(lockFile('/etc/passwd/lock')).rejects.toThrow('/etc/passwd');
  await expect(lockFile('/proc/phalanx-lock')).rejects.toThrow('the lock /proc/phalanx-lock cannot be had');
});

test('it is had also where the pid of its holder cannot be written: the disk is full, or read-only', async () => {
  // Nobody can write into a folder, not even root; flock(1) locks it all the same.
  const at = mkdtempSync(join(tmpdir(), 'phalanx-lock-'));
  onTestFinished(() => rmSync(at, { recursive: true }));
  const first = held(await lockFile(at));
  expect(await lockFile(at)).toEqual({ heldBy: 0 });
  await first.release();
  await held(await lockFile(at)).release();
});
