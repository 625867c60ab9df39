import { type FinalRead, HistoryBroken } from '../history.ts';

interface Member {
  name: string;
  /** Bit of the member in its group's replica masks. */
  bit: number;
  done: boolean;
  failed?: string;
}

interface Group {
  index: number;
  name: string;
  authority?: Member;
  replicas: Map<string, Member>;
  /** A second member that also called itself the authority. */
  rival?: string;
}

const mostReplicas = 16;

/** Why what is absent from the group's authority cannot be called lost. */
function missingOf({ name, authority, rival }: Group): string[] {
  const of = name === '' ? '' : ` of ${name}`;
  const reasons: string[] = [];
  if (rival !== undefined)
    reasons.push(`${authority?.name} and ${rival} both answered as the authority${of}`);
  if (authority?.done) return reasons;
  reasons.push(
    authority?.failed === undefined
      ? `no final read${of} from its authority`
      : `the final read${of} from ${authority.name} failed: ${authority.failed}`,
  );
  return reasons;
}

/** Keeps account of the final reads of one model: who was read, of which group, as what, and whether to the end. */
export class Finals {
  #groups = new Map<string, Group>();
  #byIndex: Group[] = [];
  /** Some operation named no group: what it wrote may be anywhere. */
  #nameless = false;

  constructor(expected: string[]) {
    for (const name of expected) this.#group(name);
  }

  /** Index of the group that an operation names; from then on its authority must be read. Operations that name none belong to index 0 for as long as nobody knows better. */
  groupOf(name: string | undefined): number {
    if (name === undefined) this.#nameless = true;
    return name === undefined ? 0 : this.#group(name).index;
  }

  /** Registers a piece. `authority`: its values are the group's truth; else they are those of replica `bit`. */
  take(read: FinalRead, line: number): { group: number; authority: boolean; bit: number } {
    const group = this.#group(read.group);
    let member: Member | undefined;
    let authority = false;
    if (
      read.role === 'authority' &&
      (group.authority === undefined ||
        group.authority.name === read.final ||
        group.authority.failed !== undefined)
    ) {
      if (group.authority?.name !== read.final) group.authority = { name: read.final, bit: 0, done: false };
      member = group.authority;
      authority = true;
    } else {
      if (read.role === 'authority') group.rival ??= read.final;
      member = group.replicas.get(read.final);
      if (member === undefined) {
        if (group.replicas.size === mostReplicas)
          throw new HistoryBroken(line, `more than ${mostReplicas} replicas of group '${group.name}'`);
        member = { name: read.final, bit: group.replicas.size, done: false };
        group.replicas.set(read.final, member);
      }
    }
    if (member.done)
      throw new HistoryBroken(line, `${read.final} is read a second time for group '${group.name}'`);
    if (read.failed !== undefined) member.failed = read.failed;
    else delete member.failed;
    if (read.done) member.done = true;
    return { group: group.index, authority, bit: member.bit };
  }

  /** Why what is absent cannot be called lost; empty when every group's authority was read to the end. */
  missing(): string[] {
    return this.#expected().flatMap(missingOf);
  }

  /**
   * By the group's index: whether what is absent from its authority is lost. One that was read to the end shows its own losses, also
   * where another was not, for as long as every operation has named the group that it went to.
   */
  judges(): (group: number) => boolean {
    const each = this.#expected().map((group) => missingOf(group).length === 0);
    const all = each.every(Boolean);
    return (group) => (this.#nameless ? all : each[group] === true);
  }

  /** Replicas that were read to the end, of the group with this index. */
  replicasOf(group: number): { name: string; bit: number }[] {
    const found = this.#byIndex[group];
    return found === undefined ? [] : [...found.replicas.values()].filter((member) => member.done);
  }

  /** '' where there is only one. */
  groupName(index: number): string {
    return this.#byIndex[index]?.name ?? '';
  }

  /** By index. Where nothing was said of groups there is one. */
  #expected(): Group[] {
    if (this.#groups.size === 0) this.#group('');
    return this.#byIndex;
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { index: this.#groups.size, name, replicas: new Map() };
      this.#byIndex.push(group);
      this.#groups.set(name, group);
    }
    return group;
  }
}
