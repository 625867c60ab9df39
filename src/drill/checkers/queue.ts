import type { Completion, FinalRead, Value } from '../history.ts';
import { type Checker, type Flight, type Report, Tally } from './checker.ts';
import { isElement } from './elements.ts';
import { Written } from './written.ts';

/**
 * Messages: `enqueue` is ok when the broker confirmed it, `dequeue` when the consumer was given it and its manual ack
 * was sent. Lost: confirmed, never given to a consumer and not in the final drain. Delivered twice counts as
 * duplicated; a queue promises at least once, so headers of queues usually tolerate that.
 */
export class QueueChecker implements Checker {
  #written: Written;
  #twice = new Tally();
  #delivered = 0;

  constructor(groups: string[]) {
    this.#written = new Written(groups, false);
  }

  invoke(flight: Flight): void {
    if (flight.op.f === 'enqueue') this.#written.attempt(flight);
  }

  complete(flight: Flight, type: Completion['type'], v: Value | undefined): void {
    if (flight.op.f === 'enqueue') this.#written.settle(flight, type);
    else if (type === 'ok' && v !== null && v !== undefined) this.#deliver(v, 'a consumer');
  }

  final(read: FinalRead, line: number): void {
    const { authority } = this.#written.finals.take(read, line);
    if (authority) for (const value of read.values ?? []) this.#deliver(value, read.final);
  }

  #deliver(value: unknown, to: string): void {
    this.#delivered++;
    const times = isElement(value) ? this.#written.elements.give(value) : 0;
    if (times === 0) this.#written.unexpected.add(() => `${JSON.stringify(value)} from ${to}, never sent`);
    if (times === 2) this.#twice.add(() => `${value}`);
  }

  report(): Report {
    const written = this.#written;
    const { acknowledged, ok, lost, recovered, neverRead, notes, judged, missing } = written.count(
      (element) => element.given > 0,
    );
    return {
      counts: {
        attempted: written.attempted,
        acknowledged,
        failed: written.failed,
        delivered: this.#delivered,
        ok,
        lost: judged ? lost.count : null,
        recovered,
        duplicated: this.#twice.count,
        neverRead,
        unexpected: written.unexpected.count,
      },
      found: [
        ...lost.finding('lost'),
        ...this.#twice.finding('duplicated'),
        ...written.unexpected.finding('unexpected'),
      ],
      notes,
      unknown: missing,
    };
  }
}
