import type { Cluster } from '../../file/cluster.ts';
import { guardScript, lacking } from './guard.ts';
import { keptScript, unlogged } from './kept.ts';
import {
  minReplicasOf,
  type RedisService,
  replicasOf,
  type Seat,
  seatsOf,
  sentinelSeatsOf,
} from './seats.ts';
import { timingOf } from './timing.ts';
import { adminUser } from './users.ts';

/**
 * The script that a data member is started with.
 *
 * No file says who is master: a file that says it is wrong after the first failover, and a member that believes it
 * destroys data. There are two ways for that. A former master that starts as a master takes writes that are thrown
 * away later. A master that starts again at once after it lost its memory (persistence none, rdb) hands its empty
 * data to its replicas before anybody has failed over. So:
 *
 * - redis.conf comes on standard input: Redis then has no file that Sentinel's CONFIG REWRITE could change.
 * - Before it starts, a member that ran before asks the others who is master, and starts as that one's replica.
 * - It starts with what its last process wrote, log or snapshot, whatever the file says by now (kept.ts).
 * - A member that they still call master starts as master only if its data is whole: it was stopped in order, or its
 *   log was written by a process that died while the machine went on. (After SIGKILL the log is in the page cache; after a power cut
 *   its last second may be missing, and replicas have it.) A log that was still being written anew is not whole. A disk that no process of it has seen is not whole: it was exchanged.
 * - Nor does a member copy a master that has lost its disk and came back before it: such a one began with nothing, says so (`blank`), and holds nothing.
 * - Otherwise it waits until Sentinel or the cluster has promoted a replica. With nobody to promote one (mode
 *   replication), it starts as a replica of its own replica: it refuses writes, the copy that is whole stays as it is, and
 *   `phalanx up` promotes the newest.
 * - A server that ended by itself with an error may have found its data damaged. Then, and only then, the files are read by Redis's own tools; what
 *   is damaged is written down (damage.ts) and the member waits for `phalanx repair` instead of being started again and again.
 * - Sentinel and the cluster promote nobody who has not copied the present master (guard.ts).
 * - If nobody answers, all were lost together. Replication mode then takes the role that the member last had; a
 *   master starts with min-replicas-to-write 1, so it takes writes only after a replica has followed it.
 */
