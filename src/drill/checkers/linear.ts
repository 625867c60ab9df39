/** A finished operation on one register, in lines of the history. `returned` Infinity: nobody knows whether it happened. */
export interface Access {
  f: 'write' | 'read' | 'cas';
  /** cas only: what it expects. */
  from?: number | null;
  /** Written, or read. */
  value: number | null;
  invoked: number;
  returned: number;
}

/** What the register may be, and which operations of unknown outcome have been used to explain that. */
interface State {
  value: number | null;
  used: number[];
}

export interface Budget {
  /** States looked at, of one register. */
  states: number;
  /** Operations between two quiet moments of one register. */
  operations: number;
}

const slots = 30;

/**
 * Is one register linearizable? The search of Wing and Gong with Lowe's memory of states, done just in time: states are
 * carried from return to return, and cut at every quiet moment (nothing in flight), so memory follows concurrency and
 * not the length of the history. An operation of unknown outcome is put right before the first one that saw its
 * value, which loses no order that explains the history; the rest of them never happened. Beyond its budget the answer is
 * `unknown`, never a guess.
 */
export class LinearSearch {
  verdict: 'linearizable' | 'not linearizable' | 'unknown' = 'linearizable';
  /** Why it is not linearizable, or why nobody knows. */
  why = '';
  #budget: Budget;
  #spent = 0;
  #states: State[] = [{ value: null, used: [] }];
  #unknown = new Map<number, Access>();
  /** Their numbers by the value they write: thousands of timeouts must not slow down every quiet moment. */
  #writersOf = new Map<number | null, number[]>();
  #nextUnknown = 0;
  #segment: Access[] = [];

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** Takes one operation of known or unknown outcome (never a failed one), in any order within the segment. */
  add(access: Access): void {
    if (this.verdict !== 'linearizable') return;
    if (access.returned === Number.POSITIVE_INFINITY && access.f === 'read') return;
    this.#segment.push(access);
    if (this.#segment.length > this.#budget.operations) {
      this.#segment = [];
      this.verdict = 'unknown';
      this.why = `more than ${this.#budget.operations} operations without a quiet moment`;
    }
  }

