import { spawn } from 'node:child_process';

const lockFile = process.env['PHALANX_LAB_LOCK'] ?? '/run/lock/phalanx-lab-tests';

/**
 * Lab runs on one machine take turns: two at once on two cores would only fail each other's deadlines. The lock is a
 * child's (flock), so that it is free again however this run ends.
 */
export default async function turn(): Promise<() => void> {
  const child = spawn('flock', [lockFile, 'sh', '-c', 'echo mine; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const waiting = setTimeout(() => console.log('waiting for another lab run on this machine to end'), 1000);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', reject);
  });
  clearTimeout(waiting);
  return () => {
    child.stdin.end();
  };
}