export function startScript(service: RedisService, cluster: Cluster, seat: Seat): string {
  const { spec } = service;
  const timing = timingOf(spec);
  const self = `${seat.address}:${seat.port}`;
  const at = (one: Seat): string => `${one.address}:${one.port}`;
  const peers = seatsOf(service, cluster)
    .map(at)
    .filter((peer) => peer !== self);
  const sentinels = sentinelSeatsOf(service, cluster).map(at);
  const tls = spec.tls ? ' --tls --cacert ca.crt' : '';
  // Long enough for a failover to have begun and ended, with its random second.
  const patience = Math.ceil(
    ((spec.mode === 'cluster' ? timing.nodeTimeout * 2 : timing.downAfter) + 6_000) / 1000,
  );
  return `#!/bin/sh
# ${seat.name}: started by Phalanx. Why it asks before it starts: src/engines/redis/start.ts.
set -uf
self=${self}
service=${service.name}
peers='${peers.join(' ')}'
sentinels='${sentinels.join(' ')}'
persistence=${spec.persistence}
replicas=${replicasOf(service)}
patience=${patience}
mkdir -p data || exit 1
REDISCLI_AUTH=$(cat admin.secret) || exit 1
export REDISCLI_AUTH
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)

say() { echo "phalanx: $*"; }
# What HOST:PORT answers to a command, as words; a frozen peer is given a second.
ask() {
  at=$1; shift
  timeout 1 redis-cli --user ${adminUser} -h "\${at%:*}" -p "\${at##*:}"${tls} "$@" 2>/dev/null </dev/null
}
ask_all() { # LIST COMMAND...: the answers are in data/.answer.ADDRESS
  list=$1; shift
  for one in $list; do ask "$one" "$@" >"data/.answer.$one" & done
  wait
}
${keptScript}${inspection(seat)}${guardScript(spec)}begin() { # ARGUMENTS OF redis-server
  rm -f data/.answer.*
  echo "$boot" >data/.ran
  keep
  guard
  exec redis-server - $guarded $as "$@" <redis.conf
}
follow() { # HOST:PORT WHY [ARGUMENTS]
  at=$1
  say "starting as a replica of $at: $2"; shift 2
  [ ${spec.mode} = replication ] && echo "$at" >data/.role
  begin --replicaof "\${at%:*}" "\${at##*:}" "$@"
}
lead() { # WHY [ARGUMENTS]
  say "starting without a master: $1"; shift
  rm -f ${lacking}
  [ ${spec.mode} = replication ] && echo master >data/.role
  begin "$@"
}
# Whether this member's own data holds every write that it acknowledged.
whole() {
  [ -e data/.ran ] || return 1 # a new disk
  [ ! -e ${lacking} ] || return 1 # it followed its own replica for want of data, and has not copied it yet
  [ ! -e $anew ] || return 1 # its log was not written yet
  # What ran with persistence none has lost all, whatever the file says now.
  [ "$(cat ${unlogged} 2>/dev/null)" != none ] && { [ "$persistence" != none ] || logging; } || return 1
  [ -e data/redis.pid ] || return 0 # Redis removes it when it is stopped in order
  logging && [ "$(cat data/.ran)" = "$boot" ]
}
# Asks the peers for their roles: who leads, who follows us, whom the others follow.
look() {
  leader= mine= theirs= masters=
  ask_all "$peers" role
  for peer in $peers; do
    set -- $(cat "data/.answer.$peer")
    case \${1:-} in
      master) masters="$masters $peer"; [ $# -gt 2 ] && leader=$peer ;;
      slave) if [ "\${2:-}:\${3:-}" = "$self" ]; then mine=$peer; else theirs=\${2:-}:\${3:-}; fi ;;
    esac
  done
}
# A new member, or one that lost its disk. Which of the two others can tell, for as long as this process lives: the directive is of no use without syslog.
blank() { lead 'it is new' --syslog-ident ${beganEmpty}; }
# Whether a master is one that lost its disk: it began with nothing after we copied it last (which is when FILE was written), has nothing, and we have data.
hollow() { # HOST:PORT FILE
  [ "$persistence" != none ] && [ -e "$2" ] && { [ -e data/appendonlydir ] || [ -e data/dump.rdb ]; } || return 1
  [ "$(ask "$1" role | head -n 1)" = master ] && [ "$(ask "$1" dbsize)" = 0 ] || return 1
  ask "$1" config get syslog-ident | grep -q ${beganEmpty} || return 1
  up=$(ask "$1" info server | awk -F: '/^uptime_in_seconds/ { print $2 + 0 }')
  [ -n "$up" ] || return 1
  [ $(($(date +%s) - up - 1)) -gt "$(stat -c %Y "$2")" ]
}
`.concat(
    spec.mode === 'cluster'
      ? cluster_
      : spec.mode === 'sentinel'
        ? sentinel_
        : replication_(replicasOf(service) > 0 ? Math.max(1, minReplicasOf(service)) : 0),
  );
}

/** What a process that began with an empty disk calls itself. */
const beganEmpty = 'began-empty';

/**
 * Looks at the data after an end that damage may have caused: an exit status of Redis's own, or a signal that a process sends itself. What was
 * read and found sound is not read again.
 */
