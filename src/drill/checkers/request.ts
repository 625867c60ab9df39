import type { Completion } from '../history.ts';
import { operations } from '../history.ts';
import type { Checker, Flight, Report } from './checker.ts';

/** Requests: whether they were answered. An answer proves nothing about data, so nothing here is ever lost. What lasts is counted by lasting.ts. */
export class RequestChecker implements Checker {
  #requests = { attempted: 0, acknowledged: 0, failed: 0 };

  invoke(flight: Flight): void {
    if (operations[flight.op.f].kind !== 'long') this.#requests.attempted++;
  }

  complete(flight: Flight, type: Completion['type']): void {
    if (operations[flight.op.f].kind === 'long') return;
    if (type === 'ok') this.#requests.acknowledged++;
    else if (type === 'fail') this.#requests.failed++;
  }

  final(): void {}

  report(): Report {
    return { counts: { ...this.#requests }, found: [], notes: [], unknown: [] };
  }
}
