import type { Completion } from '../history.ts';
import type { Checker, Flight, Report } from './checker.ts';

/** Requests and transfers: whether they were answered. An answer proves nothing about data, so nothing here is ever lost. */
export class RequestChecker implements Checker {
  #requests = { attempted: 0, acknowledged: 0, failed: 0 };
  #transfers = { transfers: 0, broken: 0 };

  invoke(flight: Flight): void {
    if (flight.op.f === 'transfer') this.#transfers.transfers++;
    else this.#requests.attempted++;
  }

  complete(flight: Flight, type: Completion['type']): void {
    if (flight.op.f === 'transfer') {
      if (type !== 'ok') this.#transfers.broken++;
    } else if (type === 'ok') this.#requests.acknowledged++;
    else if (type === 'fail') this.#requests.failed++;
  }

  final(): void {}

  report(): Report {
    return { counts: { ...this.#requests, ...this.#transfers }, found: [], notes: [], unknown: [] };
  }
}
