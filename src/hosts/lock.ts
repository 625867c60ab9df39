import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { quote } from './shell.ts';

/** Held until `release`, or until this process ends in whatever way: the kernel frees it. */
export interface Lock {
  release(): Promise<void>;
}

/** Another command holds the lock; its process id, where it could be read. */
export interface Held {
  heldBy: number;
}

/**
 * Takes the lock at the path, or tells at once who has it. A child holds it (flock(1)) for as long as our end of its standard
 * input is open, so that kill -9 of us frees it. The file stays: removing a locked file would let two hold "it".
 * Rejects when there is no such file and none can be made.
 */
export async function lockFile(path: string): Promise<Lock | Held> {
  mkdirSync(dirname(path), { recursive: true });
  // The holder's pid goes into the file, after the lock is had; `exec` so that no shell stays behind `cat`. The pid is for a
  // sentence only: on a disk that is full or read-only the lock is had without it.
  const hold = `{ echo ${process.pid} >${quote(path)}; } 2>/dev/null; echo locked && exec cat >/dev/null`;
  return new Promise((resolve, reject) => {
    // flock -o would close the lock before the command: it must not be given. Detached: Ctrl-C is for us, who then release.
    const child = spawn('flock', ['-n', '-E', '75', path, 'sh', '-c', hold], {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.stdin.on('error', () => {});
    // Not `close`: that waits for the pipes, which keep nothing alive, and this process would end before it.
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    child.once('error', reject);
    child.once('close', (exit) => {
      if (exit === 75) resolve({ heldBy: holderIn(path) });
      else
        reject(new Error(`the lock ${path} cannot be had: ${stderr.trim() || `flock ended with ${exit}`}`));
    });
    child.stdout.once('data', () => {
      // A lock that is not released must not keep a finished command alive.
      child.unref();
      for (const stream of [child.stdin, child.stdout, child.stderr])
        (stream as unknown as { unref(): void }).unref();
      resolve({
        release() {
          child.ref();
          child.stdin.end();
          return ended;
        },
      });
    });
  });
}

/** The process id in the file; 0 where none could be written. */
function holderIn(path: string): number {
  try {
    return Number.parseInt(readFileSync(path, 'utf8'), 10) || 0;
  } catch {
    return 0;
  }
}
