import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How a run was asked for. */
export interface Options {
  /** Few and short runs: shows that a bench works, its figures mean nothing. */
  quick: boolean;
  /** What takes long as well: ten minutes of looking for false takeovers. */
  long: boolean;
}

/** What a bench runs on: its options, its folder, its processes, and what undoes all it has made. */
export class Stage {
  readonly options: Options;
  readonly folder = mkdtempSync(join(tmpdir(), 'phalanx-bench-'));
  readonly #name: string;
  readonly #undo: (() => unknown)[] = [];
  #closing: Promise<void> | undefined;
  #stopped = false;

  constructor(name: string, options: Options) {
    this.#name = name;
    this.options = options;
    this.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  say(line: string): void {
    console.error(`[${this.#name}] ${line}`);
  }

  /** Done when the bench ends, however it ends; the last given is done first. */
  after(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** Makes the bench's next step throw: somebody wants to leave. */
  stop(): void {
    this.#stopped = true;
  }

  /** Between the steps of a bench: throws when it has been stopped. */
  going(): void {
    if (this.#stopped) throw new Error('stopped');
  }

  /** A command's standard output. Rejects with what it said when it fails or takes longer than `ms`. */
  run(command: string, args: string[], ms = 120_000): Promise<string> {
    this.going();
    return new Promise((resolve, reject) => {
      execFile(command, args, { timeout: ms, maxBuffer: 1 << 24 }, (error, out, err) => {
        if (error)
          reject(new Error(`${command} ${args.join(' ')}: ${err.trim() || out.trim() || error.message}`));
        else resolve(out);
      });
    });
  }

  /** A shell script on the machine, stopped at its first failure. */
  sh(script: string): Promise<string> {
    return this.run('sh', ['-euc', script]);
  }

  /** A process that is killed, and waited for, when the bench ends. Signals of the terminal do not reach it. */
  start(command: string, args: string[], output: 'pipe' | 'ignore' = 'pipe'): ChildProcess {
    this.going();
    const child = spawn(command, args, { stdio: ['pipe', output, 'inherit'], detached: true });
    child.on('error', (error) => this.say(`${command}: ${error.message}`));
    this.after(() => ended(child, 'SIGKILL'));
    return child;
  }

  /** A network namespace of that name, made anew, its loopback up; gone when the bench ends. */
  async namespace(name: string): Promise<void> {
    const remove = `ip netns del ${name} 2>/dev/null || true`;
    await this.sh(`${remove}; ip netns add ${name}; ip -n ${name} link set lo up`);
    this.after(() => spawnedAndDone('ip', ['netns', 'del', name]));
  }

  close(): Promise<void> {
    this.#stopped = true;
    this.#closing ??= (async () => {
      for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
        try {
          await undo();
        } catch (error) {
          this.say(`clearing up: ${(error as Error).message}`);
        }
      }
    })();
    return this.#closing;
  }
}

/** Sends the signal to a process of `start`, and to all that it started, if it still runs; resolves when it has ended. */
export function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
    return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    // The whole group: a server's workers must not outlive it.
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // It ended in this moment; its exit is on the way.
    }
  });
}

function spawnedAndDone(command: string, args: string[]): Promise<void> {
  return new Promise((resolve) => {
    spawn(command, args, { stdio: 'ignore', detached: true }).once('close', () => resolve());
  });
}
