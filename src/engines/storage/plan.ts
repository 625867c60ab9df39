import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Step } from '../engine.ts';
import { chain } from '../rolling.ts';
import {
  brickHosts,
  difference,
  differingOptions,
  healSentence,
  lostBricks,
  type StorageLive,
  strangers,
  strayed,
  volumeOf,
} from './live.ts';
import { memberName, mountHosts, mountName, type StorageService } from './seats.ts';

/**
 * Glusterds that do not run are started, side by side: that can only help. A volume is made only where there is none. Then, one at
 * a time and each only while every other copy is there and whole: hosts come in the place of others, glusterds restart (their bricks with
 * them). Whatever was found wrong with bricks is put right by `serve`, which ends when every copy is there and whole. Mounts need no more
 * than the volume, and follow it when it has changed; a host that left the volume is then stopped.
 */
export function planStorage(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive | undefined,
  base: BasePlan,
): Step[] {
  const volume = live && volumeOf(live);
  const engine = (
    verb: string,
    target: string,
    why: string,
    args: Record<string, unknown>,
    more: Partial<Step> = {},
  ): Step => ({
    id: `${verb} ${target}`,
    verb,
    target,
    service: service.name,
    why,
    needs: [],
    do: { kind: 'engine', service: service.name, action: { name: verb, args } },
    ...more,
  });

  const steps: Step[] = [];
  const turns: Step[][] = [];
  for (const host of service.hosts) {
    const own = base.byMember.get(memberName(service, host)) ?? [];
    if (volume === undefined || !own.some(({ verb }) => verb === 'restart')) {
      steps.push(...own);
      continue;
    }
    const name = memberName(service, host);
    const writes = own.filter(({ verb }) => verb === 'write');
    const others = own.filter(({ verb }) => verb !== 'write');
    const gate = engine('hold', name, 'until every other copy is there and whole', { host });
    const healed = engine('heal', name, 'until its copy is whole again', { host });
    turns.push(chain([...writes, gate, ...others, healed]));
  }

  if (volume === undefined) {
    const why =
      live === undefined
        ? 'a new volume, or the one whose data is there'
        : `a new volume, ${service.hosts.length === 1 ? 'one copy' : `${service.hosts.length} copies`}`;
    steps.push(engine('form', service.name, why, {}, { needs: steps.map(({ id }) => id) }));
  }
  const formed = steps.filter(({ verb }) => verb === 'form').map(({ id }) => id);

  const { coming, going } = volume ? difference(service, cluster, volume) : { coming: [], going: [] };
  const reshaped: string[] = [];
  const leaving = [...base.leaving.keys()].filter((name) => !name.startsWith(`${service.name}.mount@`));
  // Which copies there are nobody says now; that is looked at when somebody does.
  if (volume === undefined && leaving.length > 0) {
    const why = `${leaving.join(', ')} may hold a copy: nothing leaves before it is elsewhere`;
    const reshape = engine('reshape', service.name, why, {}, { needs: formed });
    steps.push(reshape);
    reshaped.push(reshape.id);
  }
  const changes = coming.length > 0 || going.length > 0;
  const left = live && volume ? strangers(service, cluster, live) : [];
  if (volume && (changes || left.length > 0)) {
    const now = brickHosts(volume, cluster);
    const without = now.filter((host) => !service.hosts.includes(host ?? ''));
    const why = [
      ...(coming.length > 0 ? [`a copy on ${coming.join(', ')}`] : []),
      ...(going.length > 0 ? [`none on ${without.map((host) => host ?? 'an unknown host').join(', ')}`] : []),
      // Whoever goes leaves the pool too; that may have been cut short.
      ...(changes ? [] : [`${left.join(', ')} left, and counts for the quorum as long as the pool has it`]),
    ];
    const needs = steps
      .filter(({ target }) => coming.some((host) => target === memberName(service, host)))
      .map(({ id }) => id);
    const reshape = engine(
      'reshape',
      service.name,
      why.join(', '),
      {},
      {
        needs,
        after: steps.map(({ id }) => id),
      },
    );
    steps.push(reshape);
    reshaped.push(reshape.id);
  }

  const before = steps.map(({ id }) => id);
  for (const [i, turn] of turns.entries()) {
    const [first, ...rest] = turn;
    const last = turns[i - 1]?.at(-1)?.id;
    steps.push({ ...first!, needs: [...first!.needs, ...(last ? [last] : [])], after: before }, ...rest);
  }

  const wrong = live && volume ? troubles(service, cluster, live) : [];
  if (steps.length > 0 || wrong.length > 0) {
    const why = wrong.length > 0 ? wrong.join('; ') : 'until every copy is there and whole';
    const after = steps.map(({ id }) => id);
    steps.push(engine('serve', service.name, why, {}, { needs: formed, after }));
  }

  // One after the other, and not before the bricks: a mount that finds no data host gives up.
  const bricks = steps.filter(({ verb }) => verb === 'start' || verb === 'form').map(({ id }) => id);
  let restarted: string | undefined;
  for (const host of mountHosts(service, cluster)) {
    const own = base.byMember.get(mountName(service, host)) ?? [];
    const turn = own.some(({ verb }) => verb === 'restart');
    steps.push(
      ...own.map((step) => {
        if (step.verb !== 'start' && step.verb !== 'restart') return step;
        const needs = [...step.needs, ...formed, ...(turn && restarted ? [restarted] : [])];
        return { ...step, needs, after: bricks };
      }),
    );
    if (turn) restarted = own.at(-1)!.id;
  }
  // One after the other as well: the files that are open in one that has to be made anew are lost to whoever has them open.
  let followed: string | undefined;
  for (const host of mountHosts(service, cluster)) {
    const name = mountName(service, host);
    const astray = live && strayed(live, host);
    const anew = (base.byMember.get(name) ?? []).some(({ verb }) => verb === 'start' || verb === 'restart');
    if (anew || (astray === undefined && !(reshaped.length > 0 && (changes || volume === undefined))))
      continue;
    const why = astray ?? 'until it uses the copies that the volume then has';
    const needs = [...reshaped, ...(followed ? [followed] : [])];
    const after = steps.filter(({ verb }) => verb === 'serve').map(({ id }) => id);
    const step = engine('follow', name, why, { host }, { needs, after });
    steps.push(step);
    followed = step.id;
  }

  for (const [name, own] of base.leaving) {
    const server = leaving.includes(name);
    steps.push(...own.map((step) => (server ? { ...step, needs: [...step.needs, ...reshaped] } : step)));
  }
  return steps;
}

