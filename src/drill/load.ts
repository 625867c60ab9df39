import type { DrillClient, DrillOperation, DrillOutcome } from '../engines/drill.ts';
import { within } from '../hosts/deadline.ts';
import type { Recorder } from './recorder.ts';
import { type Scheduled, type ScheduleOptions, schedule } from './schedule.ts';

/** A client that was itself held up for longer than this does not catch up: a burst would be a load that nobody ordered. Microseconds. */
const mostBehind = 50_000;

/** How long an operation may take once no other is sent, milliseconds: longer than any client of ours waits for its answer. */
const lastMs = 60_000;

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
  #over = false;
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

  /** Sends nothing more; resolves when every operation has its outcome. One that has none after a minute is recorded without: nobody knows what became of it. */
  async stop(patience = lastMs): Promise<void> {
    clearTimeout(this.#timer);
    const idle = new Promise<void>((done) => {
      this.#idle = done;
    });
    if (this.underWay > 0) await within(idle, patience).catch(() => {});
    this.#over = true;
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
    const outcome = await this.#outcome(operation);
    if (this.#over) return;
    try {
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
    } finally {
      // Also where it could not be written (a full disk): who waits for the last must not wait for ever.
      if (this.underWay === 0) this.#idle?.();
    }
  }

  async #outcome(operation: DrillOperation): Promise<DrillOutcome> {
    try {
      return await this.#client.invoke(operation);
    } catch (error) {
      return { type: 'info', error: (error as Error).message };
    }
  }
}
