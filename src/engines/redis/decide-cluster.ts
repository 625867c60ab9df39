import type { Cluster } from '../../file/cluster.ts';
import { at, type LiveMember, type RedisLive } from './live.ts';
import { copied, hold, type Move, move, stays, wait } from './move.ts';
import { slotsOf } from './nodes.ts';
import { place } from './placement.ts';
import { type RedisService, replicasOf, type Seat, seatsOf, shardsOf } from './seats.ts';
import { balance, deal, ranges, showRanges, slotCount } from './slots.ts';
import { ghosts, idOf, type Known, openSlots, type Topology, topology } from './topology.ts';

/**
 * What to do so that the cluster has its shards, each with its replicas, and the slots are shared out. Masters that are
 * masters stay masters, whoever they are; slots move only when the number of shards changes or a shard is more than 2% off its share.
 */
export function decideCluster(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  fresh: Set<string>,
): Move[] {
  const slow = live.members.find((member) => member.loading && !member.leaving);
  if (slow) return [wait(slow.name, 'it is still reading its data')];
  const topo = topology(live);
  if (topo.foreign.length > 0)
    return topo.foreign.map((member) =>
      hold(
        member.name,
        `it holds ${member.keys ?? 0} keys or slots of another cluster, and is not joined to this one. Empty it or take it out`,
      ),
    );
  if (topo.unsettled.length > 0)
    return [wait(topo.unsettled[0]!.name, 'the others do not know its new role yet')];
  return topo.owners.length === 0
    ? form(service, cluster, live, topo, fresh)
    : keep(service, cluster, live, topo, fresh);
}

/** Members that can take part: they answer, or are about to be started for the first time. */
function present(service: RedisService, cluster: Cluster, live: RedisLive, fresh: Set<string>): Seat[] {
  const up = new Set(live.members.filter((member) => member.up).map((member) => member.name));
  return seatsOf(service, cluster).filter((seat) => up.has(seat.name) || fresh.has(seat.name));
}

function meet(names: string[], service: string): Move[] {
  return names.length === 0
    ? []
    : [
        move(
          'join',
          names.join(', '),
          'does not know the others yet',
          { name: 'meet', args: { members: names } },
          { id: `join ${service}` },
        ),
      ];
}

/** A cluster in which nobody owns a slot: masters are the first members, each on another host as far as there are hosts. */
function form(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  topo: Topology,
  fresh: Set<string>,
): Move[] {
  const seats = seatsOf(service, cluster);
  const here = present(service, cluster, live, fresh);
  const missing = seats.filter((seat) => !here.some((one) => one.name === seat.name));
  if (missing.length > 0)
    return [
      wait(
        service.name,
        `${missing.map((seat) => seat.name).join(', ')} do not answer, and may hold the cluster's slots`,
      ),
    ];
  const full = live.members.find((member) => (member.keys ?? 0) > 0);
  if (full)
    return [hold(full.name, `it holds ${full.keys} keys, and no member owns a slot: its nodes.conf is lost`)];
  const shards = shardsOf(service.spec);
  // An interrupted forming may have made replicas already: they are not made masters.
  const roleless = seats.filter(
    (seat) => !live.members.some((member) => member.name === seat.name && member.role === 'replica'),
  );
  const masters = roleless.slice(0, shards);
  const joins = meet(
    seats
      .filter(
        (seat) =>
          fresh.has(seat.name) || [...topo.blank, ...topo.apart].some((one) => one.name === seat.name),
      )
      .map((seat) => seat.name),
    service.name,
  );
  const shared = deal(shards);
  const slots = move(
    'slots',
    masters.map((seat) => seat.name).join(', '),
    `${slotCount} slots, ${shards} shards`,
    {
      name: 'slots',
      args: { slots: Object.fromEntries(masters.map((seat, i) => [seat.name, [shared[i]!]])) },
    },
    { id: `slots ${service.name}`, needs: joins.map((one) => one.id) },
  );
  const replicas = place(
    masters.map((seat) => ({ name: seat.name, hosts: [seat.host], need: replicasOf(service) })),
    seats.filter((seat) => !masters.includes(seat)),
    service.hosts,
  );
  return [
    ...joins,
    slots,
    // Beside the slots: a node that has just started takes none for two seconds, and copies meanwhile.
    ...[...replicas].map(([member, master]) => replicate(member, master, 'new', slots.needs)),
  ];
}

const replicate = (member: string, master: string, why: string, needs: string[]): Move =>
  move(
    'replicate',
    member,
    `${why}: copies ${master}`,
    { name: 'replicate', args: { member, master } },
    { needs },
  );

