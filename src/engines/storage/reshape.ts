import { quote } from '../../hosts/shell.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { StepFailed } from '../engine.ts';
import { brickHosts, difference, pendingOf, type StorageLive, volumeOf } from './live.ts';
import { gluster, look, notThere, readyMs, settle, speaker, untilOpen, type Work } from './pool.ts';
import { brickName, entryOf, hostAt, majority, memberName, uuidOf } from './seats.ts';

/**
 * Makes the volume's copies be on the file's hosts: new hosts first in the place of those that go, then further ones, then fewer; each
 * change only while the copies that stay are there and whole. A host that has none any more leaves the pool, and the volume has the options of
 * those that there are.
 */
export async function reshape(work: Work): Promise<void> {
  const { service, cluster, say } = work;
  const { name, hosts } = service;
  for (;;) {
    const live = await untilOpen(work, `${name} is not reshaped`, (seen) => {
      const volume = volumeOf(seen);
      if (volume === undefined) return 'no glusterd that knows the volume answers';
      return whyNotReshaped(work, seen);
    });
    const volume = volumeOf(live)!;
    const now = brickHosts(volume, cluster);
    const { coming, going } = difference(service, cluster, volume);
    const staying = hosts.find((host) => now.includes(host)) ?? speaker(live);
    const [from] = going;
    if (coming.length === 0 && from === undefined) {
      // A copy that is alone by now would be stopped for want of a majority of glusterds, while the others leave the pool one by one.
      if (volume.bricks.length === 1) await settle(work, staying, live);
      break;
    }
    for (const host of coming) await join(work, staying, host);
    if (from !== undefined && coming.length > 0) {
      const index = volume.bricks.indexOf(from);
      const isArbiter = volume.arbiter && index === volume.bricks.length - 1;
      const to = isArbiter || !coming.includes(hosts[index] ?? '') ? coming.at(-1)! : hosts[index]!;
      say(`the copy of ${now[index] ?? from} goes to ${to}`);
      const target = brickName(service, cluster.hosts[to]!);
      await gluster(work, staying, ['volume', 'replace-brick', name, from, target, 'commit', 'force']);
    } else if (coming.length > 0) {
      const targets = coming.map((host) => brickName(service, cluster.hosts[host]!));
      const copies = ['replica', String(volume.bricks.length + coming.length)];
      const arbiter = service.spec.arbiter ? ['arbiter', '1'] : [];
      await gluster(work, staying, ['volume', 'add-brick', name, ...copies, ...arbiter, ...targets, 'force']);
    } else {
      const copies = ['replica', String(volume.bricks.length - going.length)];
      await gluster(work, staying, ['volume', 'remove-brick', name, ...copies, ...going, 'force']);
    }
  }
  await dismiss(work);
  const live = await look(work);
  if (volumeOf(live)) await settle(work, speaker(live), live);
}

/**
 * Why a copy may not yet be made from those that stay, or given up. A host that is dead for good must not block its own replacement, so only those
 * that stay have to be there; but with the others that are, they must be more than half: every acknowledged write is then on one of them,
 * which knows who lacks it. What only those that go lack does not count.
 */
async function whyNotReshaped(work: Work, live: StorageLive): Promise<string | undefined> {
  const { service, cluster } = work;
  const volume = volumeOf(live)!;
  const { coming, going } = difference(service, cluster, volume);
  if (coming.length === 0 && going.length === 0) return undefined;
  const silent = coming.find((host) => live.servers[host]?.silent !== undefined);
  if (silent !== undefined) return `${memberName(service, silent)}: ${live.servers[silent]!.silent}`;
  // Its folder is about to be cleared for a new copy.
  const serving = coming.find((host) => live.servers[host]?.online);
  if (serving !== undefined)
    return `the glusterd of ${serving} still serves a copy that the others do not know of`;
  const hosts = brickHosts(volume, cluster).filter((host) => host !== undefined);
  const staying = hosts.filter((host) => service.hosts.includes(host));
  if (staying.length === 0)
    return 'none of its hosts stays: leave one in the file, run up, and exchange it afterwards';
  for (const host of staying) {
    const why = notThere(work, live, host);
    if (why !== undefined) return why;
  }
  const there = hosts.filter((host) => notThere(work, live, host) === undefined);
  const needed = majority(volume.bricks.length);
  if (there.length < needed)
    return `${there.length} of ${volume.bricks.length} copies are there, and ${needed} are needed to know that what stays has everything`;
  if (live.splitBrain) return `${live.splitBrain} entries in split brain`;
  if (pendingOf(live) === 0) return undefined;
  const lacking = await Promise.all(there.map((host) => lackedBy(work, host, staying)));
  const most = Math.max(...lacking);
  return most === 0 ? undefined : `${most} entries that a copy on ${staying.join(', ')} lacks yet`;
}