const inspection = (seat: Seat): string => `
inspect() {
  set -- $(cat ended 2>/dev/null)
  case "\${1:-0} \${2:-0}" in
    '0 '* | '256 1' | '256 2' | '256 3' | '256 9' | '256 15') return ;;
  esac
  rm -f ended
  [ -e data/.sound ] && [ -z "$(find data/appendonlydir data/dump.rdb -newer data/.sound 2>/dev/null)" ] && return
  touch data/.sound.new
  case $(kept) in
    log) redis-check-aof "$manifest" >data/.checked 2>&1 </dev/null ;;
    snapshot) redis-check-rdb data/dump.rdb >data/.checked 2>&1 </dev/null ;;
  esac && { rm -f data/.checked; mv data/.sound.new data/.sound; return; }
  [ -e data/.checked ] || return
  {
    echo "written $(find data/appendonlydir data/dump.rdb -type f -exec stat -c %Y {} + 2>/dev/null | sort -n | tail -n 1)"
    sed -En 's/^file ([^ ]*) .*/last \\1/p' "$manifest" 2>/dev/null | tail -n 1
    sed -n '/myself/s/^/self /p' data/nodes.conf 2>/dev/null
    sed -En 's/^AOF analyzed: filename=([^,]*), size=[0-9]*, ok_up_to=([0-9]*),.*/\\1 \\2/p' data/.checked | tail -n 1 | {
      read -r file sound && tail -c "+$((sound + 1))" "data/appendonlydir/\${file##*/}" 2>/dev/null | grep -ac '^[*][0-9]' | sed 's/^/writes /'
    }
    echo ---
    cat data/.checked
  } >data/.damage.new
  rm -f data/.checked data/.sound.new
  mv data/.damage.new data/.damage
}
[ -e data/.damage ] || inspect
if [ -e data/.damage ]; then
  say 'not started: its data is damaged. phalanx status says where; phalanx repair ${seat.name} mends it'
  while [ -e data/.damage ]; do sleep 0.2; done
  say 'its data was mended'
fi
`;

/**
 * The script that a sentinel is started with. Its file is its memory (identity, epochs, whom it watches and all that it found), and Sentinel rewrites it: it
 * lives in `data`. When what we say of it changes, our lines are put before the memory that it has.
 *
 * How often it looks is not in its file and not kept: it is told as soon as it answers (timing.ts).
 */
export function sentinelStart(service: RedisService, seat: Seat): string {
  const { sentinelPeriods } = timingOf(service.spec);
  const told = Object.entries(sentinelPeriods).map(([name, ms]) => `${name} ${ms}`);
  return `#!/bin/sh
# ${seat.name}: started by Phalanx. Why: src/engines/redis/start.ts.
set -u
${told.length > 0 ? tellPeriods(service, seat, told.join(' ')) : ''}${sentinelMemory(service.spec.port)}`;
}

/** In the background, by a process that the sentinel is not the parent of: it would take it for one of its scripts. */
const tellPeriods = (
  { spec }: RedisService,
  seat: Seat,
  periods: string,
): string => `REDISCLI_AUTH=$(cat admin.secret) || exit 1
export REDISCLI_AUTH
(
  (
    tries=0
    until [ "$(timeout 1 redis-cli --user ${adminUser} -h ${seat.address} -p ${seat.port}${spec.tls ? ' --tls --cacert ca.crt' : ''} sentinel debug ${periods} 2>&1 </dev/null)" = OK ]; do
      tries=$((tries + 1))
      [ $((tries % 100)) = 0 ] && echo 'phalanx: this sentinel does not take SENTINEL DEBUG ${periods}: with so little patience it may fail over twice'
      sleep 0.05
    done
  ) &
)
unset REDISCLI_AUTH
`;

/**
 * `port`: of the first data member of a host; it may have changed while all were stopped. The second member has the next one (seats.ts), so what is
 * remembered moves by the difference: with one port for both, Sentinel finds a replica twice and does not start.
 */
