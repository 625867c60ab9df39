import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, type Publisher } from 'rabbitmq-client';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import { queueArguments } from './definitions.ts';
import { rabbitAddress } from './fronts.ts';
import { isFast, type RabbitService } from './names.ts';
import { observeRabbit } from './observe.ts';
import type { QueueSpec } from './schema.ts';

/** Connections of the client. */
export const connections = 6;
/** After this a client has given up on an operation, milliseconds. */
const patience = 1_000;
/** After this without a confirm, milliseconds, a channel is left for another: more than the choice of a leader takes (docs/rabbitmq.md). */
export const leaveMs = { fast: 3_000, default: 12_000 };
/** Messages that a consumer is given before it has acknowledged those that it has: while clients work, and in the end. */
const prefetch = { working: 20, draining: 500 };
/** How long emptying a queue may take without getting anything, milliseconds. */
const drainMs = 30_000;

/** A nature of queue that the file has; the drill has a queue of its own for each. */
export interface Kind {
  /** 'quorum', 'classic', 'transient' */
  name: string;
  queue: Pick<QueueSpec, 'type' | 'durable' | 'members' | 'arguments'>;
}

/** The natures of the file's queues, without those that are mirrored (a policy goes by the queue's name); quorum where it has none. */
export function kindsOf({ spec }: RabbitService): Kind[] {
  const kinds = new Map<string, Kind>();
  for (const queue of Object.values(spec.queues)) {
    if (queue.mirrored !== undefined) continue;
    const name = queue.type === 'quorum' ? 'quorum' : queue.durable ? 'classic' : 'transient';
    const { type, durable, members } = queue;
    if (!kinds.has(name)) kinds.set(name, { name, queue: { type, durable, members, arguments: {} } });
  }
  if (kinds.size === 0)
    kinds.set('quorum', { name: 'quorum', queue: { type: 'quorum', durable: true, arguments: {} } });
  return [...kinds.values()];
}

export const drillQueue = (run: string, kind: Kind): string => `${run}-${kind.name}`;

/** An application with rabbitmq-client: publishes with confirms, takes with manual acks, and repeats nothing whose outcome it does not know. */
export class RabbitDrillClient implements DrillClient {
  readonly #service: RabbitService;
  readonly #cluster: Cluster;
  readonly #reach: Reach;
  readonly #kinds: Kind[];
  readonly #run: string;
  readonly #dial: () => Connection;
  readonly #lines: Line[];

