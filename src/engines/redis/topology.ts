import { at, type LiveMember, type RedisLive } from './live.ts';
import { type ClusterNode, slotsOf } from './nodes.ts';
import { slotCount } from './slots.ts';

/** A node of the cluster as the newest view has it, with the member behind its address, where that is the same node. */
export interface Known {
  node: ClusterNode;
  member?: LiveMember;
}

/** The cluster as its members see it together. */
export interface Topology {
  /** By node id. */
  nodes: Map<string, Known>;
  /** Nodes that own slots. */
  owners: Known[];
  slotOwner: (string | undefined)[];
  /** Members that know nobody and own nothing: new ones, or ones that lost their disk. */
  blank: LiveMember[];
  /** Members that know the cluster, but that it does not know: a join that was interrupted, or a member that was let go. */
  apart: LiveMember[];
  /** Members of another cluster, or with keys of their own. */
  foreign: LiveMember[];
  /** Members whose view of their own role the others do not share yet. */
  unsettled: LiveMember[];
}

const own = (member: LiveMember): ClusterNode | undefined =>
  member.nodes?.find((node) => node.flags.has('myself'));

export const idOf = (member: LiveMember): string => own(member)?.id ?? '';

/** Puts the members' views together. Where they differ the one with the newest epoch counts: Redis Cluster's own rule. */
export function topology(live: RedisLive): Topology {
  const ups = live.members.filter((member) => member.up && own(member));
  const blank = ups.filter(
    (member) => alone(member) && own(member)!.slots.length === 0 && (member.keys ?? 0) === 0,
  );
  const joined = ups.filter((member) => !blank.includes(member));
  const rank = (member: LiveMember): number[] => [
    member.nodes!.some((node) => node.slots.length > 0) ? 1 : 0,
    // One that the others have forgotten has no say.
    joined.filter((other) => other.nodes!.some((node) => node.id === idOf(member))).length,
    Math.max(...member.nodes!.map((node) => node.epoch)),
    member.nodes!.length,
  ];
  const view = joined.reduce<LiveMember | undefined>(
    (best, one) => (best && compare(rank(best), rank(one)) >= 0 ? best : one),
    undefined,
  );
  const nodes = new Map<string, Known>();
  for (const node of view?.nodes ?? []) {
    if (node.flags.has('handshake')) continue;
    const member = ups.find((one) => idOf(one) === node.id);
    nodes.set(node.id, member ? { node, member } : { node });
  }
  const owners = [...nodes.values()].filter(({ node }) => node.slots.length > 0);
  const slotOwner: (string | undefined)[] = Array(slotCount).fill(undefined);
  for (const { node } of owners) for (const slot of slotsOf(node)) slotOwner[slot] = node.id;

  const foreign = joined.filter((member) => {
    const mine = own(member)!;
    if (nodes.has(mine.id)) return false;
    const holds = mine.slots.length > 0 || (mine.master === undefined && (member.keys ?? 0) > 0);
    return holds || !knowsOurs(member, nodes);
  });
  const apart = joined.filter((member) => !nodes.has(idOf(member)) && !foreign.includes(member));
  const unsettled = joined.filter((member) => {
    const theirs = nodes.get(idOf(member))?.node;
    const mine = own(member)!;
    if (!theirs) return false;
    return theirs.flags.has('slave') !== mine.flags.has('slave') || theirs.master !== mine.master;
  });
  return { nodes, owners, slotOwner, blank, apart, foreign, unsettled };
}

const alone = (member: LiveMember): boolean =>
  member.nodes!.every((node) => node.flags.has('myself') || node.flags.has('handshake'));
const knowsOurs = (member: LiveMember, nodes: Map<string, Known>): boolean =>
  member.nodes!.some((node) => !node.flags.has('myself') && nodes.has(node.id));

function compare(a: number[], b: number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** A slot whose move was begun and not ended: where its keys are, and where they were going. Node ids. */
export interface OpenSlot {
  slot: number;
  from: string;
  to: string;
}

/**
 * Slots that a move left open. Whoever owns the slot now is the source; the destination is the node that imports it, or the present master of
 * the shard that it was going to (a failover on either side forgets its half of the state).
 */
export function openSlots(topo: Topology): OpenSlot[] {
  const masterOf = (id: string): string | undefined => {
    const node = topo.nodes.get(id)?.node;
    return node?.master ?? (node ? id : undefined);
  };
  const destinations = new Map<number, string>();
  const touched = new Set<number>();
  const sources = new Map<number, string>();
  for (const { member } of topo.nodes.values()) {
    const mine = member && own(member);
    if (!mine) continue;
    for (const [slot, to] of mine.migrating) {
      touched.add(slot);
      sources.set(slot, mine.id);
      const master = masterOf(to);
      if (master && !destinations.has(slot)) destinations.set(slot, master);
    }
    for (const [slot] of mine.importing) {
      touched.add(slot);
      destinations.set(slot, mine.id);
    }
  }
  return [...touched]
    .sort((a, b) => a - b)
    .flatMap((slot) => {
      const owner = topo.slotOwner[slot];
      const to = destinations.get(slot) ?? owner;
      // The destination owns it already: the source has yet to be told.
      const from = owner === to ? (sources.get(slot) ?? owner) : owner;
      return from && to ? [{ slot, from, to }] : [];
    });
}

/** Nodes that nobody is any more: their address is now another node's, or the file no longer has it and it is dead. */
export function ghosts(topo: Topology, live: RedisLive, wanted: Set<string>): Known[] {
  const ups = new Map(live.members.filter((member) => member.up).map((member) => [at(member), idOf(member)]));
  return [...topo.nodes.values()].filter(({ node, member }) => {
    if (member || node.slots.length > 0) return false;
    const now = ups.get(at(node));
    if (now !== undefined && now !== node.id) return true;
    return node.flags.has('noaddr') || (node.flags.has('fail') && !wanted.has(at(node)));
  });
}