function keep(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  topo: Topology,
  fresh: Set<string>,
): Move[] {
  const lost = broken(service, live, topo);
  if (lost.length > 0) return lost;

  const seats = seatsOf(service, cluster);
  const wantedAt = new Set(seats.map(at));
  const moves: Move[] = [];
  const nameOf = (id: string): string => topo.nodes.get(id)?.member?.name ?? id;

  for (const { slot, from, to } of group(openSlots(topo)))
    moves.push(
      move(
        'finish',
        `slots ${showRanges(ranges(slot))}`,
        `begun and not ended: ${nameOf(from)} to ${nameOf(to)}`,
        { name: 'migrate', args: { from: nameOf(from), to: nameOf(to), slots: ranges(slot) } },
        { id: `finish ${nameOf(from)} to ${nameOf(to)}`, needs: moves.map((one) => one.id) },
      ),
    );
  const opened = moves.map((one) => one.id);

  const here = present(service, cluster, live, fresh);
  const joins = meet(
    here
      .filter(
        (seat) =>
          fresh.has(seat.name) || [...topo.blank, ...topo.apart].some((one) => one.name === seat.name),
      )
      .map((seat) => seat.name),
    service.name,
  );
  moves.push(...joins);
  const joined = [...opened, ...joins.map((one) => one.id)];
  const gone = ghosts(topo, live, wantedAt);
  if (gone.length > 0)
    moves.push(
      move(
        'forget',
        gone.map(({ node }) => `${at(node)} (${node.id.slice(0, 8)})`).join(', '),
        'nobody is this node any more',
        { name: 'forget', args: { ids: gone.map(({ node }) => node.id) } },
        { id: `forget ${service.name}`, needs: joined },
      ),
    );

  // Which shards stay.
  const shards = shardsOf(service.spec);
  const replicasByMaster = new Map<string, Known[]>();
  for (const known of topo.nodes.values())
    if (known.node.master)
      replicasByMaster.set(known.node.master, [...(replicasByMaster.get(known.node.master) ?? []), known]);
  const leavingOwner = ({ member }: Known): boolean => member?.leaving === true;
  const staying = ({ node }: Known): number =>
    (replicasByMaster.get(node.id) ?? []).filter(({ member }) => member && !member.leaving).length;
  const surplus = Math.max(0, topo.owners.length - shards);
  const byWorth = [...topo.owners].sort(
    (a, b) =>
      Number(leavingOwner(b)) - Number(leavingOwner(a)) ||
      staying(a) - staying(b) ||
      b.member!.name.localeCompare(a.member!.name),
  );
  const dropped = byWorth.slice(0, surplus);
  const kept = topo.owners.filter((owner) => !dropped.includes(owner));

  // Which members become the masters of new shards.
  const memberOf = new Map(live.members.filter((member) => member.up).map((member) => [member.name, member]));
  const nodeOf = (name: string): Known | undefined => {
    const member = memberOf.get(name);
    return member && topo.nodes.get(idOf(member));
  };
  const isReplica = (name: string): boolean => nodeOf(name)?.node.master !== undefined;
  const isOwner = (name: string): boolean => (nodeOf(name)?.node.slots.length ?? 0) > 0;
  const newMasters: Seat[] = [];
  const masterHosts = kept.map((owner) => owner.member!.host);
  while (kept.length + newMasters.length < shards) {
    const load = (host: string): number =>
      [...masterHosts, ...newMasters.map((seat) => seat.host)].filter((other) => other === host).length;
    const [next] = here
      .filter((seat) => !isReplica(seat.name) && !isOwner(seat.name) && !newMasters.includes(seat))
      .sort((a, b) => load(a.host) - load(b.host));
    if (!next) {
      const silent = seats.filter((seat) => !here.some((one) => one.name === seat.name));
      const free =
        silent.length > 0
          ? `${silent.map((seat) => seat.name).join(', ')} do not answer`
          : 'every member is a replica';
      return [
        ...moves,
        hold(
          service.name,
          `no member can become the master of shard ${kept.length + newMasters.length + 1}: ${free}`,
        ),
      ];
    }
    newMasters.push(next);
  }

  // Replicas: those that copy a kept shard stay where they are; the others go where one is missing.
  const masters = [
    ...kept.map((owner) => ({
      name: owner.member!.name,
      host: owner.member!.leaving ? undefined : owner.member!.host,
      id: owner.node.id,
    })),
    ...newMasters.map((seat) => ({
      name: seat.name,
      host: seat.host as string | undefined,
      id: nodeOf(seat.name)?.node.id,
    })),
  ];
  const want = replicasOf(service);
  // A leaving master hands its place to one of its replicas.
  const roomAt = (host: string | undefined): number => (host === undefined ? want + 1 : want);
  const seatAtNode = new Map(seats.map((seat) => [at(seat), seat]));
  const settled = new Map<string, string[]>();
  const spare: Seat[] = [];
  for (const { name, id, host } of masters) {
    // A dead member that is still counted keeps its place: it comes back to it.
    const own = (id ? (replicasByMaster.get(id) ?? []) : [])
      .filter(({ node, member }) => !gone.some((ghost) => ghost.node.id === node.id) && !member?.leaving)
      .flatMap(({ node }) => seatAtNode.get(at(node)) ?? []);
    const room = roomAt(host);
    settled.set(
      name,
      own.slice(0, room).map((seat) => seat.name),
    );
    spare.push(...own.slice(room));
  }
  const busy = new Set([
    ...masters.map((one) => one.name),
    ...[...settled.values()].flat(),
    ...spare.map((seat) => seat.name),
  ]);
  const free = [
    ...here.filter((seat) => !busy.has(seat.name)),
    ...spare.filter((seat) => here.some((one) => one.name === seat.name)),
  ];
  const hostOf = new Map(seats.map((seat) => [seat.name, seat.host]));
  const needy = masters.map(({ name, host }) => {
    const carried = settled.get(name)!;
    return {
      name,
      hosts: [...(host === undefined ? [] : [host]), ...carried.map((one) => hostOf.get(one)!)],
      need: Math.max(0, roomAt(host) - carried.length),
    };
  });

  const slots = balance(
    new Map(topo.owners.map((owner) => [owner.member!.name, slotsOf(owner.node)])),
    masters.map((one) => one.name),
  );
  const migrations: Move[] = [];
  for (const { from, to, slots: list } of slots) {
    const before = migrations.length > 0 ? [migrations.at(-1)!.id] : joined;
    migrations.push(
      move(
        'move slots',
        `${from} to ${to}`,
        `${list.length} slots: ${masters.length} shards share ${slotCount}`,
        { name: 'migrate', args: { from, to, slots: ranges(list) } },
        { needs: before },
      ),
    );
  }
  const placed = place(needy, free, service.hosts);
  const droppedNames = new Set(dropped.map((owner) => owner.member!.name));
  const empties = migrations.map((one) => one.id);
  // Copies of new members come before the slots move to their masters, so that nothing is ever held once only.
  const early: Move[] = [];
  const late: Move[] = [];
  for (const [member, master] of placed) {
    const node = nodeOf(member)?.node;
    const why = node
      ? node.master
        ? `${nameOf(node.master)} has more than its ${want}`
        : 'owns no slots'
      : 'new';
    if (droppedNames.has(member)) late.push(replicate(member, master, 'its slots are gone', empties));
    else if (node?.master && dropped.some((owner) => owner.node.id === node.master))
      late.push(replicate(member, master, 'its shard is gone', empties));
    else early.push(replicate(member, master, why, joined));
  }
  const earlyIds = early.map((one) => one.id);
  moves.push(...early);
  moves.push(...migrations.map((one) => ({ ...one, needs: [...one.needs, ...earlyIds] })));
  moves.push(...late);

  // Members that leave: what they still lead is handed over, then all forget them; where the shard has all its other members.
  const silent = seats.filter((seat) => !here.some((one) => one.name === seat.name));
  const leavers = [...topo.nodes.values()].flatMap(({ node, member }) => {
    if (!member?.leaving) return [];
    const shard = masters.find((one) => one.id === (node.master ?? node.id));
    const stay = shard ? settled.get(shard.name)!.filter((name) => memberOf.has(name)) : [];
    const come = [...placed.values()].filter((master) => master === shard?.name).length;
    const bare = shard !== undefined && stay.length + come < roomAt(shard.host);
    return [{ node, member, stay, bare }];
  });
  for (const { member } of leavers.filter(({ bare }) => bare)) moves.push(stays(member, 'its shard', silent));
  const released = leavers.filter(({ bare }) => !bare);
  const synced = [...new Set(released.flatMap(({ stay }) => stay))]
    .filter((name) => memberOf.get(name)!.linkUp !== true)
    .map((name) => copied(name, []));
  moves.push(...synced);
  const before = [...[...early, ...migrations, ...late, ...synced].map((one) => one.id), ...joined];
  for (const { member } of released.filter(({ node }) => kept.some((owner) => owner.node === node)))
    moves.push(
      move(
        'hand over',
        member.name,
        'the file no longer has it',
        { name: 'yield', args: { member: member.name } },
        { needs: before },
      ),
    );
  for (const { node, member } of released) {
    const handed = moves
      .filter((one) => one.verb === 'hand over' && one.target === member.name)
      .map((one) => one.id);
    moves.push(
      move(
        'forget',
        member.name,
        'the file no longer has it',
        { name: 'forget', args: { ids: [node.id], leaving: member.name } },
        { id: `release ${member.name}`, needs: [...before, ...handed] },
      ),
    );
  }
  return moves;
}

