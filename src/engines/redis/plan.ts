import { createHash } from 'node:crypto';
import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Member, Step } from '../engine.ts';
import { chain, sideBySide } from '../rolling.ts';
import { decideCluster } from './decide-cluster.ts';
import { decideReplication } from './decide-replication.ts';
import { decideSentinel } from './decide-sentinel.ts';
import { directives, drift } from './directives.ts';
import { explained } from './explain.ts';
import { guardedBy } from './guard.ts';
import { at, type LiveMember, type RedisLive } from './live.ts';
import { blocks, hold, type Move, move, stepOf } from './move.ts';
import { type RedisService, seatsOf, sentinelSeatsOf } from './seats.ts';
import { markPrefix, users } from './users.ts';

/** What is to be done about roles, slots and sentinels, whatever the mode. Pure; [] when all is as it should be. */
export function decide(service: RedisService, cluster: Cluster, live: RedisLive, fresh: Set<string>): Move[] {
  const by = { replication: decideReplication, sentinel: decideSentinel, cluster: decideCluster };
  const moves = by[service.spec.mode](service, cluster, live, fresh);
  const damaged = live.members.filter((member) => member.damage && !member.leaving);
  if (damaged.length === 0) return moves;
  // What waits for them waits for a person.
  return [
    ...damaged.map((member) => hold(member.name, explained(service, live, member))),
    ...moves.filter((one) => !blocks(one)),
  ];
}

/**
 * The steps of `up` for a redis service. Members that run are changed by what was observed of them, step by step. As soon as one of them
 * is still to be started (or nothing is known of it) its data is not known either: the plan then ends in one step,
 * `settle`, that asks again when all are up and takes the same decisions.
 */
export function redisPlan(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive | undefined,
  given: BasePlan,
): Step[] {
  const refused = whyRefuse(service, cluster, live, given);
  if (refused !== undefined) {
    const refuse: Step = {
      ...stepOf(service.name, hold(service.name, refused)),
      ...{ id: `refuse ${service.name}`, verb: 'refuse', refuses: true },
    };
    // Those that leave stay too: what is not given back here is done as it is.
    return [refuse, ...takenDown(given, () => [refuse.id])];
  }
  const base = readiness(service, given);
  const started = base.members.filter((member) => verbs(base, member).includes('start'));
  // What is not among the members found on a host that answered is not there yet.
  const answered = new Set(
    [...base.observed.values()].filter((state) => state.reachable).map((state) => state.host),
  );
  const fresh = new Set(
    started
      .filter((member) => {
        const state = base.observed.get(member.name);
        return state ? !state.present : answered.has(member.host);
      })
      .map((member) => member.name),
  );
  const steps = live ? roll(service, cluster, live, base) : sideBySide(base);
  const settings = live ? changes(service, cluster, live, base) : [];
  const unknown = started.some((member) => !fresh.has(member.name));

  if (live && !unknown) {
    const moves = decide(service, cluster, live, fresh);
    const ready = new Map(
      base.members.map((member) => [member.name, base.byMember.get(member.name)?.at(-1)?.id] as const),
    );
    const begun = moves.map((one) => {
      const touched = [...fresh].filter((name) => JSON.stringify(one.action.args).includes(`"${name}"`));
      return { ...one, needs: [...one.needs, ...touched.flatMap((name) => ready.get(name) ?? [])] };
    });
    // Something is changing by itself (an election, a member that loads): nothing can be said before it is over.
    if (!begun.some((one) => one.action.name === 'wait')) {
      const held = begun.filter(blocks).map((one) => one.id);
      const rolls = steps.some((step) => step.verb === 'restart');
      // What is dead already is forgotten with what leaves now.
      const later = base.leaving.size > 0 ? 'forget-strangers' : undefined;
      const roles = begun.filter((one) => one.action.name !== later).map((one) => stepOf(service.name, one));
      // Roles first: a restart counts on the replicas that the file wants, and a member that started with its
      // guards up (start.ts) keeps them until it has its place.
      const after = roles.map((step) => step.id);
      return [
        ...roles,
        ...settings.map((step) => ({ ...step, needs: [...step.needs, ...after] })),
        ...(rolls
          ? steps.map((step) =>
              step.verb === 'gate' || step.verb === 'hand over'
                ? { ...step, needs: [...step.needs, ...(held.length > 0 ? held : after)] }
                : step,
            )
          : steps),
        ...forgotten(
          service,
          cluster,
          fresh,
          takenDown(base, (name) => (after.includes(`release ${name}`) ? [`release ${name}`] : after)),
        ),
      ];
    }
  }

  const loading = live?.members.find((member) => member.loading);
  const pending = started.map((one) => one.name).filter((name) => !fresh.has(name));
  const why =
    pending.length === base.members.length || !live
      ? 'once its members are up: who leads is decided by the newest data'
      : pending.length > 0
        ? `once ${pending.join(', ')} ${pending.length === 1 ? 'is' : 'are'} up: the live roles decide`
        : loading
          ? `${loading.name} is still reading its data`
          : waitReason(service, cluster, live, fresh);
  const settle = stepOf(service.name, move('settle', service.name, why, { name: 'settle', args: {} }));
  settle.after = steps.map((step) => step.id);
  const last = settings.map((step) => ({ ...step, needs: [...step.needs, settle.id] }));
  const left = takenDown(base, () => [settle.id]);
  return [...steps, settle, ...last, ...forgotten(service, cluster, fresh, left)];
}

