import { StepHeld } from '../../engine.ts';

import { at, type LiveMember, mastersOf, type RedisLive } from '../live.ts';
import { distrusted } from '../newest.ts';
import type { RedisService } from '../seats.ts';
import { type Range, slotCount } from '../slots.ts';
import { openSlots, topology } from '../topology.ts';

/** A shard and the member that its data is copied from. */
export interface Source {
  slots: Range[];
  master: LiveMember;
  from: LiveMember;
  role: 'replica' | 'master';
}

/**
 * Whom each shard is copied from: of its replicas in touch the one that is furthest, so that no master is asked to
 * fork; the master itself only when there is none. In the order of their slots. Throws StepHeld when the whole of the data cannot be
 * had now: a shard without a master, slots on the move.
 */
export function sourcesOf(service: RedisService, live: RedisLive): Source[] {
  if (service.spec.mode !== 'cluster') {
    const masters = mastersOf(live);
    if (masters.length === 1) return [source(masters[0]!, [], live)];
    throw new StepHeld(
      masters.length === 0
        ? `${service.name} has no master that answers: phalanx status says why`
        : `${masters.map((one) => one.name).join(' and ')} are both masters: phalanx plan says whose data counts`,
    );
  }
  const topo = topology(live);
  const unowned = topo.slotOwner.filter((owner) => owner === undefined).length;
  if (unowned > 0) throw new StepHeld(`${unowned} of ${slotCount} slots of ${service.name} have no owner`);
  if (openSlots(topo).length > 0)
    throw new StepHeld(`slots of ${service.name} are on the move: phalanx up ends that`);
  const unsettled = topo.unsettled[0];
  if (unsettled) throw new StepHeld(`${unsettled.name}: the others do not know its new role yet`);
  return [...topo.owners]
    .sort((a, b) => a.node.slots[0]![0] - b.node.slots[0]![0])
    .map(({ node }) => {
      const member = live.members.find((one) => at(one) === at(node));
      if (member?.up) return source(member, node.slots, live);
      const why = member?.why === undefined ? '' : ` (${member.why})`;
      throw new StepHeld(`${member?.name ?? at(node)} owns slots and does not answer${why}`);
    });
}

function source(master: LiveMember, slots: Range[], live: RedisLive): Source {
  const fit = live.members.filter(
    (one) =>
      one.up &&
      one.role === 'replica' &&
      one.linkUp === true &&
      !one.loading &&
      !distrusted(one) &&
      leads(live, one) === master,
  );
  const [best] = fit.sort((a, b) => (b.offset ?? 0) - (a.offset ?? 0));
  return best
    ? { slots, master, from: best, role: 'replica' }
    : { slots, master, from: master, role: 'master' };
}

/** The master at the head of a member's chain. */
function leads(live: RedisLive, member: LiveMember): LiveMember | undefined {
  let one: LiveMember | undefined = member;
  for (let hops = 0; one?.role === 'replica' && hops < 20; hops++) {
    const below: LiveMember = one;
    one = below.linkUp ? live.members.find((other) => at(other) === at(below.upstream!)) : undefined;
  }
  return one;
}
