import { until } from '../../tests/lab/cluster.ts';
import type { Actor } from '../../tests/lab/wire.ts';
import { actor } from '../actor.ts';
import type { BenchCluster } from '../cluster.ts';
import type { Stage } from '../stage.ts';

interface Seen {
  longest: number;
  answered: number;
  asked: number;
}

/** Every how many milliseconds the client asks. */
export const everyMs = 5;
/** So many answers in a row after a move, and service is said to be there again. */
const settled = 100;

/** Two hosts that share a VIP, the first of which takes it back when it returns, and a client that never stops asking. */
export class Pair {
  readonly name: string;
  readonly #stage: Stage;
  readonly #cluster: BenchCluster;
  readonly #hosts: [string, string];
  readonly #vip: string;
  readonly #vrrp: string;
  readonly #client: Actor;

  /** `vrrp` is the member that runs keepalived, without its host. */
  constructor(
    stage: Stage,
    cluster: BenchCluster,
    of: { name: string; hosts: [string, string]; vip: string; vrrp: string },
  ) {
    this.name = of.name;
    this.#stage = stage;
    this.#cluster = cluster;
    this.#hosts = of.hosts;
    this.#vip = of.vip;
    this.#vrrp = of.vrrp;
    this.#client = actor(stage, cluster.on('client'), 'takeover/client.ts', of.vip, '80', String(everyMs));
  }

  /** The first host's cable is cut. Milliseconds without an answer; and when it comes back. */
  cut(): Promise<{ dark: number; back: number }> {
    const cable = (state: string) => () =>
      this.#stage.run('ip', ['-n', this.#cluster.namespace(), 'link', 'set', 'dev', this.#hosts[0], state]);
    return this.#moved(cable('down'), cable('up'));
  }

  /** The first host's keepalived is stopped in order, as `down` does it, and started again. */
  stop(): Promise<{ dark: number; back: number }> {
    const [host] = this.#hosts;
    const folder = `/var/lib/phalanx/${this.#cluster.name}/hosts/${host}/members/${this.#vrrp}@${host}/service`;
    const tell = (how: string) => () => this.#stage.run('s6-svc', [how, folder]);
    return this.#moved(tell('-d'), tell('-u'));
  }

  async #moved(
    away: () => Promise<unknown>,
    again: () => Promise<unknown>,
  ): Promise<{ dark: number; back: number }> {
    const [first, second] = this.#hosts;
    await this.#owned(first);
    const dark = await this.#longest(away, second);
    const back = await this.#longest(again, first);
    return { dark, back };
  }

  async #longest(doing: () => Promise<unknown>, owner: string): Promise<number> {
    await this.#client.tell('mark');
    await doing();
    await this.#owned(owner);
    return (await this.#client.tell<Seen>('seen')).longest;
  }

  /** Waits until that host alone (of those that can be heard) has the VIP and has answered for a while. */
  async #owned(host: string): Promise<void> {
    const other = this.#hosts.find((one) => one !== host)!;
    await until(
      `${host} owns ${this.#vip}`,
      async () => {
        this.#stage.going();
        return (await this.#holds(host)) && !(await this.#holds(other));
      },
      30_000,
    );
    const { answered } = await this.#client.tell<Seen>('seen');
    await until(
      `clients are served by ${host}`,
      async () => {
        this.#stage.going();
        return (await this.#client.tell<Seen>('seen')).answered >= answered + settled;
      },
      30_000,
    );
  }

  async #holds(host: string): Promise<boolean> {
    const shown = await this.#stage.run('ip', [
      '-n',
      this.#cluster.namespace(host),
      '-o',
      'addr',
      'show',
      'to',
      this.#vip,
    ]);
    return shown.includes(this.#vip);
  }

  /** How often the VIP came to one of the hosts, or left it, since this was called: read from the kernel's own news. */
  watch(): { moves(): string[] } {
    const moves: string[] = [];
    for (const host of this.#hosts) {
      const news = this.#stage.start('ip', ['-n', this.#cluster.namespace(host), '-o', 'monitor', 'address']);
      news.stdout!.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString().split('\n'))
          if (line.includes(`${this.#vip}/`)) moves.push(`${host}: ${line.trim()}`);
      });
    }
    return { moves: () => moves };
  }
}