function group(open: ReturnType<typeof openSlots>): { slot: number[]; from: string; to: string }[] {
  const groups = new Map<string, { slot: number[]; from: string; to: string }>();
  for (const { slot, from, to } of open) {
    const key = `${from} ${to}`;
    const one = groups.get(key) ?? { slot: [], from, to };
    one.slot.push(slot);
    groups.set(key, one);
  }
  return [...groups.values()];
}

/** Slots that nobody serves: while that is so nothing else is changed. */
function broken(service: RedisService, live: RedisLive, topo: Topology): Move[] {
  const moves: Move[] = [];
  for (const { node, member } of topo.owners) {
    if (member && !member.leaving) continue;
    if (member?.leaving) continue;
    const slots = showRanges(node.slots);
    const known = live.members.find((one) => at(one) === at(node));
    const heirs = [...topo.nodes.values()].filter((one) => one.node.master === node.id && one.member);
    if (heirs.length > 0)
      moves.push(
        wait(
          `slots ${slots}`,
          `their master ${known?.name ?? at(node)} is dead and ${heirs[0]!.member!.name} has not been elected yet; electing takes a majority of the masters`,
        ),
      );
    else if (known?.up)
      moves.push(
        move(
          'give up',
          `slots ${slots}`,
          `${known.name} came back empty and no replica has them: their keys are lost`,
          {
            name: 'slots',
            args: { slots: { [known.name]: node.slots }, meet: [known.name], forget: [node.id] },
          },
          { destroys: service.name, id: `give up ${at(node)}` },
        ),
      );
    else
      moves.push(
        hold(
          `slots ${slots}`,
          `they are on ${known?.name ?? at(node)}, which does not answer (${known?.why ?? 'gone'}) and has no replica: bring it back`,
        ),
      );
  }
  const uncovered = Array.from({ length: slotCount }, (_, slot) => slot).filter(
    (slot) => topo.slotOwner[slot] === undefined,
  );
  if (moves.length === 0 && uncovered.length > 0) {
    const masters = topo.owners.map((owner) => owner.member as LiveMember);
    const empty = live.members.every((member) => (member.keys ?? 0) === 0);
    const forming = deal(shardsOf(service.spec));
    // A forming that was cut off half-way is finished as it was begun.
    const wanted: Record<string, [number, number][]> = {};
    if (empty) {
      const idle = [...topo.nodes.values()].filter(
        ({ node, member }) => member && !node.master && node.slots.length === 0,
      );
      const missing = forming.filter(([first]) => topo.slotOwner[first] === undefined);
      missing.forEach((range, i) => {
        const to = idle[i]?.member?.name ?? masters[i % masters.length]!.name;
        wanted[to] = [...(wanted[to] ?? []), range];
      });
      const exact = Object.values(wanted)
        .flat()
        .reduce((sum, [from, to]) => sum + to - from + 1, 0);
      if (exact === uncovered.length)
        return [
          move(
            'slots',
            Object.keys(wanted).join(', '),
            `slots ${showRanges(ranges(uncovered))} have no owner yet`,
            { name: 'slots', args: { slots: wanted } },
            { id: `slots ${service.name}` },
          ),
        ];
    }
    const spread: Record<string, [number, number][]> = {};
    ranges(uncovered).forEach((range, i) => {
      const to = masters[i % masters.length]!.name;
      spread[to] = [...(spread[to] ?? []), range];
    });
    moves.push(
      move(
        'slots',
        Object.keys(spread).join(', '),
        `slots ${showRanges(ranges(uncovered))} have no owner${empty ? '' : ': their keys are lost'}`,
        { name: 'slots', args: { slots: spread } },
        { id: `slots ${service.name}`, ...(empty ? {} : { destroys: service.name }) },
      ),
    );
  }
  return moves;
}
