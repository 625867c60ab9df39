import type { Producer } from '@platformatic/kafka';
import type { DrillOutcome } from '../drill.ts';

/** How long after its invocation a record may still be sent or answered; then its client has given up, milliseconds. */
const patience = 30_000;
/** Records of one request. */
const batch = 500;

interface Waiting {
  value: number;
  deadline: number;
  settle(outcome: DrillOutcome): void;
}

/** What a writer wants of a producer; the library's own. */
export type Sender = Pick<Producer<string, string, string, string>, 'send'>;

/**
 * The records of one partition in the order in which they were invoked, one request on its way at a time: what comes
 * meanwhile goes with the next, as a producer with max.in.flight=1 does it. The library repeats a request with the same
 * sequence numbers, so the broker takes it once; a new one is begun only when the outcome of the last is known.
 */
export class PartitionWriter {
  #producer: Sender;
  #topic: string;
  #partition: number;
  #acks: number;
  #waiting: Waiting[] = [];
  #sending: Waiting[] = [];
  #busy = false;
  #sweep: NodeJS.Timeout;

  constructor(producer: Sender, topic: string, partition: number, acks: number) {
    this.#producer = producer;
    this.#topic = topic;
    this.#partition = partition;
    this.#acks = acks;
    this.#sweep = setInterval(() => this.#giveUp(), 500);
  }

  append(value: number): Promise<DrillOutcome> {
    return new Promise((settle) => {
      this.#waiting.push({ value, deadline: performance.now() + patience, settle });
      void this.#send();
    });
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  async #send(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#waiting.length > 0) {
      this.#sending = this.#waiting.splice(0, batch);
      let outcome: DrillOutcome = { type: 'ok' };
      try {
        await this.#producer.send({
          acks: this.#acks,
          messages: this.#sending.map(({ value }) => ({
            topic: this.#topic,
            partition: this.#partition,
            value: String(value),
          })),
        });
      } catch (error) {
        // Whatever it was, an earlier try of the same request may have been taken.
        outcome = { type: 'info', error: (error as Error).message };
      }
      for (const { settle } of this.#sending) settle(outcome);
      this.#sending = [];
    }
    this.#busy = false;
  }

  /** Settles what has waited for too long. A request on its way stays the only one until the library gives it up. */
  #giveUp(): void {
    const now = performance.now();
    const late = ({ deadline }: Waiting): boolean => deadline < now;
    for (const { settle } of this.#sending.filter(late))
      settle({ type: 'info', error: `no answer within ${patience / 1000} s` });
    this.#sending = this.#sending.filter((one) => !late(one));
    for (const { settle } of this.#waiting.filter(late))
      settle({ type: 'fail', error: `not sent within ${patience / 1000} s` });
    this.#waiting = this.#waiting.filter((one) => !late(one));
  }
}
