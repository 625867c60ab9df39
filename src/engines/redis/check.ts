import type { Cluster, Problem } from '../../file/cluster.ts';
import { suggestion } from '../../file/nearest.ts';
import { owned } from './directives.ts';
import { immutable, mutable } from './known.ts';
import { quorumOf, type RedisService, replicasOf, seatsOf, sentinelsOf, shardsOf } from './seats.ts';
import { parents } from './tree.ts';
import { adminUser, markPrefix, sentinelUser } from './users.ts';

/** Rules across keys and hosts that the schema cannot say. */
export function redisCheck(service: RedisService, cluster: Cluster): Problem[] {
  const { spec, hosts } = service;
  const problems: Problem[] = [];
  const at = (...path: (string | number)[]): (string | number)[] => ['services', service.name, ...path];
  const problem = (path: (string | number)[], message: string, hint?: string, atKey = false): void => {
    problems.push({ path, message, ...(hint ? { hint } : {}), ...(atKey ? { atKey } : {}) });
  };
  const only = (key: 'shards' | 'sentinels' | 'quorum' | 'upstream', mode: string): void => {
    if (spec[key] !== undefined && spec.mode !== mode)
      problem(at(key), `${key} has no meaning in mode ${spec.mode}`, `remove it, or say mode: ${mode}`, true);
  };
  only('shards', 'cluster');
  only('sentinels', 'sentinel');
  only('quorum', 'sentinel');
  only('upstream', 'replication');
  const exact = typeof spec.timing === 'object' ? spec.timing : {};
  for (const [key, mode] of [
    ['nodeTimeout', 'cluster'],
    ['downAfter', 'sentinel'],
  ] as const)
    if (exact[key] !== undefined && spec.mode !== mode)
      problem(
        at('timing', key),
        `${key} has no meaning in mode ${spec.mode}`,
        spec.mode === 'replication'
          ? 'nobody fails over by itself in this mode: say default or fast'
          : `use ${spec.mode === 'cluster' ? 'nodeTimeout' : 'downAfter'}`,
        true,
      );
  if (spec.depth > 1 && spec.mode !== 'replication')
    problem(
      at('depth'),
      `chains (depth ${spec.depth}) are for mode replication; Redis ${spec.mode} has none`,
      undefined,
      true,
    );

  const replicas = replicasOf(service);
  const min = spec.minReplicas;
  if (min !== undefined && min > replicas)
    problem(
      at('minReplicas'),
      `minReplicas ${min} with ${replicas} replicas: no master could ever accept a write`,
    );
  if (spec.mode === 'cluster') {
    const shards = shardsOf(spec);
    if (shards < 3)
      problem(
        at('shards'),
        `${shards} shards cannot fail over: a majority of masters must elect`,
        'shards: 3 or more',
      );
    // With each shard's members on hosts of their own, one lost host costs a shard one member at most.
    if (replicas > 0 && hosts.length < replicas + 1)
      problem(
        at('hosts'),
        `${replicas} replicas of each master need ${replicas + 1} hosts, so that none shares a host with its master; there ${hosts.length === 1 ? 'is 1' : `are ${hosts.length}`}`,
      );
    if (spec.replicas !== 0 && hosts.length < 3)
      problem(
        at('hosts'),
        'a cluster that is to survive the loss of a host needs 3 hosts: the other masters elect',
        'or say replicas: 0',
      );
  } else if (replicas > 0 && hosts.length < 2) {
    problem(
      at('hosts'),
      'a replica on the same host as its master is lost with it',
      'name at least 2 hosts, or say replicas: 0',
    );
  }
  if (spec.mode === 'sentinel') {
    const count = sentinelsOf(service);
    if (hosts.length < 3)
      problem(at('hosts'), `sentinels need 3 hosts to outvote a lost one; there are ${hosts.length}`);
    else if (count > hosts.length)
      problem(
        at('sentinels'),
        `${count} sentinels on ${hosts.length} hosts: two on one host count as one vote lost twice`,
      );
    if (count % 2 === 0)
      problem(
        at('sentinels'),
        `${count} sentinels bear the loss of no more than ${count - 1} do`,
        `sentinels: ${count - 1} or ${count + 1}`,
      );
    if (quorumOf(service) > count)
      problem(at('quorum'), `a quorum of ${quorumOf(service)} can never be reached by ${count} sentinels`);
    if (replicas === 0) problem(at('replicas'), 'sentinels have nothing to fail over to without replicas');
  }
  for (const name of Object.keys(spec.config)) {
    const key = owned[name];
    if (key !== undefined)
      problem(
        at('config', name),
        `${name} is set by Phalanx`,
        key ? `use the key ${key}` : 'remove it',
        true,
      );
    else if (!immutable.has(name) && !mutable.has(name))
      problem(
        at('config', name),
        `redis.conf of Redis 7.0 has no directive ${name}`,
        suggestion(name, [...immutable, ...mutable]),
        true,
      );
  }
  for (const name of Object.keys(spec.users))
    if (['default', 'replica', adminUser, sentinelUser].includes(name) || name.startsWith(markPrefix))
      problem(at('users', name), `the user ${name} is Phalanx's own`, 'choose another name', true);

  const seats = seatsOf(service, cluster);
  const names = new Set(seats.map((seat) => seat.name));
  for (const [child, parent] of Object.entries(spec.upstream ?? {}))
    for (const [name, atKey] of [
      [child, true],
      [parent, false],
    ] as const)
      if (!names.has(name))
        problem(
          at('upstream', child),
          `${name} is no member of ${service.name}`,
          `its members are ${[...names].join(', ')}`,
          atKey,
        );
  if (spec.upstream && problems.length === 0 && parents(service, cluster) === undefined)
    problem(at('upstream'), 'the members copy from each other in a circle');
  if (seats.some((seat) => seat.port > 55_535))
    problem(at('port'), 'the cluster bus needs port + 10000, which is over 65535');
  return problems;
}
