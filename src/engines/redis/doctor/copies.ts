import { at, isReplicaOf, type LiveMember } from '../live.ts';
import { minReplicasOf, quorumOf, replicasOf, shardsOf } from '../seats.ts';
import { timingOf } from '../timing.ts';
import { type Facts, number } from './facts.ts';
import type { Found } from './finding.ts';
import { bytes, count } from './numbers.ts';

const mastersOf = ({ live }: Facts): LiveMember[] =>
  live.members.filter((one) => one.up && one.role === 'master' && !one.leaving && leads(one));

/** A node of a cluster that owns no slots leads nobody. */
const leads = (one: LiveMember): boolean =>
  one.nodes === undefined || one.nodes.some((node) => node.flags.has('myself') && node.slots.length > 0);

/** Everybody below a master: in a chain the replicas of its replicas too. */
function below({ live }: Facts, master: LiveMember): LiveMember[] {
  const found: LiveMember[] = [];
  const collect = (up: LiveMember): void => {
    for (const one of live.members)
      if (one.up && isReplicaOf(one, up) && !found.includes(one)) {
        found.push(one);
        collect(one);
      }
  };
  collect(master);
  return found;
}

export function members({ live, service }: Facts): Found[] {
  return [...live.members, ...live.sentinels]
    .filter((one) => !one.up)
    .map((one) => ({
      rule: 'member-down',
      risk: 'service',
      where: one.name,
      what: `does not answer: ${one.why ?? 'unknown'}`,
      why: 'While it is away the next failure finds a copy, or a vote, fewer.',
      mend: `phalanx up; why it went: phalanx logs ${one.name} (service ${service.name})`,
    }));
}

export function lag(facts: Facts): Found[] {
  const { live, later, service } = facts;
  return live.members.flatMap((one): Found[] => {
    if (!one.up || one.role !== 'replica') return [];
    const upstream = live.members.find((other) => at(other) === at(one.upstream!));
    if (!one.linkUp)
      return [
        {
          rule: 'replica-cut-off',
          risk: 'data',
          where: one.name,
          what: `its link to ${upstream?.name ?? at(one.upstream!)} is down since ${count(number(one.info, 'master_link_down_since_seconds'))} s`,
          why: 'What is written meanwhile has a copy fewer, and this one must not take over.',
          mend: `phalanx logs ${one.name}; phalanx up`,
        },
      ];
    if (!upstream?.up) return [];
    const behind = (
      master: Record<string, string> | undefined,
      replica: Record<string, string> | undefined,
    ) => number(master, 'master_repl_offset') - number(replica, 'slave_repl_offset');
    // Twice, so that a busy moment is no lag: the smaller one counts.
    const least = Math.min(
      behind(upstream.info, one.info),
      behind(later[upstream.name] ?? upstream.info, later[one.name] ?? one.info),
    );
    const backlog = number(upstream.info, 'repl_backlog_size') || 2 ** 20;
    if (least < backlog / 2) return [];
    return [
      {
        rule: 'replica-behind',
        risk: 'data',
        where: one.name,
        what: `is ${bytes(least)} behind ${upstream.name}, whose backlog holds ${bytes(backlog)}`,
        why: 'That much is lost if the master dies now; and when the backlog is passed, a cut link costs a full copy.',
        mend: `find out what slows it (its host's processor, disk and network); a larger backlog: config: { repl-backlog-size: ${Math.max(64, Math.ceil((4 * backlog) / 2 ** 20))}mb }`,
        key: ['services', service.name, 'config'],
      },
    ];
  });
}

/** Copies that are lost together with what they are copies of. */
export function sharedHosts(facts: Facts): Found[] {
  const { service } = facts;
  const hosts = service.hosts.length;
  return mastersOf(facts).flatMap((master): Found[] => {
    const copies = below(facts, master);
    const sharing = copies.filter((one) => one.host === master.host);
    if (sharing.length === 0) return [];
    const elsewhere = copies.length > sharing.length;
    // With more members than hosts some have to share.
    if (elsewhere && copies.length + 1 > hosts) return [];
    return [
      {
        rule: 'replica-shares-host',
        risk: elsewhere ? 'service' : 'data',
        where: sharing[0]!.name,
        what: `${sharing.map((one) => one.name).join(', ')} ${sharing.length === 1 ? 'stands' : 'stand'} on ${master.host} with ${sharing.length === 1 ? 'its' : 'their'} master ${master.name}${elsewhere ? '' : ', and no other copy stands elsewhere'}`,
        why: `The host ${master.host} takes both with it${elsewhere ? '' : ': data and service'}.`,
        mend: hosts > 1 ? 'phalanx up puts them apart' : `hosts: name a second host for ${service.name}`,
        key: ['services', service.name, 'hosts'],
      },
    ];
  });
}

