import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { accessLists, proof, sameAcl } from './acl.ts';
import { withSession } from './client.ts';
import { type Ensemble, parseEnsemble } from './ensemble.ts';
import { hasData, type LiveServer, type ZooKeeperLive } from './live.ts';
import { formerSeats, hostOf, memberName, seatsOf, type ZooKeeperService } from './seats.ts';
import { answerMs, ask, pairs } from './words.ts';

/** Longest that a host which the file no longer has here is waited for, milliseconds: it may be gone for good. */
const formerMs = 2 * answerMs;

/**
 * Asks every server of the file, all at once, then those that only the ensemble still has, then the leader for the access
 * lists. While none of them serves, the ensemble may be on hosts that the file no longer has: every host that ever had a member
 * is looked at. Takes a few times `answerMs`, however many are dead or frozen.
 */
export async function observeZooKeeper(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
): Promise<ZooKeeperLive> {
  const look = async (hosts: string[]): Promise<Record<string, LiveServer>> =>
    Object.fromEntries(
      await Promise.all(
        hosts.map(async (host) => [host, await observeServer(service, cluster, reach, host)] as const),
      ),
    );
  const servers = await look(seatsOf(service, cluster).map(({ host }) => host));
  const others = (newest(Object.values(servers))?.servers ?? []).flatMap(({ id }) => {
    const host = hostOf(service, cluster, id);
    return host && !(host in servers) && (host in cluster.hosts || host in (cluster.former ?? {}))
      ? [host]
      : [];
  });
  Object.assign(servers, await look(others));
  const serving = Object.values(servers).some((server) => server.ensemble);
  const elsewhere = serving
    ? []
    : formerSeats(service, cluster)
        .map(({ host }) => host)
        .filter((host) => !(host in servers));
  const former = await Promise.all(elsewhere.map((host) => observeFormer(service, cluster, reach, host)));
  const ensemble = newest([...Object.values(servers), ...former]);
  for (const server of former) {
    const id = cluster.ids?.[`${service.name}/${server.host}`];
    const belongs = ensemble ? ensemble.servers.some((one) => one.id === id) : hasData(server);
    if (belongs) servers[server.host] = server;
  }
  const unseen = ensemble ? [] : former.flatMap(({ host, disk }) => (disk ? [] : [host]));
  const leader = Object.values(servers).find(({ role }) => role === 'leader')?.host;
  const wrong =
    leader === undefined ? undefined : await wrongPaths(service, cluster, reach, servers[leader]!);
  return {
    servers,
    ...(ensemble ? { ensemble } : {}),
    ...(unseen.length > 0 ? { unseen } : {}),
    ...(leader === undefined ? {} : { leader }),
    ...(wrong ? { wrong } : {}),
  };
}

/** What servers that serve say goes before what lies on disks; the newer before the older. */
function newest(servers: LiveServer[]): Ensemble | undefined {
  const said = servers.flatMap(({ ensemble }) => ensemble ?? []);
  const kept = servers.flatMap((server) => (hasData(server) ? (server.disk?.ensemble ?? []) : []));
  return (said.length > 0 ? said : kept).reduce<Ensemble | undefined>(
    (best, one) => (best && best.version >= one.version ? best : one),
    undefined,
  );
}

