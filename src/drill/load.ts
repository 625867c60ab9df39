import type { DrillClient } from '../engines/drill.ts';
import type { Recorder } from './recorder.ts';
import { type Scheduled, type ScheduleOptions, schedule } from './schedule.ts';

/** A client that was itself held up for longer than this does not catch up: a burst would be a load that nobody ordered. Microseconds. */
const mostBehind = 50_000;

/**
 * Plays a schedule through a client, each operation at its time whatever has become of those before (open loop: a
 * service that is away does not make its clients fall silent, which would hide how many were turned away), and records it.
 */
export class Load {
  #client: DrillClient;
  #recorder: Recorder;
  #operations: Generator<Scheduled, void>;
  #next: IteratorResult<Scheduled, void>;
  #began = 0;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;
  invoked = 0;
  acknowledged = 0;
  unanswered = 0;
  lastError: string | undefined;
  /** When an operation last failed or was given up, milliseconds of `performance.now()`; -Infinity: never. */
  lastUnanswered = Number.NEGATIVE_INFINITY;
  /** When one was last acknowledged. */
  lastAcknowledged = Number.NEGATIVE_INFINITY;

  constructor(client: DrillClient, recorder: Recorder, options: Omit<ScheduleOptions, 'durationMs'>) {
    this.#client = client;
    this.#recorder = recorder;
    this.#operations = schedule({ ...options, durationMs: Number.POSITIVE_INFINITY });
    this.#next = this.#operations.next();
  }

  start(): void {
    this.#began = this.#recorder.now();
    const tick = (): void => {
      const due = this.#recorder.now() - this.#began;
      if (!this.#next.done) this.#began += Math.max(0, due - this.#next.value.at - mostBehind);
      while (!this.#next.done && this.#next.value.at <= due) {
        void this.#play(this.#next.value);
        this.#next = this.#operations.next();
      }
      this.#timer = setTimeout(tick, 1);
    };
    tick();
  }

  /** Operations that have no outcome yet. */
  get underWay(): number {
    return this.invoked - this.acknowledged - this.unanswered;
  }

  /** Sends nothing more; resolves when every operation has its outcome. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.underWay > 0)
      await new Promise<void>((done) => {
        this.#idle = done;
      });
  }

  async #play({ p, f, k, v }: Scheduled): Promise<void> {
    const operation = { p, f, ...(k === undefined ? {} : { k }), ...(v === undefined ? {} : { v }) };
    const g = this.#client.groupOf(operation);
    const i = this.#recorder.invoke(p, f, {
      ...(k === undefined ? {} : { k }),
      ...(v === undefined ? {} : { v }),
      ...(g === undefined ? {} : { g }),
    });
    this.invoked++;
    const outcome = await this.#client.invoke(operation);
    if (outcome.type === 'ok') {
      this.acknowledged++;
      this.lastAcknowledged = performance.now();
      this.#recorder.ok(i, outcome.v, outcome.by);
    } else {
      this.unanswered++;
      this.lastUnanswered = performance.now();
      this.lastError = outcome.error;
      this.#recorder[outcome.type](i, outcome.error, outcome.by);
    }
    if (this.underWay === 0) this.#idle?.();
  }
}