/** Entries of which the copy on `host` knows that one of `others` lacks them, by the marks that replication leaves (trusted.afr.*). */
async function lackedBy({ service, cluster, reach }: Work, host: string, others: string[]): Promise<number> {
  const { root } = entryOf(cluster, host);
  const folder = `${memberFolder({ name: memberName(service, host) }, root)}/data`;
  const addresses = others.map((other) => entryOf(cluster, other).address);
  const script = `cd ${quote(folder)} && python3 - ${[service.name, ...addresses].map(quote).join(' ')} <<'PHALANX_PYTHON'
${countMarks}PHALANX_PYTHON
`;
  const { exit, text, stderr } = await reach.host(host).run(script, { timeoutMs: 120_000 });
  if (exit !== 0) throw new StepFailed(`${memberName(service, host)}: ${stderr.trim()}`);
  return Number(text);
}

/** GlusterFS brings Python with it. A brick's number in the marks is the one that glusterd keeps with it, not its place. */
const countMarks = `import os, sys
volume, addresses = sys.argv[1], sys.argv[2:]
names = []
for brick in os.scandir(f'state/vols/{volume}/bricks'):
    kept = dict(line.strip().split('=', 1) for line in open(brick) if '=' in line)
    if kept['hostname'] in addresses:
        names.append(f"trusted.afr.{kept['brick-id']}")
def marked(entry):
    for name in names:
        try:
            if any(os.getxattr(f'brick/.glusterfs/{entry[:2]}/{entry[2:4]}/{entry}', name)):
                return True
        except OSError:
            pass
    return False
print(sum(marked(entry) for entry in os.listdir('brick/.glusterfs/indices/xattrop') if not entry.startswith('xattrop-')))
`;

/** Takes a host into the pool; what an earlier membership left in its folder is kept beside and never believed again. */
async function join(work: Work, by: string, host: string): Promise<void> {
  const { service, cluster, reach } = work;
  const { address, root } = cluster.hosts[host]!;
  const folder = `${memberFolder({ name: memberName(service, host) }, root)}/data`;
  const script = `cd ${quote(folder)} || exit 1
[ ! -e brick/.glusterfs ] || { rm -rf before && mv brick before; } || exit 1
[ -d brick ] || { mkdir brick && chmod 1777 brick; }`;
  const { exit, stderr } = await reach.host(host).run(script);
  if (exit !== 0) throw new StepFailed(`${memberName(service, host)}: ${stderr.trim()}`);
  await gluster(work, by, ['peer', 'probe', address]);
  await untilOpen(
    work,
    `${host} is not taken into the pool`,
    (live) =>
      live.servers[by]?.peers.includes(uuidOf(service, cluster, host))
        ? undefined
        : `${memberName(service, by)} is not connected to ${host}`,
    readyMs,
  );
}

/**
 * Hosts of the pool that the file does not have leave it; also one that is dead. Each glusterd that still has one is asked: one that was away when the
 * others let go of it was not told.
 */
async function dismiss(work: Work): Promise<void> {
  const { service, cluster, say } = work;
  const own = new Set(service.hosts.map((host) => uuidOf(service, cluster, host)));
  for (const by of service.hosts) {
    const { pool = [] } = (await look(work)).servers[by] ?? {};
    if (pool.every((uuid) => own.has(uuid))) continue;
    const text = await gluster(work, by, ['pool', 'list']);
    for (const [, uuid, name] of text.matchAll(/^([0-9a-f-]{36})\s+(\S+)/gm)) {
      if (own.has(uuid!) || name === 'localhost') continue;
      const host = Object.values(cluster.hosts).find((one) => one.name === name) ?? hostAt(cluster, name!);
      say(`${host?.name ?? name} leaves the pool`);
      await gluster(work, by, ['peer', 'detach', name!, 'force']);
    }
  }
}
