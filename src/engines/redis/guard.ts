import type { RedisSpec } from './schema.ts';

/*
 * Who may be promoted. Of the replicas of a dead master Sentinel takes the one with the greatest offset (sentinelSelectSlave in sentinel.c of 7.0), and in a cluster that
 * one asks for votes first (clusterGetSlaveRank in cluster.c), whatever history the offset belongs to. A master that was cut off has gone on counting: told afterwards to
 * follow the new master, it is a replica with an offset above all others' from that moment on, before it has copied anything. If the new master is lost just then (a network
 * that comes and goes), the old one is promoted, and every write since it was cut off is gone: seen here in two of six drills of a power cut some seconds after a partition.
 *
 * So a member may be promoted only once it is a replica and has copied its master. A master may not: what that says of it counts from the moment in which it becomes
 * a replica, and Sentinel hears its offset and its priority in the same INFO, as other nodes do in the same packet.
 */

interface Guard {
  /** The directive by which Redis is told. */
  name: string;
  /** Not to be promoted. */
  up: string;
  down: string;
}

/** In mode replication nobody is promoted but by `phalanx up`, which compares histories (newest.ts). */
const guards: Partial<Record<RedisSpec['mode'], Guard>> = {
  sentinel: { name: 'replica-priority', up: '0', down: '100' },
  cluster: { name: 'cluster-replica-no-failover', up: 'yes', down: 'no' },
};

/** What the file's members are to say of it in the end, as directives. */
export const guardDown = ({ mode }: RedisSpec): Record<string, string> => {
  const guard = guards[mode];
  return guard ? { [guard.name]: guard.down } : {};
};

/** Whether the running member says that it is not to be promoted. */
export const isGuarded = ({ mode }: RedisSpec, config: Record<string, string> | undefined): boolean => {
  const guard = guards[mode];
  return guard !== undefined && config?.[guard.name] === guard.up;
};

/** The directive that may differ from the file now, because the member is not to be promoted. */
export const guardedBy = (
  { mode }: RedisSpec,
  member: { role?: string; linkUp?: boolean },
): string | undefined =>
  member.role === 'replica' && member.linkUp === true ? undefined : guards[mode]?.name;

/** In `data`, for as long as the member is a replica that has copied its master: what it restarts with. As old as its last link (start.ts: hollow). */
const copied = 'data/.copied';

/** In `data`, as long as the member follows its own replica, whose data is more than its own, and has not copied it (start.ts). */
export const lacking = 'data/.lacking';

/**
 * Sh: `guard` starts what looks each second and sets the directive, in a process that redis-server is not the parent of (it would take it for
 * a child of its own) and that ends with the member (service.ts: leftovers); `$guarded` are the arguments that redis-server starts with.
 * Uses `ask` and `self` of the start script. Empty where there is nothing to guard against.
 */
export function guardScript({ mode }: RedisSpec): string {
  const guard = guards[mode];
  if (guard === undefined) return 'guarded=\nguard() { :; }\n';
  const { name, up, down } = guard;
  return `
guarded='--${name} ${up}'
[ -e ${copied} ] && guarded='--${name} ${down}'
guard() {
  ( (
    said= pause=0.2
    while sleep $pause; do
      set -- $(ask "$self" role)
      case "\${1:-} \${4:-}" in
        master*) wanted=${up} ;;
        'slave connected') wanted=${down} ;;
        *) said=; continue ;;
      esac
      [ $wanted = "$said" ] && continue
      [ $wanted = ${up} ] && rm -f ${copied}
      [ "$(ask "$self" config set ${name} $wanted)" = OK ] || continue
      [ $wanted = ${up} ] || { : >${copied}; rm -f ${lacking}; }
      said=$wanted pause=1
    done
  ) & )
}
`;
}
