import type {
  Anomaly,
  Completion,
  FaultEvent,
  FinalRead,
  Header,
  Invoke,
  Line,
  Model,
  OperationName,
  Value,
} from './history.ts';
import { formatVersion } from './history.ts';
import { Random } from './random.ts';
import { type Scheduled, schedule } from './schedule.ts';

/** A defect of the made-up service, to prove that the checkers see it. */
export type Defect =
  | 'none'
  | 'set loses'
  | 'set duplicates'
  | 'set is stale'
  | 'log loses within'
  | 'log loses its tail'
  | 'log duplicates'
  | 'log reorders'
  | 'queue loses'
  | 'queue delivers twice'
  | 'counter loses'
  | 'counter counts twice'
  | 'register is stale'
  | 'register loses';

export interface PlantedOptions {
  seed: number;
  defect?: Defect;
  /** How long no write is acknowledged from the fault on; default 400 ms. */
  darkMs?: number;
  /** Length and fault of the drill. */
  durationMs?: number;
  faultAtMs?: number;
  rate?: number;
  tolerates?: Anomaly[];
  promise?: Header['promise'];
}

interface Effect {
  op: Scheduled;
  i: number;
  at: number;
  invoked: number;
  completed: number;
  outcome: Completion['type'];
  /** Whether it really happened, whatever the client was told. */
  happened: boolean;
  result?: Value;
}

const mix: Partial<Record<OperationName, number>> = {
  add: 8,
  has: 4,
  append: 6,
  enqueue: 4,
  dequeue: 4,
  incr: 2,
  count: 1,
  write: 2,
  read: 3,
};
const partitions = 3;
const replicas = ['two', 'three'];

/**
 * The history of a drill on a service that exists only here: correct but for the planted defect, with a fault in
 * whose dark time operations fail, time out, and sometimes happen all the same. The negative control of the checkers.
 */
export function planted(options: PlantedOptions): Line[] {
  const { seed, defect = 'none', darkMs = 400, durationMs = 3800, faultAtMs = 2000, rate = 1500 } = options;
  const random = new Random(seed).fork();
  const dark = { from: faultAtMs * 1000 + 500, to: (faultAtMs + darkMs) * 1000 + 500 };
  const effects = run(schedule({ seed, rate, durationMs, clients: 8, mix }), random, dark, durationMs * 1000);
  const service = new Service();
  for (const effect of [...effects].sort((a, b) => a.at - b.at)) service.carryOut(effect);
  const finals = service.finals(durationMs * 1000 + 400_000);
  spoil(defect, effects, finals, random);

  const events: { t: number; line: Line }[] = [];
  for (const { op, i, invoked, completed, outcome, result } of effects) {
    const invoke: Invoke = { i, type: 'invoke', t: invoked, p: op.p, f: op.f };
    if (op.k !== undefined) invoke.k = op.k;
    if (op.f === 'append') invoke.g = partitionOf(op.v as number);
    if (op.v !== undefined) invoke.v = op.v;
    const completion: Completion = { i, type: outcome, t: completed };
    if (outcome === 'ok' && result !== undefined) completion.v = result;
    if (outcome !== 'ok') completion.error = outcome === 'info' ? 'timeout' : 'refused';
    events.push({ t: invoked, line: invoke }, { t: completed, line: completion });
  }
  const fault = (phase: FaultEvent['phase'], ms: number, detail?: unknown): void => {
    const line: FaultEvent = { fault: 'freeze-master', phase, t: ms * 1000, target: 'made-up@one' };
    if (detail !== undefined) line.detail = detail;
    events.push({ t: line.t, line });
  };
  fault('planned', faultAtMs);
  fault('injected', faultAtMs + 1);
  fault('evidence', faultAtMs + 2, { state: 'T (stopped)' });
  fault('healed', faultAtMs + darkMs + 100);
  fault('whole', faultAtMs + darkMs + 200);
  // Array.sort is stable: an invocation stays before its completion.
  events.sort((a, b) => a.t - b.t);
  const header: Header = {
    history: formatVersion,
    cluster: 'shop',
    service: 'made-up',
    engine: 'none',
    versions: { phalanx: '0.1.0' },
    seed,
    file: '0'.repeat(64),
    client: 'planted',
    fault: { name: 'freeze-master', target: 'made-up@one', forMs: darkMs },
    models: {
      set: { tolerates: options.tolerates ?? [] },
      log: { groups: Array.from({ length: partitions }, (_, n) => `p${n}`) },
      queue: {},
      counter: {},
      register: {},
    },
    replicas: ['one', ...replicas],
    ...(options.promise === undefined ? {} : { promise: options.promise }),
  };
  const end = finals[finals.length - 1]!.t + 1000;
  return [header, ...events.map((event) => event.line), ...finals, { end: 'complete', t: end }];
}

