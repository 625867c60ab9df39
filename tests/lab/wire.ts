import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Where hosts live: this machine, or another that is reached by a command. */
export interface Ground {
  /** Runs a script and gives its output; throws when it fails. */
  sh(script: string): string;
  /** Starts a command that is spoken to over its standard input and output. */
  spawn(words: string[]): ChildProcess;
  /** The words that run a script of tests/lab/wire. */
  program(script: string): string[];
}

const here: Ground = {
  sh: (script) =>
    execFileSync('sh', ['-eu'], { input: script, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] }),
  spawn: ([command, ...args]) => spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] }),
  program: (script) => [process.execPath, new URL(`wire/${script}`, import.meta.url).pathname],
};

/**
 * Raw hosts for a test: network namespaces on a bridge that lives in a namespace of its own, so that nothing of the
 * machine's network is touched and addresses cannot clash with anything.
 */
export class Wire {
  private readonly prefix: string;
  private readonly names: string[];
  private readonly actors: Actor[] = [];
  private readonly ground: Ground;

  /** Hosts get 10.78.0.(11 + i) and fd78::(11 + i), on eth0. */
  constructor(prefix: string, names: string[], ground: Ground = here) {
    this.ground = ground;
    this.prefix = prefix;
    this.names = names;
    const sw = `${prefix}-switch`;
    const lines = [
      `ip netns add ${sw}`,
      `ip -n ${sw} link add br0 type bridge`,
      `ip -n ${sw} link set br0 up`,
      // Its own switch: frames must not wander through the machine's packet filter.
      `ip netns exec ${sw} sysctl -eqw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0`,
    ];
    names.forEach((name, i) => {
      const ns = this.namespace(name);
      lines.push(
        `ip netns add ${ns}`,
        `ip netns exec ${ns} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0`,
        `ip -n ${ns} link set lo up`,
        `ip -n ${ns} link add eth0 type veth peer name ${name} netns ${sw}`,
        `ip -n ${sw} link set ${name} master br0 up`,
        `ip -n ${ns} link set eth0 up`,
        `ip -n ${ns} addr add 10.78.0.${11 + i}/24 dev eth0`,
        `ip -n ${ns} addr add fd78::${11 + i}/64 dev eth0 nodad`,
      );
    });
    this.sh(lines.join('\n'));
  }

  namespace(name: string): string {
    return `${this.prefix}-${name}`;
  }

  address(name: string): string {
    return `10.78.0.${11 + this.names.indexOf(name)}`;
  }

  address6(name: string): string {
    return `fd78::${11 + this.names.indexOf(name)}`;
  }

  /** A script on the machine. */
  sh(script: string): string {
    return this.ground.sh(script);
  }

  /** A script in a host. */
  on(name: string, script: string): string {
    return this.sh(`ip netns exec ${this.namespace(name)} sh -eu <<'THERE'\n${script}\nTHERE\n`);
  }

  /** A process in a host that takes orders: a script of tests/lab/wire. */
  actor(name: string, script: string, ...args: string[]): Actor {
    const words = ['ip', 'netns', 'exec', this.namespace(name), ...this.ground.program(script), ...args];
    const child = this.ground.spawn(words);
    const actor = new Actor(child, `${script} on ${name}`);
    this.actors.push(actor);
    return actor;
  }

  async close(): Promise<void> {
    await Promise.all(this.actors.map((actor) => actor.end()));
    this.sh([...this.names, 'switch'].map((name) => `ip netns del ${this.namespace(name)}`).join('\n'));
  }
}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/** One line of JSON out is an order, one line in its answer, matched by number. */
export class Actor {
  private readonly child: ChildProcess;
  private readonly what: string;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;
  private over = false;

  constructor(child: ChildProcess, what: string) {
    this.child = child;
    this.what = what;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { id, value, error } = JSON.parse(line) as { id: number; value: never; error?: string };
      const order = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) order?.resolve(value);
      else order?.reject(new Error(error));
    });
    child.on('exit', () => {
      this.over = true;
      for (const { reject } of this.waiting.values()) reject(new Error(`${this.what} ended`));
    });
  }

  tell<Result = unknown>(order: string, ...args: unknown[]): Promise<Result> {
    if (this.over) return Promise.reject(new Error(`${this.what} has ended`));
    const id = ++this.last;
    return new Promise<Result>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      this.child.stdin!.write(`${JSON.stringify({ id, order, args })}\n`);
    });
  }

  async end(): Promise<void> {
    if (this.over) return;
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin!.end();
    await gone;
  }
}
