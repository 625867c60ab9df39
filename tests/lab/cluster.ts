import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const checkout = resolve(import.meta.dirname, '../..');

export interface Run {
  exit: number;
  out: string;
}

/** A cluster of its own for a test: the file, the real command, and its removal at the end. */
export class TestCluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'phalanx-test-'));
  readonly file = join(this.folder, 'cluster.yaml');

  constructor(yaml: string) {
    this.write(yaml);
  }

  write(yaml: string): void {
    writeFileSync(this.file, yaml);
  }

  /** Runs `phalanx ARGS -f FILE`; output of both kinds together. Kills the command after `killAfterMs`, or when it has said `killWhen`, if given; Ctrl-C when it has said `interruptWhen`. */
  run(
    args: string[],
    options: { killAfterMs?: number; killWhen?: RegExp; interruptWhen?: RegExp } = {},
  ): Promise<Run> {
    return new Promise((done, reject) => {
      const child = spawn(join(checkout, 'phalanx'), [...args, '-f', this.file], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      let interrupted = false;
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => {
          out += chunk;
          if (options.killWhen?.test(out)) child.kill('SIGKILL');
          if (!interrupted && options.interruptWhen?.test(out)) interrupted = child.kill('SIGINT');
        });
      if (options.killAfterMs !== undefined) setTimeout(() => child.kill('SIGKILL'), options.killAfterMs);
      child.on('error', reject);
      child.on('close', (exit) => done({ exit: exit ?? -1, out }));
    });
  }

  /** As `run`, and fails the test with the output when the command did. */
  async must(...args: string[]): Promise<string> {
    const { exit, out } = await this.run(args);
    if (exit !== 0) throw new Error(`phalanx ${args.join(' ')} ended with ${exit}:\n${out}`);
    return out;
  }

  /** What `status --json` says. */
  async status(): Promise<{ health: string; rows: Row[] }> {
    const { out } = await this.run(['status', '--json']);
    return JSON.parse(out) as { health: string; rows: Row[] };
  }

  async remove(): Promise<void> {
    await this.run(['down', '--purge']);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Row {
  service: string;
  name: string;
  host: string;
  role: string;
  health: string;
  facts: Record<string, string>;
  why?: string;
}

/** Asks until `ask` gives something true; fails with `what` after `ms`. The only way tests wait. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  ms = 20_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(`not within ${ms} ms: ${what}${last ? ` (${last})` : ''}`);
    await wait(20);
  }
}

export interface Answer {
  status: number;
  body: string;
}

/** One GET; a new connection unless an agent is given. Rejects on any error and after `timeoutMs`. */
export function get(url: string, options: { agent?: Agent; timeoutMs?: number } = {}): Promise<Answer> {
  return new Promise((done, reject) => {
    const sent = request(
      url,
      { agent: options.agent ?? false, timeout: options.timeoutMs ?? 2000 },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => done({ status: response.statusCode ?? 0, body }));
        response.on('error', reject);
      },
    );
    sent.on('timeout', () => sent.destroy(new Error(`no answer in ${options.timeoutMs ?? 2000} ms`)));
    sent.on('error', reject);
    sent.end();
  });
}

export interface Load {
  ok: number;
  /** What went wrong, a sentence each. */
  failures: string[];
  /** Body -> how often. */
  answers: Map<string, number>;
  /** Longest time between two answers, in milliseconds. */
  longestGapMs: number;
}

/** Clients that ask one after the other, half of them on kept connections, until `stop` is called. */
export function load(url: string, clients: number): { stop(): Promise<Load> } {
  const result: Load = { ok: 0, failures: [], answers: new Map(), longestGapMs: 0 };
  let going = true;
  let last = performance.now();
  const work = Array.from({ length: clients }, async (_, i) => {
    const agent = new Agent({ keepAlive: i % 2 === 0, maxSockets: 1 });
    while (going) {
      try {
        const { status, body } = await get(url, { agent, timeoutMs: 5000 });
        if (status !== 200) result.failures.push(`status ${status}`);
        else result.ok++;
        result.answers.set(body, (result.answers.get(body) ?? 0) + 1);
        const now = performance.now();
        result.longestGapMs = Math.max(result.longestGapMs, now - last);
        last = now;
      } catch (error) {
        result.failures.push(String(error));
      }
    }
    agent.destroy();
  });
  return {
    async stop() {
      going = false;
      await Promise.all(work);
      return result;
    },
  };
}