  constructor(service: RabbitService, cluster: Cluster, reach: Reach, kinds: Kind[], run: string) {
    this.#service = service;
    this.#cluster = cluster;
    this.#reach = reach;
    this.#kinds = kinds;
    this.#run = run;
    const address = rabbitAddress(service, cluster);
    const hosts = address['HOSTS']!.split(',');
    let turn = 0;
    this.#dial = () => {
      // The library begins with the first of its list.
      const first = turn++ % hosts.length;
      const connection = new Connection({
        hosts: [...hosts.slice(first), ...hosts.slice(0, first)],
        username: address['USER']!,
        password: address['PASSWORD']!,
        vhost: address['VHOST']!,
        connectionTimeout: patience,
        acquireTimeout: patience,
        retryLow: 50,
        retryHigh: 200,
        // The library leaves a silent server after two of these.
        heartbeat: 1,
        noDelay: true,
      });
      // Said by each operation's own outcome.
      connection.on('error', () => {});
      return connection;
    };
    const leave = leaveMs[isFast(service) ? 'fast' : 'default'];
    this.#lines = Array.from({ length: connections }, () => new Line(this.#dial(), this.#queues(), leave));
  }

  /** Makes the drill's queues; resolves when every connection has had an answer. */
  async ready(): Promise<void> {
    await within(this.#lines[0]!.declare(), 10_000);
    await Promise.all(this.#lines.map((line) => within(line.consume(), 10_000)));
  }

  groupOf(operation: DrillOperation): string | undefined {
    return this.#kinds.length > 1 ? this.#kindOf(operation).name : undefined;
  }

  async invoke(operation: DrillOperation): Promise<DrillOutcome> {
    const line = this.#lines[operation.p % this.#lines.length]!;
    // Not sent, so it certainly did not happen.
    if (!line.connected) return { type: 'fail', error: 'not connected' };
    const queue = drillQueue(this.#run, this.#kindOf(operation));
    try {
      if (operation.f === 'dequeue') return { type: 'ok', v: line.take(queue) };
      await line.publish(queue, operation.v as number);
      return { type: 'ok' };
    } catch (error) {
      if (error instanceof Unroutable) return { type: 'fail', error: error.message };
      const { code, message } = error as Error & { code?: string };
      return { type: 'info', error: code ?? message };
    }
  }

  /** What is left in the queues, each emptied by a consumer that has nothing else to do. */
  async finals(): Promise<DrillFinal[]> {
    this.#hangUp();
    const connection = this.#dial();
    try {
      return await Promise.all(this.#kinds.map((kind) => this.#final(connection, kind)));
    } finally {
      connection.unsafeDestroy();
    }
  }

  async close(): Promise<void> {
    this.#hangUp();
    const connection = this.#dial();
    try {
      for (const kind of this.#kinds)
        await within(connection.queueDelete(drillQueue(this.#run, kind)), 10_000);
    } finally {
      connection.unsafeDestroy();
    }
  }

  #kindOf({ p, v }: DrillOperation): Kind {
    return this.#kinds[(typeof v === 'number' ? v : p) % this.#kinds.length]!;
  }

  #queues(): Declaration[] {
    return this.#kinds.map((kind) => ({
      queue: drillQueue(this.#run, kind),
      durable: kind.queue.durable,
      arguments: queueArguments({ ...kind.queue, mirrored: undefined }),
    }));
  }

  #hangUp(): void {
    for (const line of this.#lines.splice(0)) line.close();
  }

  async #final(connection: Connection, kind: Kind): Promise<DrillFinal> {
    const head = {
      member: `queue ${kind.name}`,
      model: 'queue' as const,
      role: 'authority' as const,
      group: this.#kinds.length > 1 ? kind.name : '',
    };
    const declaration = this.#queues()[this.#kinds.indexOf(kind)]!;
    try {
      const held = () => this.#held(declaration.queue);
      return { ...head, holds: { values: await drained(connection, declaration, held) } };
    } catch (error) {
      return { ...head, holds: { failed: (error as Error).message } };
    }
  }

  /** Messages in the queue by its leader's own count, those included that a consumer was given and has not acknowledged. */
  async #held(queue: string): Promise<number> {
    const { view } = await observeRabbit(this.#service, this.#cluster, this.#reach);
    return view?.queues.find(({ name }) => name === queue)?.messages ?? Number.NaN;
  }
}

interface Declaration {
  queue: string;
  durable: boolean;
  arguments: Record<string, unknown>;
}

/** A message that came, and how to acknowledge it. */
interface Given {
  value: number;
  acknowledge: () => void;
}

/** The broker has no queue for it, and said so. */
class Unroutable extends Error {}

/** One connection with a publisher and a consumer, each begun anew by the library when it is gone. */
class Line {
  readonly #connection: Connection;
  readonly #queues: Declaration[];
  readonly #leaveMs: number;
  #publisher: Publisher;
  readonly #returned = new Set<string>();
  readonly #given = new Map<string, Given[]>();
  #declaring: Promise<void> | undefined;

  constructor(connection: Connection, queues: Declaration[], leaveMs: number) {
    this.#connection = connection;
    this.#queues = queues;
    this.#leaveMs = leaveMs;
    this.#publisher = this.#begin();
  }

  #begin(): Publisher {
    return this.#connection.createPublisher({
      confirm: true,
      maxAttempts: 1,
      onReturn: ({ messageId }) => this.#returned.add(String(messageId)),
    });
  }

  get connected(): boolean {
    return this.#connection.ready;
  }

  /** Begins to take messages from every queue, each acknowledged when an operation has taken it. */
  async consume(): Promise<void> {
    await Promise.all(
      this.#queues.map((declaration) => {
        const { queue } = declaration;
        const given: Given[] = [];
        this.#given.set(queue, given);
        const consumer = this.#connection.createConsumer(
          { queue, queueOptions: declaration, qos: { prefetchCount: prefetch.working } },
          ({ body }) => new Promise<void>((acknowledge) => given.push({ value: Number(body), acknowledge })),
        );
        // A queue that is away: it is consumed again as soon as it can be.
        consumer.on('error', () => {});
        return new Promise<void>((ready) => consumer.once('ready', ready));
      }),
    );
  }

  /** Makes the queues where they are not there: as applications do when they connect, or find that one is gone. */
  declare(): Promise<void> {
    this.#declaring ??= (async () => {
      for (const queue of this.#queues) await this.#connection.queueDeclare(queue);
    })().finally(() => {
      this.#declaring = undefined;
    });
    return this.#declaring;
  }

  /**
   * Resolves when the message is confirmed. A channel is left for a new one when it refuses a message or is late for long, as docs/rabbitmq.md tells
   * applications, and not sooner: what it had published before it sends to the next leader, while a new one first asks the one that hangs.
   */
  async publish(queue: string, value: number): Promise<void> {
    const messageId = String(value);
    const publisher = this.#publisher;
    const envelope = { routingKey: queue, durable: true, mandatory: true, messageId };
    const confirmed = publisher.send(envelope, messageId);
    within(confirmed, this.#leaveMs).catch(() => {
      if (this.#publisher !== publisher) return;
      this.#publisher = this.#begin();
      publisher.close().catch(() => {});
    });
    await within(confirmed, patience);
    // A message that comes back is confirmed all the same, after it.
    if (!this.#returned.delete(messageId)) return;
    this.declare().catch(() => {});
    throw new Unroutable('no such queue');
  }

  /** The next message, acknowledged; null where none has come. An ack that gets lost only has it given again. */
  take(queue: string): number | null {
    const given = this.#given.get(queue)?.shift();
    given?.acknowledge();
    return given?.value ?? null;
  }

  close(): void {
    this.#connection.unsafeDestroy();
  }
}

/**
 * Takes and acknowledges until nothing is left. What a client that is gone had been given comes back when the queue has noticed, which a new
 * leader may take its time for: so until the queue itself says that it holds nothing (`held`).
 */
async function drained(
  connection: Connection,
  declaration: Declaration,
  held: () => Promise<number>,
): Promise<number[]> {
  const values: number[] = [];
  const { queue } = declaration;
  const consumer = connection.createConsumer(
    { queue, queueOptions: declaration, qos: { prefetchCount: prefetch.draining } },
    async ({ body }) => void values.push(Number(body)),
  );
  consumer.on('error', () => {});
  let got = -1;
  let since = performance.now();
  for (;;) {
    const before = values.length;
    const left = await held();
    if (left === 0 && values.length === before) return values;
    if (values.length !== got) since = performance.now();
    got = values.length;
    if (performance.now() - since > drainMs)
      throw new Error(
        `the queue holds ${left} messages and gives none to a consumer for ${drainMs / 1000} s`,
      );
    await sleep(200);
  }
}
