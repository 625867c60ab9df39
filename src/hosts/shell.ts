import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { RunOptions, RunResult } from './host.ts';

/** The word as POSIX sh takes it literally, whatever is in it (but NUL, which no word can hold). */
export function quote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The script ran longer than it was given; its whole process group has been killed. */
export class ShellTimeout extends Error {
  override name = 'ShellTimeout';
  timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** Every script that does not say otherwise has this long. */
export const defaultTimeoutMs = 30_000;

/**
 * Starts `argv` (a program that ends in `sh -s`: sh itself, nsenter ... sh, ssh HOST sh) and gives it the script on
 * standard input. The script is one compound command, so that half of it, after a cut line, runs not at all; and what it
 * starts reads /dev/null rather than the rest of the script.
 *
 * Rejects with ShellTimeout after timeoutMs, and with the signal's reason when aborted; then the whole process
 * group is killed, so that no grandchild holds us up. Any exit status is a result: 128 + n for a signal.
 */
export function runShell(
  argv: string[],
  script: string,
  options: RunOptions = {},
  env: NodeJS.ProcessEnv = process.env,
): Promise<RunResult> {
  const { timeoutMs = defaultTimeoutMs, onLine, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: 'pipe', env });
    const answer = new Answer(onLine);
    let settled = false;
    const settle = (end: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      end();
    };
    const giveUp = (reason: unknown) =>
      settle(() => {
        killGroup(child.pid);
        for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
        reject(reason);
      });
    const abort = () => giveUp(signal?.reason);
    const timer = setTimeout(() => giveUp(new ShellTimeout(timeoutMs)), timeoutMs);
    signal?.addEventListener('abort', abort);

    child.stdout.setEncoding('utf8').on('data', (chunk: string) => answer.take(chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      answer.stderr += chunk;
    });
    child.on('error', (error) => settle(() => reject(error)));
    child.on('close', (code, by) =>
      settle(() => resolve(answer.end(code ?? 128 + (by ? constants.signals[by] : 0)))),
    );
    // A shell that ends early closes its end: its exit status says why, the broken pipe does not.
    child.stdin.on('error', () => {});
    child.stdin.end(`{\n${script}\n} </dev/null\nexit $?\n`);
  });
}

/** SIGKILL to everything that a process which was started `detached` has started; nothing where it never began. */
export function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/** Sorts standard output into JSON objects and other text, line by line as it arrives; `stderr` is for its owner to fill. */
export class Answer {
  stderr = '';
  #lines: Record<string, unknown>[] = [];
  #text: string[] = [];
  #rest = '';
  #onLine: ((line: unknown) => void) | undefined;

  constructor(onLine: ((line: unknown) => void) | undefined) {
    this.#onLine = onLine;
  }

  take(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
  }

  end(exit: number): RunResult {
    if (this.#rest !== '') this.#line(this.#rest);
    this.#rest = '';
    return { exit, lines: this.#lines, text: this.#text.join('\n'), stderr: this.stderr };
  }

  #line(line: string): void {
    const value = line.startsWith('{') ? parsed(line) : undefined;
    if (value === undefined) {
      this.#text.push(line);
      return;
    }
    this.#lines.push(value);
    this.#onLine?.(value);
  }
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
