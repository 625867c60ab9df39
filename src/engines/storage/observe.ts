import { existsSync } from 'node:fs';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { liesHere } from '../../hosts/lab/lab-host.ts';
import { quote } from '../../hosts/shell.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import {
  answering,
  brickHosts,
  type LiveMount,
  type LiveServer,
  type LiveVolume,
  pendingOf,
  type StorageLive,
  volumeOf,
} from './live.ts';
import { brickFolder, entryOf, memberName, mountHosts, mountPoint, type StorageService } from './seats.ts';
import { answerSeconds, answerTest, mountedTest } from './start.ts';

/** Longest time for one host's answer, milliseconds. */
const answerMs = 8_000;

/**
 * Asks every glusterd for what it knows by itself (no lock of the pool is taken, and nobody waits for a dead peer) and every mount
 * for what it is connected to, all at once. Split brain is asked for only while something is to be healed.
 */
export async function observeStorage(
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
): Promise<StorageLive> {
  const [servers, mounts] = await Promise.all([
    Promise.all(service.hosts.map((host) => observeServer(service, cluster, reach, host))),
    Promise.all(mountHosts(service, cluster).map((host) => observeMount(service, cluster, reach, host))),
  ]);
  const live: StorageLive = {
    servers: Object.fromEntries(servers.map((server) => [server.host, server])),
    mounts: Object.fromEntries(mounts.map((mount) => [mount.host, mount])),
  };
  // Hosts that the file no longer has for it and that still have a copy.
  const volume = volumeOf(live);
  const others = (volume ? brickHosts(volume, cluster) : []).filter(
    (host): host is string => host !== undefined && !service.hosts.includes(host),
  );
  for (const server of await Promise.all(others.map((host) => observeServer(service, cluster, reach, host))))
    live.servers[server.host] = server;
  const asked = answering(live).find(({ volume }) => volume?.started);
  if (pendingOf(live) === 0 || asked === undefined) return live;
  const splitBrain = await observeSplitBrain(service, cluster, reach, asked.host);
  return { ...live, ...(splitBrain === undefined ? {} : { splitBrain }) };
}

/**
 * Which hosts that the service is not on have a copy of it, and of which that cannot be told though they were data hosts once. One that never was is
 * waited for by nobody.
 */
export async function leftBehind(
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
): Promise<{ held: string[]; unknown: string[] }> {
  const others = Object.values({ ...cluster.former, ...cluster.hosts }).filter(
    ({ name }) => !service.hosts.includes(name),
  );
  const answers = await Promise.all(
    others.map(async (entry) => {
      const host = reach.host(entry.name);
      const copy = `${brickFolder(service, entry)}/.glusterfs`;
      const held = await host
        .run(`[ ! -d ${quote(copy)} ] || echo held\n`, { timeoutMs: answerMs })
        .then(({ text }) => text.includes('held'))
        .catch(() => (liesHere(host, entry.root) ? existsSync(copy) : undefined));
      return { host: entry.name, held };
    }),
  );
  const those = (is: boolean | undefined): string[] =>
    answers.flatMap(({ host, held }) => (held === is ? [host] : []));
  const once = (host: string): boolean => `${service.name}/${host}` in (cluster.ids ?? {});
  return { held: those(true), unknown: those(undefined).filter(once) };
}