const sentinelMemory = (port: number): string => `
mkdir -p data || exit 1
was=$(cat data/.port 2>/dev/null)
if [ -s data/sentinel.conf ] && [ "\${was:-${port}}" != ${port} ]; then
  awk -v by=$((${port} - was)) '/^sentinel (monitor|known-replica) / { $5 += by } 1' data/sentinel.conf >data/.moved &&
    chmod 600 data/.moved && mv data/.moved data/sentinel.conf || exit 1
fi
echo ${port} >data/.port
if ! cmp -s sentinel.conf data/.said || ! [ -s data/sentinel.conf ]; then
  touch data/sentinel.conf
  {
    cat sentinel.conf
    grep -E '^sentinel (myid|monitor|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel|auth-user|auth-pass|down-after-milliseconds|failover-timeout|parallel-syncs|sentinel-user|sentinel-pass) ' data/sentinel.conf
  } >data/sentinel.conf.new
  chmod 600 data/sentinel.conf.new
  mv data/sentinel.conf.new data/sentinel.conf
  cp sentinel.conf data/.said
fi
exec redis-server data/sentinel.conf --sentinel
`;

/** In a cluster nodes.conf holds the role and its epoch, and Redis holds to it: all there is to do is to wait for a failover. */
const cluster_ = `
id=$(awk '/myself/ { print $1 }' data/nodes.conf 2>/dev/null)
if [ -n "$id" ] && awk '/myself,master/ && NF > 8 { found = 1 } END { exit !found }' data/nodes.conf && [ "$replicas" -gt 0 ] &&
  { [ "$persistence" = none ] || [ -e data/redis.pid ]; }; then
  # Died as a master: wait until a replica has taken its slots.
  began=$(date +%s) told=0
  while :; do
    ask_all "$peers" cluster nodes
    owner=unknown mine=no voters=0 masters=0
    for peer in $peers; do
      [ -s "data/.answer.$peer" ] || continue
      # Who may vote: masters that own slots and answer, of all that own slots.
      set -- $(awk '$3 ~ /master/ && NF > 8 { all++; if ($3 ~ /myself/) own = 1 } END { print all + 0, own + 0 }' "data/.answer.$peer")
      [ "$1" -gt $masters ] && masters=$1
      voters=$((voters + $2))
      # Our slots stand in field 9 and after; without any, or as a slave, we have been replaced.
      line=$(grep "^$id " "data/.answer.$peer") || continue
      set -- $line
      case $3 in *slave*) owner=other; break ;; esac
      if [ $# -lt 9 ]; then owner=other; break; fi
      owner=self
      grep -q "myself,slave $id " "data/.answer.$peer" && mine=yes
    done
    [ $owner = other ] && { say 'its slots have a new master'; break; }
    # With half of the masters away none is elected: two on a host that lost its power would each wait for the other.
    [ $((voters * 2)) -le $masters ] && whole && { say 'too few masters answer to elect another, and its data is whole'; break; }
    waited=$(($(date +%s) - began))
    if [ $waited -ge $patience ]; then
      whole && { say 'nobody has taken its slots, and its data is whole'; break; }
      [ $mine = no ] && { say 'nobody has taken its slots, and it has no replica that answers'; break; }
      [ $waited -ge $told ] && { told=$((waited + 10)); say 'waiting: its data is not whole, and its replica has not been promoted. Bring back the other masters, or run phalanx up'; }
    fi
    sleep 0.2
  done
fi
begin
`;