/** Why no member can be brought to what the file says as long as they run as they do; undefined when they can. */
function whyRefuse(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive | undefined,
  base: BasePlan,
): string | undefined {
  const { spec } = service;
  const ports = new Map(seatsOf(service, cluster).map(({ name, port }) => [name, port]));
  for (const member of base.members) {
    if (!verbs(base, member).includes('restart')) continue;
    const found = live?.members.find(({ name }) => name === member.name);
    const encrypted = base.observed.get(member.name)?.files['tls.crt'] !== undefined;
    const port = ports.get(member.name);
    const clustered = found?.config?.['cluster-enabled'];
    const moved = found?.listens !== undefined && found.listens !== port;
    const otherwise = clustered !== undefined && (clustered === 'yes') !== (spec.mode === 'cluster');
    const differences = [
      ...(encrypted === spec.tls ? [] : [`tls ${encrypted}, not ${spec.tls}`]),
      ...(moved ? [`port ${found.listens}, not ${port}`] : []),
      ...(otherwise ? [`${clustered === 'yes' ? 'mode cluster' : 'another mode'}, not ${spec.mode}`] : []),
    ];
    if (differences.length === 0) continue;
    // One that restarts alone would no longer find the others, nor they it, and applications would be sent to where nobody serves yet.
    const runs = `${member.name} runs with ${differences.join(' and ')}`;
    // A cluster's slots belong to its nodes, which know each other by their ports.
    return otherwise || (moved && spec.mode === 'cluster')
      ? `${runs}: its data does not go over. Put the file back, add a service of another name that has it so, and fill that one: phalanx backup ${service.name}, phalanx restore NAME FOLDER --foreign`
      : `${runs}: members and applications find each other by it, so it changes while all are stopped. phalanx down, then phalanx up`;
  }
  return undefined;
}

/** Our own way to wait for a data member: it ends at once with the reason when the member finds its data damaged. */
function readiness(service: RedisService, base: BasePlan): BasePlan {
  const own = ({ name, kind }: Member): Step[] =>
    (base.byMember.get(name) ?? []).map((step) =>
      step.do.kind === 'ready' && kind === 'redis'
        ? {
            ...step,
            do: { kind: 'engine', service: service.name, action: { name: 'ready', args: { member: name } } },
          }
        : step,
    );
  return { ...base, byMember: new Map(base.members.map((member) => [member.name, own(member)])) };
}

/** Members out of the file are stopped only when their slots and their leadership are somebody else's. */
function takenDown(base: BasePlan, needs: (member: string) => string[]): Step[] {
  return [...base.leaving].flatMap(([name, [first, ...rest]]) =>
    first ? [{ ...first, needs: [...first.needs, ...needs(name)] }, ...rest] : [],
  );
}

/**
 * Sentinels go on counting what has left, replicas and each other, until they are told to forget: one after the other, since each is without its memory
 * for a moment. `left` are the steps by which members leave; gives them with those after them.
 */
function forgotten(service: RedisService, cluster: Cluster, fresh: Set<string>, left: Step[]): Step[] {
  if (left.length === 0) return [];
  const names = [...new Set(left.map((step) => step.target))].join(', ');
  const sentinels = sentinelSeatsOf(service, cluster).filter(({ name }) => !fresh.has(name));
  const forgets = sentinels.map(({ name }) =>
    stepOf(
      service.name,
      move(
        'forget on',
        name,
        `${names} left and would still count`,
        { name: 'forget-strangers', args: { sentinel: name } },
        { needs: left.map(({ id }) => id) },
      ),
    ),
  );
  return [...left, ...chain(forgets)];
}

const verbs = (base: BasePlan, member: Member): string[] =>
  (base.byMember.get(member.name) ?? []).map((step) => step.verb);

function waitReason(service: RedisService, cluster: Cluster, live: RedisLive, fresh: Set<string>): string {
  const waits = decide(service, cluster, live, fresh).filter((one) => one.action.name === 'wait');
  return waits.map((one) => `${one.target}: ${one.why}`).join('; ');
}

const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');