function partitionOf(value: number): string {
  return `p${value % partitions}`;
}

function run(
  operations: Iterable<Scheduled>,
  random: Random,
  dark: { from: number; to: number },
  end: number,
): Effect[] {
  const effects: Effect[] = [];
  /** A client sends to one partition one after the other, as an idempotent producer's records arrive. */
  const arrived = new Map<string, number>();
  let i = 0;
  for (const op of operations) {
    const invoked = op.at;
    const took = 300 + random.below(3_000);
    let completed = invoked + took;
    let at = invoked + 100 + random.below(took - 100);
    let outcome: Completion['type'] = 'ok';
    let happened = true;
    if (completed > dark.from && completed <= dark.to) {
      outcome = random.below(3) === 0 ? 'fail' : 'info';
      happened = outcome === 'info' && random.below(2) === 0;
      if (outcome === 'info') {
        completed = invoked + 250_000;
        // Late effects are what makes timeouts hard to judge; a producer's records must not queue behind one.
        if (op.f !== 'append') at = invoked + 100 + random.below(240_000);
      }
    }
    if (op.f === 'append' && happened) {
      const lane = `${op.p} ${partitionOf(op.v as number)}`;
      at = Math.max(at, (arrived.get(lane) ?? 0) + 1);
      completed = Math.max(completed, at + 1);
      if (completed > dark.from && completed <= dark.to) outcome = 'info';
      arrived.set(lane, at);
    }
    effects.push({
      op,
      i: i++,
      at,
      invoked,
      completed: Math.min(completed, end + 300_000),
      outcome,
      happened,
    });
  }
  return effects;
}

/** What a correct service does, one operation after the other. */
class Service {
  #set: number[] = [];
  #members = new Set<number>();
  #log: number[][] = Array.from({ length: partitions }, () => []);
  #queue: number[] = [];
  #counters: Record<string, number> = {};
  #registers: Record<string, number> = {};

