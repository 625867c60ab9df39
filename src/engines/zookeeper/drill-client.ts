import { setTimeout as sleep } from 'node:timers/promises';
import zookeeper, { type Client, type Exception } from 'node-zookeeper-client';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import { appUser, chroot, proof } from './acl.ts';
import { withSession } from './client.ts';
import { observeZooKeeper } from './observe.ts';
import { memberName, seatsOf, type ZooKeeperService } from './seats.ts';
import type { Session } from './session.ts';
import { StockClient } from './stock-client.ts';
import { noNode, ZooKeeperError } from './wire.ts';

/** After this a client has given up on an operation, milliseconds. */
const patience = 1_000;
/** A client whose server owes an answer for so long asks it nothing more: what nobody knows the outcome of proves nothing. */
const suspicious = 250;
/** Nodes that are removed, or read, at a time. */
const page = 500;

/** An application with a session at each server, that repeats nothing whose outcome it does not know. */
export class ZooKeeperDrillClient implements DrillClient {
  readonly #service: ZooKeeperService;
  readonly #cluster: Cluster;
  readonly #reach: Reach;
  /** Below the chroot. */
  readonly #root: string;
  readonly #clients: StockClient[];

  constructor(service: ZooKeeperService, cluster: Cluster, reach: Reach, run: string, sessionMs: number) {
    this.#service = service;
    this.#cluster = cluster;
    this.#reach = reach;
    this.#root = `/${run}`;
    const places = seatsOf(service, cluster).map(({ address, port }) => `${address}:${port}`);
    // The library begins with the first of its list.
    this.#clients = places.map(
      (_, i) =>
        new StockClient(
          `${[...places.slice(i), ...places.slice(0, i)].join(',')}${chroot(service)}`,
          proof(cluster, service, appUser),
          sessionMs,
        ),
    );
  }

  /** Makes what the operations need, and resolves when every session has had an answer. */
  async ready(): Promise<void> {
    const deadline = performance.now() + 10_000;
    const asked = async <T>(stock: StockClient, ask: (client: Client) => Promise<T>): Promise<T> => {
      for (;;) {
        const { client } = stock;
        if (client) return await within(ask(client), patience);
        if (performance.now() > deadline) throw new Error(`${this.#service.name} opens no session`);
        await sleep(20);
      }
    };
    const [first] = this.#clients;
    for (const path of [this.#root, this.#log, this.#barrier])
      await asked(first!, (client) => create(client, path, zookeeper.CreateMode.PERSISTENT));
    for (let key = 0; key < registers; key++)
      await asked(first!, (client) =>
        create(client, this.#register(`r${key}`), zookeeper.CreateMode.PERSISTENT),
      );
    await Promise.all(
      this.#clients.map((stock) => asked(stock, (client) => written(client, this.#barrier, ''))),
    );
  }

  groupOf(): undefined {
    return undefined;
  }

  async invoke({ p, f, k, v }: DrillOperation): Promise<DrillOutcome> {
    const stock = this.#clients[p % this.#clients.length]!;
    const { client } = stock;
    // Not sent, so it certainly did not happen.
    if (!client) return { type: 'fail', error: 'not connected' };
    if (stock.silentMs > suspicious) return { type: 'fail', error: 'the server owes an answer' };
    try {
      return await within(this.#asked(client, f, k, v), patience);
    } catch (error) {
      const { name, message } = error as Error;
      const code = (error as Partial<Exception>).code;
      const refused = code !== undefined && code <= refusals && code !== zookeeper.Exception.SESSION_EXPIRED;
      return { type: refused ? 'fail' : 'info', error: name === 'CONNECTION_LOSS' ? name : message };
    }
  }

  async #asked(
    client: Client,
    f: DrillOperation['f'],
    k: string | undefined,
    v: DrillOperation['v'],
  ): Promise<DrillOutcome> {
    switch (f) {
      case 'append':
        await create(client, `${this.#log}/v${v}-`, zookeeper.CreateMode.PERSISTENT_SEQUENTIAL);
        return { type: 'ok' };
      case 'write':
        await written(client, this.#register(k!), String(v));
        return { type: 'ok' };
      default: {
        // A read is answered by the session's own server, which may lag; behind a write of the same session it does not. (The
        // library has no sync.)
        const [, value] = await Promise.all([
          written(client, this.#barrier, ''),
          read(client, this.#register(k!)),
        ]);
        return { type: 'ok', v: value };
      }
    }
  }

  /** Every server's own tree, once it has what the leader has. */
  async finals(): Promise<DrillFinal[]> {
    this.#hangUp();
    const { leader } = await observeZooKeeper(this.#service, this.#cluster, this.#reach);
    const seats = seatsOf(this.#service, this.#cluster);
    const found = await Promise.all(seats.map((seat) => this.#final(seat.host, seat.host === leader)));
    return found.flat();
  }

  async close(): Promise<void> {
    this.#hangUp();
    const live = await observeZooKeeper(this.#service, this.#cluster, this.#reach);
    if (live.leader === undefined) throw new Error('nobody leads');
    await this.#at(live.leader, async (session) => {
      const remove = async (path: string): Promise<void> => {
        const names = await session.getChildren(path, false).catch((error: unknown) => {
          if (error instanceof ZooKeeperError && error.code === noNode) return undefined;
          throw error;
        });
        if (names === undefined) return;
        for (let i = 0; i < names.length; i += page)
          await Promise.all(names.slice(i, i + page).map((name) => remove(`${path}/${name}`)));
        await session.delete(path);
      };
      await remove(this.#full(this.#root));
    });
  }

  get #log(): string {
    return `${this.#root}/log`;
  }

  get #barrier(): string {
    return `${this.#root}/barrier`;
  }

  #register(key: string): string {
    return `${this.#root}/${key}`;
  }

  #full(path: string): string {
    return `${chroot(this.#service)}${path}`;
  }

  #hangUp(): void {
    for (const client of this.#clients.splice(0)) client.close();
  }

  #at<T>(host: string, work: (session: Session) => Promise<T>): Promise<T> {
    const user = proof(this.#cluster, this.#service, appUser);
    return withSession(this.#reach, { host, port: this.#service.spec.port }, [user], 30_000, work);
  }

  async #final(host: string, leads: boolean): Promise<DrillFinal[]> {
    const head = {
      member: memberName(this.#service, host),
      role: leads ? ('authority' as const) : ('replica' as const),
      group: '',
    };
    try {
      const [names, keys] = await this.#at(host, async (session) => {
        await session.sync(this.#full(this.#root));
        const made = await session.getChildren(this.#full(this.#log), false);
        const values = await Promise.all(
          Array.from({ length: registers }, async (_, key) => {
            const value = await session.getData(this.#full(this.#register(`r${key}`)));
            return [`r${key}`, value.length === 0 ? null : Number(value)] as const;
          }),
        );
        return [made, Object.fromEntries(values)] as const;
      });
      return [
        { ...head, model: 'log', holds: { values: inOrder(names) } },
        { ...head, model: 'register', holds: { keys } },
      ];
    } catch (error) {
      const holds = { failed: (error as Error).message };
      return [
        { ...head, model: 'log', holds },
        { ...head, model: 'register', holds },
      ];
    }
  }
}

/** As the schedule of a drill has them: r0, r1, ... */
export const registers = 5;

/** KeeperException.Code: from here down the server refused (no node, no permission, ...); above, something broke on the way. */
const refusals = -100;

/** v17-0000000034: the values of sequential nodes, by the number that ZooKeeper gave each. */
export function inOrder(names: string[]): number[] {
  return names
    .map((name) => /^v(\d+)-(\d+)$/.exec(name))
    .filter((found) => found !== null)
    .sort((a, b) => Number(a[2]) - Number(b[2]))
    .map((found) => Number(found[1]));
}

/** Access to whoever makes a node, as it proved to be: nobody else can read what the drill writes. */
const creatorAll = [new zookeeper.ACL(zookeeper.Permission.ALL, new zookeeper.Id('auth', ''))];

function create(client: Client, path: string, mode: number): Promise<string> {
  return new Promise((done, fail) => {
    client.create(path, Buffer.alloc(0), creatorAll, mode, (error, made) =>
      error ? fail(error) : done(made),
    );
  });
}

function written(client: Client, path: string, text: string): Promise<void> {
  return new Promise((done, fail) => {
    client.setData(path, Buffer.from(text), -1, (error) => (error ? fail(error) : done()));
  });
}

function read(client: Client, path: string): Promise<number | null> {
  return new Promise((done, fail) => {
    client.getData(path, (error, data) => {
      if (error) fail(error);
      else done(data === undefined || data === null || data.length === 0 ? null : Number(data));
    });
  });
}