export function persistence(facts: Facts): Found[] {
  const { service } = facts;
  const key = ['services', service.name, 'persistence'];
  const found: Found[] = facts.live.members.flatMap((one): Found[] => {
    if (!one.up) return [];
    const failed = [
      ['rdb_last_bgsave_status', 'its last snapshot failed'],
      ['aof_last_write_status', 'its log cannot be written'],
      ['aof_last_bgrewrite_status', 'its log could not be rewritten'],
    ].filter(([name]) => one.info?.[name!] === 'err');
    if (failed.length === 0) return [];
    return [
      {
        rule: 'persistence-fails',
        risk: 'data',
        where: one.name,
        what: failed.map(([, text]) => text).join('; '),
        why: 'What it has acknowledged is in memory only, and after a failed snapshot it refuses writes (MISCONF).',
        mend: `phalanx logs ${one.name} says why: a full disk, no memory for a fork, or no right to write`,
      },
    ];
  });
  const promised = service.spec.promise?.lostWrites === 0;
  for (const master of mastersOf(facts)) {
    if (below(facts, master).some((one) => one.linkUp)) continue;
    const kind = service.spec.persistence;
    if (kind === 'none')
      found.push({
        rule: 'one-copy-in-memory',
        risk: 'data',
        where: master.name,
        what: `persistence none, and no replica in touch: its ${count(master.keys ?? 0)} keys are in the memory of one process`,
        why: 'When that process ends, for whatever reason, all of them are gone.',
        mend: 'persistence: aof, or a replica (replicas: 1)',
        key,
      });
    else if (kind === 'rdb' && promised)
      found.push({
        rule: 'snapshots-break-promise',
        risk: 'data',
        where: master.name,
        what: `the file promises lostWrites: 0, and there are snapshots only and no replica in touch: ${count(number(master.info, 'rdb_changes_since_last_save'))} changes are in no snapshot yet`,
        why: 'They are lost with the process.',
        mend: 'persistence: aof, or a replica (replicas: 1)',
        key,
      });
  }
  return found;
}

export function minReplicas(facts: Facts): Found[] {
  const { service } = facts;
  const key = ['services', service.name, 'minReplicas'];
  const replicas = replicasOf(service);
  const wanted = minReplicasOf(service);
  return mastersOf(facts).flatMap((master): Found[] => {
    const needed = number(master.config, 'min-replicas-to-write');
    const online = master.followers?.filter((one) => one.online).length ?? 0;
    if (online < needed)
      return [
        {
          rule: 'writes-refused-replicas',
          risk: 'service',
          where: master.name,
          what: `refuses writes: ${online} of ${needed} replicas in touch`,
          why: 'minReplicas keeps a cut-off master from acknowledging what will be lost.',
          mend: 'bring its replicas back: phalanx up',
          key,
        },
      ];
    if (needed > 0 && needed === replicas)
      return [
        {
          rule: 'every-replica-needed',
          risk: 'service',
          where: master.name,
          what: `minReplicas ${needed} with ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`,
          why: 'The loss of any one replica stops all writes.',
          mend: replicas === 1 ? 'replicas: 2' : `minReplicas: ${replicas - 1}`,
          key,
        },
      ];
    if (wanted === 0 && replicas >= 2 && service.spec.promise?.lostWrites === 0)
      return [
        {
          rule: 'cut-off-master-writes',
          risk: 'data',
          where: master.name,
          what: `the file promises lostWrites: 0 with minReplicas: 0`,
          why: `A master that is cut off from everybody goes on acknowledging writes, and all of them are lost when it comes back. With minReplicas 1 it stops after ${timingOf(service.spec).maxLag} s.`,
          mend: 'minReplicas: 1',
          key,
        },
      ];
    return [];
  });
}

/** Whether the next failure finds somebody who can elect. */
export function electorate(facts: Facts): Found[] {
  const { service, live } = facts;
  if (service.spec.mode === 'sentinel') {
    const all = live.sentinels.length;
    const up = live.sentinels.filter((one) => one.up && one.master).length;
    const needed = Math.max(quorumOf(service), Math.floor(all / 2) + 1);
    if (all === 0 || up >= needed) return [];
    return [
      {
        rule: 'nobody-elects',
        risk: 'service',
        what: `${up} of ${all} sentinels answer and watch; a failover needs ${needed}`,
        why: 'If the master dies now, nobody takes over.',
        mend: 'phalanx up brings the sentinels back',
      },
    ];
  }
  if (service.spec.mode !== 'cluster') return [];
  const masters = mastersOf(facts);
  const byHost = Map.groupBy(masters, (one) => one.host);
  return [...byHost].flatMap(([host, own]): Found[] => {
    // Masters elect: without the majority of them nobody is replaced.
    const left = masters.length - own.length;
    if (masters.length < shardsOf(service.spec) || left > masters.length / 2 || own.length < 2) return [];
    const spare = own
      .flatMap((master) => below(facts, master))
      .filter((one) => one.linkUp && one.host !== host)
      .sort((a, b) => (byHost.get(a.host)?.length ?? 0) - (byHost.get(b.host)?.length ?? 0))[0];
    return [
      {
        rule: 'masters-share-host',
        risk: 'service',
        where: host,
        what: `${own.map((one) => one.name).join(', ')}: ${own.length} of ${masters.length} masters stand on ${host}`,
        why: `Masters elect. Without ${host} there is no majority of them left, and no replica takes over.`,
        mend: spare
          ? `phalanx switchover ${service.name} --to ${spare.name}`
          : `hosts: name further hosts for ${service.name}`,
      },
    ];
  });
}

export const copyRules = [members, lag, sharedHosts, persistence, minReplicas, electorate];