  carryOut(effect: Effect): void {
    const { op, happened } = effect;
    const key = op.k ?? '';
    if (!happened) return;
    switch (op.f) {
      case 'add':
        this.#set.push(op.v as number);
        this.#members.add(op.v as number);
        break;
      case 'has':
        effect.result = this.#members.has(op.v as number);
        break;
      case 'append':
        this.#log[(op.v as number) % partitions]!.push(op.v as number);
        break;
      case 'enqueue':
        this.#queue.push(op.v as number);
        break;
      case 'dequeue':
        // Nothing is handed to a client that will not hear of it: that would be a message lost by the client.
        effect.result = effect.outcome === 'ok' ? (this.#queue.shift() ?? null) : null;
        break;
      case 'incr':
        this.#counters[key] = (this.#counters[key] ?? 0) + (op.v as number);
        break;
      case 'count':
        effect.result = this.#counters[key] ?? 0;
        break;
      case 'write':
        this.#registers[key] = op.v as number;
        break;
      case 'read':
        effect.result = this.#registers[key] ?? null;
        break;
    }
  }

  finals(t: number): FinalRead[] {
    const finals: FinalRead[] = [];
    const read = (model: Model, what: Pick<FinalRead, 'values' | 'keys'>, group = ''): void => {
      for (const [n, final] of ['one', ...replicas].entries()) {
        if (model === 'queue' && n > 0) continue;
        finals.push({
          final,
          model,
          role: n === 0 ? 'authority' : 'replica',
          group,
          t: t + finals.length,
          ...structuredClone(what),
          done: true,
        });
      }
    };
    read('set', { values: this.#set });
    for (const [n, values] of this.#log.entries()) read('log', { values }, `p${n}`);
    read('queue', { values: this.#queue });
    read('counter', { keys: this.#counters });
    read('register', { keys: this.#registers });
    return finals;
  }
}

function spoil(defect: Defect, effects: Effect[], finals: FinalRead[], random: Random): void {
  const of = (model: Model): FinalRead[] => finals.filter((final) => final.model === model);
  const acknowledged = (f: OperationName): Effect[] =>
    effects.filter((effect) => effect.op.f === f && effect.outcome === 'ok');
  const remove = (model: Model, value: number): void => {
    for (const final of of(model)) final.values = final.values!.filter((one) => one !== value);
  };
  const authority = (model: Model): FinalRead =>
    random.pick(of(model).filter((final) => final.role === 'authority' && final.values!.length > 50));

  switch (defect) {
    case 'none':
      break;
    case 'set loses':
      remove('set', random.pick(acknowledged('add')).op.v as number);
      break;
    case 'set duplicates':
      of('set')[0]!.values!.push(random.pick(of('set')[0]!.values!));
      break;
    case 'set is stale': {
      const reads = acknowledged('has').filter((read) => {
        const add = effects.find((effect) => effect.op.f === 'add' && effect.op.v === read.op.v);
        return add?.outcome === 'ok' && add.completed < read.invoked;
      });
      random.pick(reads).result = false;
      break;
    }
    case 'log loses within': {
      // The first half of a partition always has later records of the same client behind it.
      const { group, values } = authority('log');
      const sure = new Set(acknowledged('append').map((effect) => effect.op.v));
      const early = values!.slice(0, values!.length / 2).filter((value) => sure.has(value as number));
      const lost = random.pick(early) as number;
      for (const final of of('log'))
        if (final.group === group) final.values = final.values!.filter((one) => one !== lost);
      break;
    }
    case 'log loses its tail': {
      const { group } = authority('log');
      const keep = 20 + random.below(20);
      for (const final of of('log')) if (final.group === group) final.values = final.values!.slice(0, -keep);
      break;
    }
    case 'log duplicates': {
      const log = authority('log');
      log.values!.push(random.pick(log.values!));
      break;
    }
    case 'log reorders': {
      const { values } = authority('log');
      const client = new Map(acknowledged('append').map((effect) => [effect.op.v, effect.op.p]));
      const by = (n: number): number | undefined => client.get(values![n] as number);
      const laterOf = (at: number): number =>
        values!.findIndex((_, n) => n > at && by(at) !== undefined && by(n) === by(at));
      const at = random.pick([...values!.keys()].filter((n) => laterOf(n) > 0));
      const other = laterOf(at);
      [values![at], values![other]] = [values![other]!, values![at]!];
      break;
    }
    case 'queue loses': {
      const enqueued = new Set(acknowledged('enqueue').map((effect) => effect.op.v));
      const given = effects.filter(
        (e) => e.op.f === 'dequeue' && e.outcome === 'ok' && enqueued.has(e.result),
      );
      random.pick(given).result = null;
      break;
    }
    case 'queue delivers twice': {
      const given = effects.filter((e) => e.op.f === 'dequeue' && e.outcome === 'ok' && e.result !== null);
      of('queue')[0]!.values!.push(random.pick(given).result as number);
      break;
    }
    case 'counter loses':
    case 'counter counts twice': {
      const keys = of('counter')[0]!.keys!;
      const k = random.pick(Object.keys(keys));
      const unsure = effects.filter((e) => e.op.f === 'incr' && e.op.k === k && e.outcome === 'info');
      // By more than what nobody knows of, or it could be right.
      const slack = unsure.reduce((sum, effect) => sum + (effect.op.v as number), 0) + 1;
      for (const final of of('counter')) final.keys![k]! += defect === 'counter loses' ? -slack : slack;
      break;
    }
    case 'register is stale': {
      const reads = acknowledged('read').flatMap((read) => {
        const writes = acknowledged('write')
          .filter((write) => write.op.k === read.op.k && write.completed < read.invoked)
          .sort((a, b) => a.completed - b.completed);
        const last = writes[writes.length - 1];
        const old = writes.find((write) => last !== undefined && write.completed < last.invoked);
        return old === undefined ? [] : [{ read, old }];
      });
      const { read, old } = random.pick(reads);
      read.result = old.op.v!;
      break;
    }
    case 'register loses':
      for (const final of of('register'))
        for (const k of Object.keys(final.keys!))
          final.keys![k] = acknowledged('write').find((write) => write.op.k === k)!.op.v as number;
      break;
  }
}
