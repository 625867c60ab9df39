import type { Cluster } from '../../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../../hosts/host.ts';
import { quote } from '../../../hosts/shell.ts';
import { StepFailed } from '../../engine.ts';
import { parseInfo } from '../info.ts';
import { isReplicaOf, type LiveMember, type RedisLive } from '../live.ts';
import { on, type World, worldOf } from '../perform/world.ts';
import { entryOf, type RedisService } from '../seats.ts';
import type { Facts, HostFacts, ProcessFacts, SlowCommand } from './facts.ts';
import { type Patient, type Samples, sample } from './sample.ts';

/** Entries of the slow log that are read. */
const entries = 64;

/** Looks at everything that the rules want to know. Throws StepFailed when no member answers. */
export async function gather(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  options: { forMs: number; say: (line: string) => void },
): Promise<Facts> {
  const world = worldOf(service, cluster, reach, options.say);
  const live = await world.observe();
  const ups = live.members.filter((one) => one.up && !one.loading);
  if (ups.length === 0) {
    const [first] = live.members;
    throw new StepFailed(`no member of ${service.name} answers (${first!.name}: ${first!.why ?? 'loading'})`);
  }
  const facts: Facts = {
    service,
    live,
    later: {},
    slow: {},
    keys: [],
    unseen: {},
    uses: [],
    processes: {},
    hosts: {},
  };
  const shards = shardsOf(live);
  if (options.forMs >= 2_000) options.say(`looking at samples of keys for up to ${options.forMs / 1_000} s`);
  await Promise.all([
    ...shards.map(async (shard) => {
      try {
        const seen = await sampleShard(world, shard, options.forMs);
        facts.keys.push(seen.keys);
        if (seen.use) facts.uses.push(seen.use);
      } catch (error) {
        // It went away, or a failover cut the connection.
        facts.unseen[(shard.master ?? shard.replica)!.name] = (error as Error).message;
      }
    }),
    each(ups, async (one) => {
      facts.slow[one.name] = await slowLog(world, one.name);
    }),
    hostFacts(world, live, facts),
  ]);
  await each(ups, async (one) => {
    facts.later[one.name] = await on(world, one.name, async (redis) => parseInfo(await redis.info('all')));
  });
  return facts;
}

/** What is asked of a member that goes away meanwhile is not known; that it went away is said by others. */
async function each(members: LiveMember[], ask: (member: LiveMember) => Promise<void>): Promise<void> {
  await Promise.allSettled(members.map(ask));
}

interface Shard {
  master?: LiveMember;
  replica?: LiveMember;
}

/** Who is looked at: for each master one of its replicas that is in touch, where it has one. */
function shardsOf({ members }: RedisLive): Shard[] {
  const ups = members.filter((one) => one.up && !one.loading);
  const masters = ups.filter((one) => one.role === 'master' && (one.keys ?? 0) > 0);
  const orphans = ups.filter(
    (one) => one.role === 'replica' && !ups.some((other) => isReplicaOf(one, other)),
  );
  return [
    ...masters.map((master): Shard => {
      const replica = ups.find((one) => isReplicaOf(one, master) && one.linkUp);
      return replica ? { master, replica } : { master };
    }),
    ...orphans.slice(0, 1).map((replica): Shard => ({ replica })),
  ];
}

async function sampleShard(world: World, { master, replica }: Shard, forMs: number): Promise<Samples> {
  const dialled: Patient[] = [];
  const patient = async (member: LiveMember, role: 'master' | 'replica'): Promise<Patient> => {
    const one = { member: member.name, role, redis: await world.dial(member) };
    dialled.push(one);
    return one;
  };
  try {
    const asMaster = master && (await patient(master, 'master'));
    const asReplica = replica && (await patient(replica, 'replica'));
    const lfu = /lfu/.test(master?.config?.['maxmemory-policy'] ?? '');
    return await sample((asReplica ?? asMaster)!, asMaster, lfu, forMs);
  } finally {
    for (const { redis } of dialled) redis.disconnect();
  }
}

const slowLog = (world: World, member: string): Promise<SlowCommand[]> =>
  on(world, member, async (redis) => {
    const found = (await redis.call('SLOWLOG', 'GET', String(entries))) as [
      number,
      number,
      number,
      string[],
    ][];
    return found.map(([, seconds, us, words]) => ({
      at: Number(seconds),
      us: Number(us),
      words: words.map(String),
    }));
  });

/** What the kernel of each host says, and of each member's process there: one round trip a host. */
async function hostFacts(world: World, live: RedisLive, into: Facts): Promise<void> {
  const hosts = [...new Set(live.members.map((one) => one.host))];
  await Promise.all(
    hosts.map(async (host) => {
      const members = live.members.filter((one) => one.host === host);
      const pids = new Map(
        members.flatMap((one) =>
          one.up && one.info?.['process_id'] ? [[one.info['process_id'], one.name] as const] : [],
        ),
      );
      try {
        const { lines } = await world.reach
          .host(host)
          .run(hostScript([...pids.keys()], entryOf(world.cluster, host).root), { timeoutMs: 5_000 });
        for (const line of lines) {
          const name = pids.get(String(line['pid']));
          if (name) into.processes[name] = line['process'] as ProcessFacts;
          else if (line['host']) into.hosts[host] = line['host'] as HostFacts;
        }
      } catch (error) {
        if (!(error instanceof HostUnreachable)) throw error;
      }
    }),
  );
}

const hostScript = (pids: string[], root: string): string => `
mem() { awk -v key="$1:" '$1 == key { printf "%.0f", $2 * 1024; found = 1 } END { if (!found) printf 0 }' /proc/meminfo; }
thp=$(sed -n 's/.*\\[\\(.*\\)\\].*/\\1/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null)
set -- $(df -Pk ${quote(root)} 2>/dev/null | awk 'NR == 2 { print $3, $4 }')
printf '{"host":{"overcommit":%d,"hugePages":"%s","memory":%s,"available":%s,"swap":%s,"commitLimit":%s,"committed":%s,"disk":{"used":%s,"free":%s}}}\\n' \\
  "$(cat /proc/sys/vm/overcommit_memory 2>/dev/null || echo 1)" "\${thp:-never}" "$(mem MemTotal)" "$(mem MemAvailable)" "$(mem SwapTotal)" \\
  "$(mem CommitLimit)" "$(mem Committed_AS)" "$((\${1:-0} * 1024))" "$((\${2:-0} * 1024))"
for pid in ${pids.join(' ')}; do
  awk -v pid="$pid" '$1 == "VmSwap:" { swap = $2 * 1024 } $1 == "THP_enabled:" { thp = $2 }
    END { printf "{\\"pid\\":\\"%s\\",\\"process\\":{\\"swapped\\":%.0f,\\"hugePages\\":%s}}\\n", pid, swap, thp == 1 ? "true" : "false" }' "/proc/$pid/status" 2>/dev/null
done
exit 0
`;