/** What CONFIG SET and ACL SETUSER change in running members. Their files are written by the base plan's steps. */
function changes(service: RedisService, cluster: Cluster, live: RedisLive, base: BasePlan): Step[] {
  const steps: Step[] = [];
  for (const seat of seatsOf(service, cluster)) {
    const found = live.members.find((member) => member.name === seat.name);
    if (!found?.up || !found.config) continue;
    const own = base.byMember.get(seat.name) ?? [];
    // A restart reads it all; what it was started with otherwise (kept.ts) is set when it has caught up, or by `settle`.
    if (own.some((step) => step.verb === 'restart' || step.verb === 'start')) continue;
    const write = own.filter((step) => step.verb === 'write').map((step) => step.id);
    const version = found.info?.['redis_version'];
    const guarded = guardedBy(service.spec, found);
    const differs = drift(directives(service, cluster, seat), found.config, version, guarded);
    if (differs.length > 0) {
      const shown = differs.map(({ name, from, to }) =>
        name === 'masterauth' ? name : `${name} ${from || '""'} -> ${to || '""'}`,
      );
      steps.push(
        stepOf(
          service.name,
          move(
            'set',
            seat.name,
            `running otherwise than the file says: ${shown.join(', ')}`,
            { name: 'config', args: { member: seat.name } },
            { needs: write },
          ),
        ),
      );
    }
    const file = base.members
      .find((member) => member.name === seat.name)!
      .files.find((one) => one.path === 'users.acl')!;
    const onDisk = base.observed.get(seat.name)?.files['users.acl'];
    const missing = differingUsers(service, cluster, found);
    const named = missing.filter((name) => !name.startsWith(markPrefix));
    if (missing.length > 0 || (onDisk !== undefined && onDisk !== sha256(file.content))) {
      const why =
        named.length > 0
          ? `${named.join(', ')} differ${named.length === 1 ? 's' : ''} from the file`
          : 'their rules changed';
      steps.push(
        stepOf(
          service.name,
          move(
            'set users of',
            seat.name,
            why,
            { name: 'users', args: { member: seat.name } },
            { needs: write, id: `users ${seat.name}` },
          ),
        ),
      );
    }
  }
  return steps;
}

/** Users that the running member lacks, has too many, or knows by another password; the mark (users.ts) where it was given other rules. */
export function differingUsers(service: RedisService, cluster: Cluster, member: LiveMember): string[] {
  const wanted = users(service, cluster);
  const running = new Map(
    (member.users ?? []).map((line) => [line.split(' ')[1] ?? '', line.split(' ')] as const),
  );
  const names = new Set([...Object.keys(wanted), ...running.keys()]);
  return [...names].filter((name) => {
    const words = running.get(name);
    const rules = wanted[name];
    if (!words || !rules) return true;
    const hash = rules.find((rule) => rule.startsWith('#'));
    return (hash !== undefined && !words.includes(hash)) || words.includes('on') !== rules.includes('on');
  });
}

/**
 * Members that must restart go one after the other: sentinels, then replicas, then masters, which hand over first. Before each a gate:
 * every other copy is in sync; after each: it has caught up.
 */
function roll(service: RedisService, _cluster: Cluster, live: RedisLive, base: BasePlan): Step[] {
  const fresh: Step[] = [];
  const turns: { rank: number; steps: Step[] }[] = [];
  for (const member of base.members) {
    const own = base.byMember.get(member.name) ?? [];
    if (!own.some((step) => step.verb === 'restart')) {
      fresh.push(...own);
      continue;
    }
    const write = own.filter((step) => step.verb === 'write');
    const rest = own.filter((step) => step.verb !== 'write');
    const found = live.members.find((one) => one.name === member.name);
    if (member.kind === 'sentinel') {
      const after = move('sync', member.name, 'until it watches the master again', {
        name: 'sync-sentinel',
        args: { sentinel: member.name },
      });
      turns.push({ rank: 0, steps: chain([...write, ...rest, stepOf(service.name, after)]) });
      continue;
    }
    const master = found?.role === 'master' && (found.followers?.length ?? 0) > 0;
    const before = stepOf(
      service.name,
      master
        ? move('hand over', member.name, 'it must restart: a replica becomes master first', {
            name: 'yield',
            args: { member: member.name },
          })
        : move('gate', member.name, 'it must restart: only while all others are in sync', {
            name: 'yield',
            args: { member: member.name },
          }),
    );
    const after = stepOf(
      service.name,
      move('sync', member.name, 'until it has caught up', { name: 'sync', args: { member: member.name } }),
    );
    const depth = master ? 99 : chainDepth(live, found);
    turns.push({ rank: master ? 100 : 50 - depth, steps: chain([...write, before, ...rest, after]) });
  }
  turns.sort((a, b) => a.rank - b.rank);
  let last: string | undefined;
  for (const { steps } of turns) {
    const [first] = steps;
    if (first && last) steps[0] = { ...first, needs: [...first.needs, last] };
    else if (first) steps[0] = { ...first, after: fresh.map((step) => step.id) };
    last = steps.at(-1)!.id;
  }
  return [...fresh, ...turns.flatMap((turn) => turn.steps)];
}

/** How many members a replica is away from its master. */
function chainDepth(live: RedisLive, member: LiveMember | undefined): number {
  let depth = 0;
  for (let one = member; one?.upstream && depth < 20; depth++) {
    const upstream = at(one.upstream);
    one = live.members.find((other) => at(other) === upstream);
  }
  return depth;
}
