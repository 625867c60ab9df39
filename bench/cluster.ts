import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Stage } from './stage.ts';

const phalanx = resolve(import.meta.dirname, '../phalanx');

/** A cluster that a bench builds with the real command, and that is gone when the bench ends. */
export class BenchCluster {
  readonly name: string;
  readonly file: string;
  readonly #stage: Stage;
  #running: Promise<unknown> = Promise.resolve();

  constructor(stage: Stage, name: string, yaml: string) {
    this.#stage = stage;
    this.name = name;
    this.file = join(stage.folder, `${name}.yaml`);
    writeFileSync(this.file, yaml);
    stage.after(async () => {
      await this.#running;
      await this.phalanx('down', '--purge');
    });
  }

  /** Removes what a bench that was killed may have left, then builds it. */
  async up(): Promise<void> {
    await this.phalanx('down', '--purge');
    this.#stage.say(`building cluster ${this.name}`);
    await this.must('up');
  }

  async must(...args: string[]): Promise<{ out: string; ms: number }> {
    this.#stage.going();
    const { exit, out, ms } = await this.phalanx(...args);
    if (exit !== 0) throw new Error(`phalanx ${args.join(' ')} ended with ${exit}:\n${out}`);
    return { out, ms };
  }

  /** Runs the command as a user would: the whole process, from its start to its end. Out of the terminal's reach, so that Ctrl-C cannot cut `down` short. */
  phalanx(...args: string[]): Promise<{ exit: number; out: string; ms: number }> {
    const began = performance.now();
    const run = new Promise<{ exit: number; out: string; ms: number }>((done, reject) => {
      const child = spawn(phalanx, [...args, '-f', this.file], {
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      let out = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => {
          out += chunk;
        });
      child.on('error', reject);
      child.on('close', (exit) => done({ exit: exit ?? -1, out, ms: performance.now() - began }));
    });
    this.#running = run.catch(() => undefined);
    return run;
  }

  /** The network namespace of a host, and of the switch between them. */
  namespace(host?: string): string {
    return host === undefined ? `phalanx.${this.name}` : `phalanx.${this.name}.${host}`;
  }

  /** The words before a command that make it run on a host's network. */
  on(host: string): [string, string[]] {
    return ['nsenter', [`--net=/run/netns/${this.namespace(host)}`]];
  }

  /** A script on a host's network. */
  inside(host: string, script: string): Promise<string> {
    const [enter, words] = this.on(host);
    return this.#stage.run(enter, [...words, 'sh', '-euc', script]);
  }
}
