import type { Completion, FinalRead, Value } from '../history.ts';
import type { Checker, Flight, Report } from './checker.ts';
import { fate } from './elements.ts';
import { elementOf, Written } from './written.ts';

/**
 * Unique elements, each under its own key: `add` writes one, `has` asks for one. After Jepsen's set-full: an element
 * is lost when its add was acknowledged and the final read of the authority lacks it, stale when a read that began
 * after the acknowledgement did not show it although it was there in the end.
 */
export class SetChecker implements Checker {
  #written: Written;

  constructor(groups: string[]) {
    this.#written = new Written(groups, false);
  }

  invoke(flight: Flight): void {
    if (flight.op.f === 'add') this.#written.attempt(flight);
    else flight.seen = this.#written.fateOf(elementOf(flight.op, flight.line));
  }

  complete(flight: Flight, type: Completion['type'], v: Value | undefined): void {
    const { op } = flight;
    if (op.f === 'add') this.#written.settle(flight, type);
    else if (type === 'ok') {
      const value = op.v as number;
      if (v === false && flight.seen === fate.ok) this.#written.elements.missed(value);
      if (v === true && this.#written.fateOf(value) === fate.none)
        this.#written.unexpected.add(() => `${value} was read before it was written`);
    }
  }

  final(read: FinalRead, line: number): void {
    this.#written.final(read, line);
  }

  report(): Report {
    const written = this.#written;
    const { acknowledged, ok, lost, recovered, neverRead, stale, divergent, notes, judged, missing } =
      written.count();
    return {
      counts: {
        attempted: written.attempted,
        acknowledged,
        failed: written.failed,
        ok,
        lost: judged ? lost.count : null,
        recovered,
        duplicated: written.duplicated.count,
        neverRead,
        stale: stale.count,
        unexpected: written.unexpected.count,
        divergent,
      },
      found: [
        ...lost.finding('lost'),
        ...written.duplicated.finding('duplicated'),
        ...written.unexpected.finding('unexpected'),
        ...stale.finding('stale'),
      ],
      notes,
      unknown: missing,
    };
  }
}