/** A member that lacks data is not whole for having been stopped in order: mode replication knows by `.role` that it follows. */
const sentinel_ = `
# The master that the sentinels name, by the newest configuration that any of them has.
named() {
  master= epoch=-1 known=0 busy=0
  ask_all "$sentinels" sentinel master "$service"
  for sentinel in $sentinels; do
    found=$(awk 'NR % 2 { key = $0; next } { v[key] = $0 } END { if (v["ip"] != "") print v["config-epoch"], v["ip"] ":" v["port"], v["flags"] }' "data/.answer.$sentinel")
    [ -n "$found" ] || { grep -q 'No such master' "data/.answer.$sentinel" && known=1; continue; }
    known=1
    set -- $found
    case $3 in *failover*) busy=1 ;; esac
    if [ "$1" -gt "$epoch" ]; then epoch=$1 master=$2; fi
  done
}
if [ ! -e data/.ran ]; then
  look
  [ -n "$leader" ] && follow "$leader" 'it is the master'
  # Whom others follow is no new member: it lost its disk, and they are to be promoted.
  [ -z "$mine$theirs" ] && blank
  : >${lacking}
fi
waited=0
while :; do
  named
  if [ -n "$master" ] && [ "$master" != "$self" ]; then
    if hollow "$master" data/.copied; then
      # The sentinels would make everybody its copy. A master that says it is a replica is one that they replace.
      ask "$master" replicaof "\${self%:*}" "\${self##*:}"
      follow "$master" 'the sentinels name it, but it lost its disk: they are to promote another'
    fi
    follow "$master" 'the sentinels name it'
  fi
  if [ "$master" = "$self" ]; then
    [ "$replicas" = 0 ] && lead 'it has no replicas'
    [ ! -e data/redis.pid ] && whole && lead 'it was stopped in order and is still the master'
    if [ $waited -ge $((patience * 5)) ] && [ $busy = 0 ]; then
      look
      # Promoted, and not yet named: starting beside it would make two masters.
      if [ -n "$masters" ] && [ $waited -lt $((patience * 15)) ]; then
        waited=$((waited + 1))
        sleep 0.2
        continue
      fi
      whole && lead 'no replica was promoted, and its data is whole'
      [ -n "$mine" ] && { : >${lacking}; follow "$mine" 'its data is not whole and that replica has more; the sentinels are to promote one' --replica-priority 0; }
      lead 'no replica answers' --min-replicas-to-write 1
    fi
  elif [ $known = 1 ]; then
    look
    if [ -n "$leader" ]; then follow "$leader" 'it is the master'; fi
    [ -z "$mine$theirs" ] && lead 'no sentinel watches it yet, and nobody follows another'
    [ $waited -ge $((patience * 5)) ] && { if [ -n "$mine" ]; then follow "$mine" 'phalanx up is to promote one'; fi; follow "$theirs" 'others follow it'; }
  else
    [ $((waited % 50)) = 0 ] && say 'waiting: no sentinel answers, so nobody can say who is master'
  fi
  waited=$((waited + 1))
  sleep 0.2
done
`;

/** `needed`: replicas without which a master that nobody vouches for takes no write. */
const replication_ = (needed: number): string => `
first=no
[ -e data/.ran ] || first=yes
last=$(cat data/.role 2>/dev/null)
waited=0
while :; do
  look
  # A master without any replica is the one that it followed, or nothing is known of it.
  case " $masters " in
    *" \${last:-nobody} "*)
      hollow "$last" data/.role && lead "the master that it followed, $last, lost its disk; phalanx up makes that one a copy" --min-replicas-to-write ${needed}
      follow "$last" 'it followed it before'
      ;;
  esac
  # A chain: the member that it followed last, if that one is a replica itself.
  if [ -n "$leader" ]; then
    if [ -n "$last" ] && [ "$last" != master ] && [ "$last" != "$leader" ]; then
      set -- $(cat "data/.answer.$last" 2>/dev/null)
      [ "\${1:-}" = slave ] && [ "\${2:-}:\${3:-}" != "$self" ] && follow "$last" 'it followed it before'
    fi
    follow "$leader" 'it is the master'
  fi
  # Who is followed leads only if it led: in a chain a replica is followed as well.
  if [ -n "$mine" ] && [ "\${last:-master}" = master ]; then
    whole && lead 'its replicas follow it'
    follow "$mine" 'its own data is not whole and that replica has more; phalanx up promotes the newest' --replica-priority 0
  fi
  [ $first = yes ] && [ -z "$theirs" ] && blank
  if [ $waited -ge 10 ]; then
    [ -n "$theirs" ] && follow "$theirs" 'the others follow it'
    case $last in
      '' | master) lead 'nobody answers, and it was the master' --min-replicas-to-write ${needed} ;;
      *) follow "$last" 'nobody answers, and it followed it before' ;;
    esac
  fi
  waited=$((waited + 1))
  sleep 0.5
done
`;
