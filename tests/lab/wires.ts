import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * A few bare network namespaces on a switch that is one itself: for tests of a single engine part, below the lab that
 * the product builds. Nothing of it is visible in the machine's own namespace.
 */
export class Wires {
  readonly folder = mkdtempSync(join(tmpdir(), 'phalanx-wires-'));
  readonly #tag: string;
  readonly #hosts = new Set<string>();
  readonly #children = new Set<ChildProcess>();

  /** `tag` begins the namespaces' names; the process id follows. */
  constructor(tag: string) {
    this.#tag = `${tag}${process.pid}`;
    this.#ip('netns', 'add', this.namespace('sw'));
    this.#in('sw', 'ip link set lo up && ip link add br0 type bridge && ip link set br0 up');
  }

  namespace(host: string): string {
    return `${this.#tag}-${host}`;
  }

  /** A host with an interface eth0 on the switch; its port there is named like the host. */
  host(name: string, ...addresses: string[]): void {
    const space = this.namespace(name);
    this.#hosts.add(name);
    this.#ip('netns', 'add', space);
    this.#ip(
      'link',
      'add',
      name,
      'netns',
      this.namespace('sw'),
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      space,
    );
    this.#in('sw', `ip link set ${name} master br0 up`);
    const adds = addresses.map((a) => `ip addr add ${a} dev eth0${a.includes(':') ? ' nodad' : ''}`);
    this.#in(name, ['ip link set lo up', 'ip link set eth0 up', ...adds].join(' && '));
  }

  /** Runs a shell command on a host and gives its output; throws when it fails. */
  run(host: string, command: string): string {
    return this.#in(host, command);
  }

  /** Takes a host's cable out of the switch, or puts it back. */
  cable(host: string, state: 'up' | 'down'): void {
    this.#in('sw', `ip link set ${host} ${state}`);
  }

  /** Starts a process on a host; its output goes to FOLDER/NAME.log. */
  start(host: string, name: string, words: string[], cwd = this.folder): ChildProcess {
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    const child = spawn('ip', ['netns', 'exec', this.namespace(host), ...words], {
      cwd,
      stdio: ['ignore', log, log],
    });
    return this.#keep(child);
  }

  /** An HTTP server on a host that answers with its name. */
  server(host: string, name: string, port: number): ChildProcess {
    return this.start(host, name, [process.execPath, script('answerer.ts'), name, String(port)]);
  }

  caller(host: string): Caller {
    const child = spawn(
      'ip',
      ['netns', 'exec', this.namespace(host), process.execPath, script('caller.ts')],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    return new Caller(this.#keep(child));
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const host of [...this.#hosts, 'sw']) this.#ip('netns', 'del', this.namespace(host));
    rmSync(this.folder, { recursive: true });
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  #in(host: string, command: string): string {
    return execFileSync('ip', ['netns', 'exec', this.namespace(host), 'sh', '-c', command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  #ip(...words: string[]): void {
    execFileSync('ip', words, { stdio: 'pipe' });
  }
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Resolves when a child has ended. */
export function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** A client on a host: each method is one conversation with caller.ts there. */
export class Caller {
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (value: never) => void>();
  #next = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { id, value } = JSON.parse(line) as { id: number; value: never };
      this.#answers.get(id)?.(value);
      this.#answers.delete(id);
    });
  }

  /** `count` requests one after the other, a connection each: what was answered, or the error's code after '!'. */
  get(url: string, count: number): Promise<string[]> {
    return this.#ask('get', url, count);
  }

  /** Opens a connection, or asks again over it when it is open: what was answered. */
  over(connection: string, url: string): Promise<string> {
    return this.#ask('over', connection, url);
  }

  /** Asks again and again, 4 at a time, until `rest`. */
  hammer(url: string): Promise<void> {
    return this.#ask('hammer', url);
  }

  rest(): Promise<{ answered: Record<string, number>; failed: string[] }> {
    return this.#ask('rest');
  }

  #ask<T>(...words: unknown[]): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve) => {
      this.#answers.set(id, resolve as (value: never) => void);
      this.#child.stdin!.write(`${JSON.stringify({ id, words })}\n`);
    });
  }
}

/** Counts equal words. */
export function tally(words: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
