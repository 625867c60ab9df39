import type { Cluster } from '../../file/cluster.ts';
import { decideReplication, follow, leaderOf } from './decide-replication.ts';
import { at, type LiveSentinel, namedMaster, type RedisLive } from './live.ts';
import { hold, type Move, move, wait } from './move.ts';
import { quorumOf, type RedisService, sentinelSeatsOf } from './seats.ts';
import { downAfterOf, timingOf } from './timing.ts';
import { adminUser } from './users.ts';

/**
 * What to do so that the sentinels watch the master that there is. They alone say who that is once they watch one: no
 * role is changed against them, and nothing is ever RESET while anything is missing.
 */
export function decideSentinel(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  fresh: Set<string>,
): Move[] {
  const slow = live.members.find((member) => member.loading && !member.leaving);
  if (slow) return [wait(slow.name, 'it is still reading its data')];
  const watching = live.sentinels.filter((one) => one.up && one.master);
  if (watching.length === 0) {
    const silent = live.sentinels.filter((one) => !one.up && !fresh.has(one.name));
    if (silent.length > 0)
      return [
        wait(
          service.name,
          `${silent.map((one) => one.name).join(', ')} may know the master, and do not answer`,
        ),
      ];
    const leader = leaderOf(service, live, fresh);
    if ('moves' in leader) return leader.moves;
    const roles = decideReplication(service, cluster, live, fresh);
    return [
      ...roles,
      ...monitors(
        service,
        cluster,
        live,
        leader.master.name,
        fresh,
        roles.map((one) => one.id),
      ),
    ];
  }

  const named = namedMaster(live);
  const master = live.members.find((member) => at(member) === named);
  if (!master)
    return [hold(service.name, `the sentinels watch ${named}, which is no member of ${service.name}`)];
  if (watching.some((one) => /failover_in_progress|force_failover/.test(one.master!.flags)))
    return [wait(service.name, 'a failover is under way')];
  if (!master.up)
    return [
      wait(
        service.name,
        `the master ${master.name} does not answer (${master.why}), and the sentinels have not replaced it yet`,
      ),
    ];
  if (master.role !== 'master')
    return [
      wait(
        service.name,
        `${master.name} is named by the sentinels and not yet a master${unelectable(service, cluster, watching)}`,
      ),
    ];
  // Names and roles must agree before anything is changed: in the middle of a failover a sentinel that has not
  // heard of it still names the old master, which may be up again and call itself master.
  const other = live.members.find(
    (member) =>
      member.up &&
      member.role === 'master' &&
      member !== master &&
      ((member.keys ?? 0) > 0 || member.followers!.length > 0),
  );
  if (other)
    return [
      wait(
        service.name,
        `${other.name} and ${master.name} are both masters, and the sentinels are to demote one`,
      ),
    ];
  const agree = watching.filter((one) => at(one.master!) === named).length;
  if (agree <= sentinelSeatsOf(service, cluster).length / 2)
    return [
      wait(
        service.name,
        `only ${agree} of ${sentinelSeatsOf(service, cluster).length} sentinels name ${master.name} as master`,
      ),
    ];
  const ahead = live.members.find(
    (member) =>
      member.up &&
      member.role === 'replica' &&
      !member.linkUp &&
      (member.keys ?? 0) > 0 &&
      (master.keys ?? 0) === 0,
  );
  if (ahead)
    return [
      hold(
        service.name,
        `the master ${master.name} is empty and ${ahead.name} holds ${ahead.keys} keys: phalanx switchover ${service.name} --to ${ahead.name}`,
      ),
    ];
  const roles = follow(service, cluster, live, master, fresh);
  return [
    ...roles,
    ...monitors(service, cluster, live, master.name, fresh, []),
    ...tunes(service, cluster, watching),
    ...strangers(service, cluster, live),
  ];
}