  /** Nothing is in flight: judges what has been added since the last quiet moment. */
  quiet(): void {
    if (this.verdict !== 'linearizable' || this.#segment.length === 0) return;
    const segment = this.#segment;
    this.#segment = [];
    const certain = segment.filter((access) => access.returned !== Number.POSITIVE_INFINITY);
    for (const access of segment) {
      if (access.returned !== Number.POSITIVE_INFINITY) continue;
      const writers = this.#writersOf.get(access.value) ?? [];
      writers.push(this.#nextUnknown);
      this.#writersOf.set(access.value, writers);
      this.#unknown.set(this.#nextUnknown++, access);
    }
    this.#judge(certain, this.#useful(certain));
  }

  /** Operations of unknown outcome that can explain what was seen: their value was read, or another useful one builds on it. */
  #useful(certain: Access[]): Map<number, Access> {
    const useful = new Map<number, Access>();
    if (this.#unknown.size === 0) return useful;
    const seen: (number | null)[] = [];
    for (const { f, value, from } of certain) {
      if (f === 'read') seen.push(value);
      if (f === 'cas') seen.push(from ?? null);
    }
    while (seen.length > 0) {
      for (const id of this.#writersOf.get(seen.pop()!) ?? []) {
        const access = this.#unknown.get(id);
        if (access === undefined || useful.has(id)) continue;
        useful.set(id, access);
        if (access.f === 'cas') seen.push(access.from ?? null);
      }
    }
    return useful;
  }

  #judge(certain: Access[], useful: Map<number, Access>): void {
    const slotOf = new Map<Access, number>();
    const inSlot: (Access | undefined)[] = [];
    const take = (access: Access): boolean => {
      let slot = inSlot.indexOf(undefined);
      if (slot < 0) slot = inSlot.length;
      if (slot >= slots) {
        this.verdict = 'unknown';
        this.why = `more than ${slots} operations in flight at once`;
        return false;
      }
      inSlot[slot] = access;
      slotOf.set(access, slot);
      return true;
    };

    const events: { line: number; access: Access; returns: boolean }[] = [];
    for (const access of useful.values()) events.push({ line: access.invoked, access, returns: false });
    for (const access of certain) {
      events.push({ line: access.invoked, access, returns: false });
      events.push({ line: access.returned, access, returns: true });
    }
    // A final read is invoked and returned on one line: it enters before it returns.
    events.sort((a, b) => a.line - b.line || Number(a.returns) - Number(b.returns));

    // Which slots were already used when the segment began is known only once slots are given.
    let states: { value: number | null; mask: number; old: number[] }[] = this.#states.map((state) => ({
      value: state.value,
      mask: 0,
      old: state.used,
    }));
    const idOf = new Map([...useful].map(([id, access]) => [access, id]));
    for (const { access, returns } of events) {
      if (!returns) {
        if (!take(access)) return;
        const id = idOf.get(access);
        const bit = 1 << slotOf.get(access)!;
        if (id !== undefined) for (const state of states) if (state.old.includes(id)) state.mask |= bit;
        continue;
      }
      const slot = slotOf.get(access)!;
      states = this.#advance(states, inSlot, 1 << slot);
      if (this.verdict !== 'linearizable') return;
      if (states.length === 0) {
        this.verdict = 'not linearizable';
        this.why = `line ${access.returned}: ${describe(access)} fits no order of the operations`;
        return;
      }
      inSlot[slot] = undefined;
    }

    const next = new Map<string, State>();
    for (const state of states) {
      const used = new Set(state.old);
      for (const [id, access] of useful) if ((state.mask & (1 << slotOf.get(access)!)) !== 0) used.add(id);
      const sorted = [...used].sort((a, b) => a - b);
      next.set(`${state.value} ${sorted}`, { value: state.value, used: sorted });
    }
    this.#states = [...next.values()];
    this.#forget();
  }

  /** From every state, every way to let the operation with this bit take effect, others in flight before it as needed. */
  #advance(
    from: { value: number | null; mask: number; old: number[] }[],
    inSlot: (Access | undefined)[],
    bit: number,
  ): { value: number | null; mask: number; old: number[] }[] {
    const reached = new Map<string, { value: number | null; mask: number; old: number[] }>();
    const visited = new Set<string>();
    const open = [...from];
    while (open.length > 0) {
      const state = open.pop()!;
      if ((state.mask & bit) !== 0) {
        const done = { value: state.value, mask: state.mask & ~bit, old: state.old };
        reached.set(`${done.value} ${done.mask} ${done.old}`, done);
        continue;
      }
      for (let slot = 0; slot < inSlot.length; slot++) {
        const access = inSlot[slot];
        if (access === undefined || (state.mask & (1 << slot)) !== 0) continue;
        if (access.f === 'read' && access.value !== state.value) continue;
        if (access.f === 'cas' && (access.from ?? null) !== state.value) continue;
        const value = access.value;
        const mask = state.mask | (1 << slot);
        const key = `${value} ${mask} ${state.old}`;
        if (visited.has(key)) continue;
        visited.add(key);
        if (++this.#spent > this.#budget.states) {
          this.verdict = 'unknown';
          this.why = `more than ${this.#budget.states} states to look at`;
          return [];
        }
        open.push({ value, mask, old: state.old });
      }
    }
    return [...reached.values()];
  }

  /** What every state has used needs no more remembering. */
  #forget(): void {
    const first = this.#states[0];
    if (first === undefined || first.used.length === 0) return;
    const everywhere = first.used.filter((id) => this.#states.every((state) => state.used.includes(id)));
    if (everywhere.length === 0) return;
    for (const id of everywhere) this.#unknown.delete(id);
    for (const state of this.#states) state.used = state.used.filter((id) => !everywhere.includes(id));
  }
}

function describe(access: Access): string {
  if (access.f === 'read') return `a read of ${access.value}`;
  if (access.f === 'cas') return `a change from ${access.from} to ${access.value}`;
  return `a write of ${access.value}`;
}