async function observeServer(
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<LiveServer> {
  const { root, address } = entryOf(cluster, host);
  const folder = memberFolder({ name: memberName(service, host) }, root);
  try {
    const { text } = await reach.host(host).run(serverQuestion(folder), { timeoutMs: answerMs });
    return parseServer(host, address, service.name, text);
  } catch (error) {
    return { host, silent: (error as Error).message.replace(/^\S+: /, ''), peers: [], online: false };
  }
}

/** Sh that prints a data host's disk and then what its glusterd knows. The state goes to a file: gluster prints it nowhere else. */
function serverQuestion(folder: string): string {
  return `cd '${folder}' 2>/dev/null || { echo 'disk 0 0 0'; echo 'silent nothing of it is on its host'; exit 0; }
index=data/brick/.glusterfs/indices/xattrop
if [ -d data/brick/.glusterfs ]; then brick=1; else brick=0; fi
echo "disk $brick $(ls "$index" 2>/dev/null | grep -vc '^xattrop-') $(df -B1 --output=avail data 2>/dev/null | tail -n 1)"
[ -S /run/glusterd.socket ] && [ -x gluster ] || { echo 'silent not running'; exit 0; }
state=$(mktemp -d /run/gluster-state.XXXXXX) || exit 0
if said=$(timeout 5 ./gluster --timeout=5 get-state glusterd odir "$state" file now 2>&1); then
  cat "$state/now"
else
  echo "silent $(echo $said | head -c 200)"
fi
rm -rf "$state"
`;
}

/** Reads the answer to a server's question. */
export function parseServer(host: string, address: string, volumeName: string, text: string): LiveServer {
  const [, brick, pending, free] = /^disk (\d+) (\d+) *(\d*)/m.exec(text) ?? [];
  const disk: LiveServer['disk'] =
    brick === undefined
      ? undefined
      : { brick: brick === '1', pending: Number(pending), ...(free ? { free: Number(free) } : {}) };
  const silent = /^silent(?: (.*))?$/m.exec(text);
  const told = disk === undefined ? {} : { disk };
  if (silent || !text.includes('[Global]'))
    return { host, silent: silent?.[1] ?? 'no answer in time', peers: [], online: false, ...told };

  const values = new Map(
    [...text.matchAll(/^([A-Za-z][^:\n]*): ?(.*)$/gm)].map(([, key, value]) => [key!, value!.trim()]),
  );
  const numbered = (pattern: RegExp): string[] =>
    [...values.keys()].flatMap((key) => pattern.exec(key)?.[1] ?? []);
  const others = numbered(/^(Peer\d+)\.uuid$/);
  const pool = others.map((peer) => values.get(`${peer}.uuid`)!);
  const peers = others.flatMap((peer) =>
    values.get(`${peer}.connected`) === 'Connected' && values.get(`${peer}.state`) === 'Peer in Cluster'
      ? [values.get(`${peer}.uuid`)!]
      : [],
  );
  const at = numbered(/^(Volume\d+)\.name$/).find((key) => values.get(`${key}.name`) === volumeName);
  if (at === undefined) return { host, peers, pool, online: false, ...told };
  const own = `${at}.`.replace('.', '\\.');
  const bricks = numbered(new RegExp(`^${own}(Brick\\d+)\\.path$`));
  const volume: LiveVolume = {
    started: values.get(`${at}.status`) === 'Started',
    bricks: bricks.map((one) => values.get(`${at}.${one}.path`)!.replace(/ .*$/, '')),
    arbiter: Number(values.get(`${at}.arbiter_count`) ?? 0) > 0,
    options: Object.fromEntries(
      [...values].flatMap(([key, value]) =>
        key.startsWith(`${at}.options.`) ? [[key.slice(`${at}.options.`.length), value]] : [],
      ),
    ),
    quorum: values.get(`${at}.quorum_status`) !== 'does_not_meet',
  };
  const mine = bricks.find((one) => values.get(`${at}.${one}.path`)!.startsWith(`${address}:`));
  const online = mine !== undefined && values.get(`${at}.${mine}.status`) === 'Started';
  return { host, peers, pool, volume, online, ...told };
}

async function observeMount(
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<LiveMount> {
  try {
    const script = mountQuestion(mountPoint(service, cluster), service.name);
    const { text } = await reach.host(host).run(script, { timeoutMs: answerMs });
    return parseMount(host, text);
  } catch (error) {
    return { host, away: true, broken: (error as Error).message.replace(/^\S+: /, ''), bricks: [] };
  }
}

/** Sh that tells whether the mount answers, and from its own statistics (meta translator) which bricks it knows and is connected to. */
function mountQuestion(at: string, volume: string): string {
  return `${mountedTest(at)} || { echo 'broken not mounted'; exit 0; }
# Without a brick even the statistics are refused.
said=$({ LC_ALL=C ${answerTest(at)}; } 2>&1) || echo "broken $(echo "$said" | sed 's/.*: //' | head -n 1)"
for client in ${at}/.meta/graphs/active/${volume}-client-*; do
  connected=$(timeout 2 sed -n 's/^connected = //p' "$client/private" 2>/dev/null) &&
    echo "brick $connected $(timeout 2 cat "$client/options/remote-host" 2>/dev/null)"
done
exit 0
`;
}

/** Reads the answer to a mount's question. */
export function parseMount(host: string, text: string): LiveMount {
  const broken = /^broken ?(.*)$/m.exec(text);
  const bricks = [...text.matchAll(/^brick (\d) ?(\S*)/gm)].map(([, connected, address]) => ({
    address: address!,
    connected: connected === '1',
  }));
  return { host, ...(broken ? { broken: broken[1] || `no answer in ${answerSeconds} s` } : {}), bricks };
}

async function observeSplitBrain(
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<number | undefined> {
  const folder = memberFolder({ name: memberName(service, host) }, entryOf(cluster, host).root);
  const script = `cd '${folder}' && timeout 5 ./gluster --timeout=5 --xml volume heal ${service.name} info summary`;
  try {
    const { text } = await reach.host(host).run(script, { timeoutMs: answerMs });
    const counts = [...text.matchAll(/<numberOfEntriesInSplitBrain>(\d+)</g)].map(([, count]) =>
      Number(count),
    );
    return counts.length === 0 ? undefined : Math.max(...counts);
  } catch {
    return undefined;
  }
}