/** What `serve` has to put right, a few words each. What only a host that does not answer could mend is not among it. */
function troubles(service: StorageService, cluster: Cluster, live: StorageLive): string[] {
  const volume = volumeOf(live)!;
  const hosts = brickHosts(volume, cluster);
  const lost = lostBricks(service, cluster, live);
  const silent = service.hosts.filter((host) => live.servers[host]?.silent !== undefined);
  const resting = service.hosts.filter((host) => {
    const server = live.servers[host];
    return hosts.includes(host) && server?.silent === undefined && server?.online === false;
  });
  const dead = resting.filter((host) => !lost.includes(host) && live.servers[host]?.volume?.quorum !== false);
  const differing = differingOptions(service, cluster, volume).map(([name]) => name);
  const heal = silent.length === 0 && !live.splitBrain ? healSentence(live) : undefined;
  return [
    ...(volume.started ? [] : ['the volume is stopped']),
    ...(lost.length > 0 ? [`the copy on ${lost.join(', ')} is gone: made anew from the others`] : []),
    ...(dead.length > 0 && volume.started ? [`the brick of ${dead.join(', ')} does not run`] : []),
    ...(differing.length > 0 ? [`options differ: ${differing.join(', ')}`] : []),
    ...(heal ? [heal] : []),
  ];
}