async function observeServer(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<LiveServer> {
  const asked = (port: number) =>
    askAll(reach, { host, port }).catch(
      (error: Error): Pick<LiveServer, 'state' | 'why'> => ({ state: 'silent', why: reason(error) }),
    );
  const [disk, atFile] = await Promise.all([diskOf(service, cluster, reach, host), asked(service.spec.port)]);
  // The file's port is the server's own only when the ensemble has been told of it.
  const own = portOnDisk(service, cluster, host, disk);
  const atOwn = own === undefined || own === service.spec.port ? atFile : await asked(own);
  return { host, ...(atOwn.state === 'silent' ? atFile : atOwn), ...(disk ? { disk } : {}) };
}

/** A server of a host that the file no longer has here: asked only where the host answers at all. */
async function observeFormer(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<LiveServer> {
  const late = new AbortController();
  const disk = await Promise.race([
    diskOf(service, cluster, reach, host),
    wait(formerMs, undefined, { signal: late.signal }),
  ]).finally(() => late.abort());
  if (!disk) return { host, state: 'silent', why: 'its host does not answer' };
  return observeServer(service, cluster, reach, host);
}

/** The port for clients that the server has by what lies on its own disk; undefined where nothing does. */
function portOnDisk(
  service: ZooKeeperService,
  cluster: Cluster,
  host: string,
  disk: LiveServer['disk'],
): number | undefined {
  const id = cluster.ids?.[`${service.name}/${host}`];
  return disk?.ensemble?.servers.find((server) => server.id === id)?.port || undefined;
}

/** Ports at which the server of a host may answer clients, the likeliest first. */
export async function portsOf(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<number[]> {
  const own = portOnDisk(service, cluster, host, await diskOf(service, cluster, reach, host));
  return [...new Set([own ?? service.spec.port, service.spec.port])];
}

/** One word after the other: each takes a connection, and the server counts them among its clients'. */
async function askAll(reach: Reach, place: { host: string; port: number }) {
  const srvr = await ask(reach, place, 'srvr');
  const mntr = await ask(reach, place, 'mntr');
  return { port: place.port, ...fromWords(srvr, mntr, await ask(reach, place, 'conf')) };
}

/** What a server says of itself by its first word, to which it answers with one sentence while it has no majority. */
export function stateOf(srvr: string): 'serving' | 'read-only' | 'electing' {
  const mode = pairs(srvr)['Mode'];
  return mode === undefined ? 'electing' : mode === 'read-only' ? mode : 'serving';
}

/** What a server's answers say. One that has lost its majority between two of them is without: it says of nobody that he is a member. */
export function fromWords(srvr: string, mntr: string, conf: string): Omit<LiveServer, 'host' | 'disk'> {
  const general = pairs(srvr);
  const state = stateOf(srvr);
  const ensemble = parseEnsemble(conf);
  if (state === 'electing' || (state === 'serving' && ensemble.servers.length === 0))
    return { state: 'electing' };
  const mode = general['Mode'];
  const numbers = pairs(mntr);
  const facts = {
    ...(general['Zxid'] ? { zxid: BigInt(general['Zxid']) } : {}),
    ...number('connections', general['Connections'] && String(Number(general['Connections']) - 1)),
    ...number('outstanding', general['Outstanding']),
    ...number('latency', numbers['zk_avg_latency']),
    ...number('nodes', general['Node count']),
    ...number('synced', numbers['zk_synced_followers']),
    ...number('tick', /^tickTime=(\d+)$/m.exec(conf)?.[1]),
    ...number('syncLimit', /^syncLimit=(\d+)$/m.exec(conf)?.[1]),
  };
  if (state === 'read-only') return { state, ...facts };
  const role = mode === 'leader' || mode === 'observer' ? mode : 'follower';
  return { state, role, ...facts, ensemble };
}

const number = (key: string, text: string | undefined): Record<string, number> =>
  text === undefined || Number.isNaN(Number(text)) ? {} : { [key]: Number(text) };

/** What lies on the server's disk; undefined when the host does not answer. */
async function diskOf(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  host: string,
): Promise<LiveServer['disk']> {
  const root = (cluster.hosts[host] ?? cluster.former?.[host])!.root;
  try {
    const { lines } = await reach
      .host(host)
      .run(diskScript(memberFolder({ name: memberName(service, host) }, root)), { timeoutMs: 2 * answerMs });
    const [line] = lines;
    if (!line) return { epoch: 0 };
    const version = /\.dynamic\.([0-9a-f]+)$/.exec(String(line['file']))?.[1] ?? '0';
    const ensemble = parseEnsemble(String(line['members']), version);
    return { epoch: Number(line['epoch']), ...(ensemble.servers.length > 0 ? { ensemble } : {}) };
  } catch {
    return undefined;
  }
}

/** Sh that prints what lies on the disk of the member in `folder`: {"epoch","file","members"}; nothing when nothing does. */
function diskScript(folder: string): string {
  return `if cd '${folder}/data' 2>/dev/null; then
  epoch=0
  { read -r epoch <version-2/currentEpoch; } 2>/dev/null || :
  file=$(sed -n 's/^dynamicConfigFile=//p' zoo.cfg 2>/dev/null)
  [ -n "$file" ] && [ -s "$file" ] || file=first.cfg
  printf '{"epoch":%s,"file":"%s","members":"%s"}\\n' "\${epoch:-0}" "$file" "$(tr '\\n' ' ' <"$file" 2>/dev/null)"
fi
`;
}

async function wrongPaths(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  leader: LiveServer,
): Promise<string[] | undefined> {
  const wanted = Object.entries(accessLists(cluster, service));
  try {
    const place = { host: leader.host, port: leader.port ?? service.spec.port };
    return await withSession(reach, place, [proof(cluster, service, 'super')], answerMs, async (session) => {
      const found = await Promise.all(wanted.map(([path]) => session.getAcl(path)));
      return wanted.flatMap(([path, acl], i) => (sameAcl(found[i], acl) ? [] : [path]));
    });
  } catch {
    return undefined;
  }
}

/** Why a server does not answer, in a few words. */
export function reason(error: Error): string {
  if (/ECONNREFUSED/.test(error.message)) return 'nothing listens';
  return error.message.replace(/^\S+: port \d+: /, '');
}
