/** A shard that is to get replicas, with the hosts that already carry one of its members. */
export interface Needy {
  name: string;
  hosts: string[];
  need: number;
}

/**
 * Gives free members to shards so that no two members of a shard share a host, wherever the hosts allow it. The next host
 * after the shard's own is preferred, so that shards of one host have their replicas on different ones. Gives member -> shard.
 */
export function place(
  shards: Needy[],
  members: { name: string; host: string }[],
  hosts: string[],
): Map<string, string> {
  const given = new Map<string, string>();
  const carries = new Map(shards.map((shard) => [shard.name, [...shard.hosts]]));
  const need = new Map(shards.map((shard) => [shard.name, shard.need]));
  const hostOf = new Map(members.map((member) => [member.name, member.host]));
  const free = (): typeof members => members.filter((member) => !given.has(member.name));
  const give = (member: string, shard: string): void => {
    given.set(member, shard);
    carries.get(shard)!.push(hostOf.get(member)!);
    need.set(shard, need.get(shard)! - 1);
  };
  const distance = (shard: Needy, host: string): number => {
    const first = hosts.indexOf(shard.hosts[0] ?? '');
    return (hosts.indexOf(host) - first + hosts.length) % hosts.length;
  };
  const open = (): Needy[] => shards.filter((shard) => need.get(shard.name)! > 0);

  for (let progress = true; progress; ) {
    progress = false;
    // Round by round, the neediest first: a first replica for each before a second for any.
    for (const shard of open().sort((a, b) => need.get(b.name)! - need.get(a.name)!)) {
      const taken = carries.get(shard.name)!;
      const [best] = free()
        .filter((member) => !taken.includes(member.host))
        .sort((a, b) => distance(shard, a.host) - distance(shard, b.host));
      if (best) give(best.name, shard.name);
      else if (!swap(shard)) continue;
      progress = true;
    }
  }
  // Better a replica on a shared host than none.
  for (const shard of open()) {
    for (const member of free().slice(0, need.get(shard.name)!)) give(member.name, shard.name);
  }
  return given;

  /** Frees a fitting member from another shard, which takes one that does not fit here. */
  function swap(shard: Needy): boolean {
    const taken = carries.get(shard.name)!;
    for (const [name, other] of given) {
      const host = hostOf.get(name)!;
      if (other === shard.name || taken.includes(host)) continue;
      const theirs = carries.get(other)!;
      const instead = free().find((member) => member.host === host || !theirs.includes(member.host));
      if (!instead) continue;
      theirs.splice(theirs.indexOf(host), 1);
      given.delete(name);
      need.set(other, need.get(other)! + 1);
      give(instead.name, other);
      give(name, shard.name);
      return true;
    }
    return false;
  }
}