/** Why nobody is elected in place of a master that lost its disk and now copies another (start.ts), and what a person can do; empty where it will be. */
function unelectable(service: RedisService, cluster: Cluster, watching: LiveSentinel[]): string {
  const all = sentinelSeatsOf(service, cluster).length;
  if (watching.length > all / 2) return '';
  const { sentinelPort, tls } = service.spec;
  const names = watching.map((one) => `${one.name} (${one.address})`).join(', ');
  // By its address: a sentinel listens on no other, not on localhost either.
  const cli = `redis-cli -h ${watching.length === 1 ? watching[0]!.address : 'ADDRESS'} -p ${sentinelPort} --user ${adminUser}${tls ? ' --tls --cacert ca.crt' : ''}`;
  return `. Only ${watching.length} of ${all} sentinels watch it, too few to elect another: bring the others back. Where what they knew is lost for good: SENTINEL REMOVE ${service.name} on ${names} (in its folder: ${cli}, its password is in admin.secret), then phalanx up: the newest data leads`;
}

/** Sentinels that watch nothing yet are told the master of this moment. */
function monitors(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  master: string,
  fresh: Set<string>,
  needs: string[],
): Move[] {
  const seen = new Map(live.sentinels.map((one) => [one.name, one]));
  return sentinelSeatsOf(service, cluster)
    .filter(({ name }) => (seen.get(name)?.up && !seen.get(name)!.master) || fresh.has(name))
    .map(({ name }) =>
      move(
        'watch',
        name,
        `watches nothing yet: ${master} is the master`,
        { name: 'monitor', args: { sentinel: name, master } },
        { needs },
      ),
    );
}

function tunes(service: RedisService, cluster: Cluster, watching: LiveSentinel[]): Move[] {
  const timing = timingOf(service.spec);
  const seats = sentinelSeatsOf(service, cluster);
  return watching.flatMap((one) => {
    const wanted = downAfterOf(
      service.spec,
      seats.findIndex((seat) => seat.name === one.name),
    );
    const { quorum, downAfter, failoverTimeout } = one.master!;
    const differs = [
      quorum === quorumOf(service) ? '' : `quorum ${quorum} -> ${quorumOf(service)}`,
      downAfter === wanted ? '' : `down-after ${downAfter} ms -> ${wanted} ms`,
      failoverTimeout === timing.failoverTimeout
        ? ''
        : `failover-timeout ${failoverTimeout} ms -> ${timing.failoverTimeout} ms`,
    ].filter((text) => text !== '');
    return differs.length === 0
      ? []
      : [move('set', one.name, differs.join(', '), { name: 'tune', args: { sentinel: one.name } })];
  });
}

/** Sentinels and replicas that the file no longer has, dead, but still counted: one sentinel after the other forgets them. */
function strangers(service: RedisService, cluster: Cluster, live: RedisLive): Move[] {
  const sentinels = new Set(sentinelSeatsOf(service, cluster).map(at));
  const members = new Set(live.members.filter((member) => !member.leaving).map(at));
  const dead = (one: { flags: string }): boolean => /s_down|disconnected/.test(one.flags);
  const moves: Move[] = [];
  for (const one of live.sentinels.filter((sentinel) => sentinel.up && sentinel.master)) {
    const gone = [
      ...one.sentinels!.filter((other) => !sentinels.has(at(other)) && dead(other)),
      ...one.replicas!.filter((other) => !members.has(at(other)) && dead(other)),
    ];
    if (gone.length === 0) continue;
    // Forgetting takes a sentinel's memory for a moment: the next one waits until this one knows everybody again.
    const needs = moves.length > 0 ? [moves.at(-1)!.id] : [];
    moves.push(
      move(
        'forget on',
        one.name,
        `${gone.map(at).join(', ')} left and still counts`,
        { name: 'forget-strangers', args: { sentinel: one.name } },
        { needs },
      ),
    );
  }
  // With a sentinel or a member missing it cannot be told who is gone for good and who comes back.
  const whole = live.sentinels.every((one) => one.up) && live.members.every((one) => one.up || one.leaving);
  return whole ? moves : [];
}
