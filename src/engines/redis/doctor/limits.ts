import type { Nearness } from '../../engine.ts';
import type { LiveMember } from '../live.ts';
import { type Facts, number } from './facts.ts';
import type { Found } from './finding.ts';
import { bytes, count, percent, twice } from './numbers.ts';

/** From here on a limit is near. */
const near = 0.8;

const ups = ({ live }: Facts): LiveMember[] => live.members.filter((one) => one.up);

/** How near each member is to each of its limits. */
export function nearness(facts: Facts): Nearness[] {
  return ups(facts).flatMap((one): Nearness[] => {
    const { info, config, host, name: member } = one;
    const machine = facts.hosts[host];
    const limit = number(info, 'maxmemory');
    const row = (name: string, used: number, of: number, unit: Nearness['unit'] = 'bytes'): Nearness[] =>
      of > 0 ? [{ member, limit: name, used, of, unit }] : [];
    const [, hard] = /slave (\d+)/.exec(config?.['client-output-buffer-limit'] ?? '') ?? [];
    return [
      ...row('clients', number(info, 'connected_clients'), number(config, 'maxclients'), 'count'),
      ...row('memory', number(info, 'used_memory'), limit > 0 ? limit : (machine?.memory ?? 0)),
      ...row('replica buffers', number(info, 'mem_clients_slaves'), Number(hard ?? 0)),
      ...row('disk', machine?.disk.used ?? 0, machine ? machine.disk.used + machine.disk.free : 0),
    ];
  });
}

export function clients(facts: Facts): Found[] {
  const { service, live, later } = facts;
  return ups(facts).flatMap(({ name, info, config }): Found[] => {
    const used = number(info, 'connected_clients');
    const limit = number(config, 'maxclients');
    const refused = number(later[name] ?? info, 'rejected_connections');
    const key = ['services', service.name, 'maxclients'];
    const wanted = Math.max(limit, service.spec.maxclients) * 2;
    const mend = `maxclients: ${wanted}, once it is known that no client forgets to close its connections (CLIENT LIST, idle=)`;
    if (limit > 0 && limit < service.spec.maxclients && live.members.length > 0)
      return [
        {
          rule: 'maxclients-lowered',
          risk: 'service',
          where: name,
          what: `accepts ${count(limit)} clients; the file says ${count(service.spec.maxclients)}`,
          why: 'Redis lowers it at its start when the system lets it open fewer files.',
          mend: `phalanx up, and if it stays so: the host's hard limit of open files (ulimit -Hn) must be above ${count(service.spec.maxclients + 128)}`,
          key,
        },
      ];
    if (limit > 0 && used >= near * limit)
      return [
        {
          rule: 'clients-near-limit',
          risk: 'service',
          where: name,
          what: `${count(used)} of ${count(limit)} clients (${percent(used, limit)})`,
          why: 'At the limit every new connection is refused, those of a failover or a restarted app too.',
          mend,
          key,
        },
      ];
    if (refused === 0) return [];
    return [
      {
        rule: 'clients-refused',
        risk: 'service',
        where: name,
        what: `refused ${count(refused)} connections since it was started, at its limit of ${count(limit)} clients`,
        why: 'These clients got an error instead of an answer.',
        mend,
        key,
      },
    ];
  });
}

export function memory(facts: Facts): Found[] {
  const { service, hosts } = facts;
  const key = ['services', service.name, 'maxmemory'];
  const own = ups(facts).flatMap((one): Found[] => {
    const { name, info } = one;
    const limit = number(info, 'maxmemory');
    const used = number(info, 'used_memory');
    const oom = refusals(info, 'OOM');
    const found: Found[] = [];
    const keeps = keepsAll(one);
    if (oom > 0)
      found.push({
        rule: 'writes-refused-memory',
        risk: 'service',
        where: name,
        what: `refused ${count(oom)} commands since it was started, because it was out of memory (${bytes(used)} of ${bytes(limit)} now)`,
        why: `With ${info?.['maxmemory_policy']} nothing${keeps === 'volatile' ? ' without a time to live' : ''} goes to make room: writes fail instead.`,
        mend: `maxmemory: ${twice(limit)}, or if this is a cache: eviction: allkeys-lru`,
        key,
      });
    else if (limit > 0 && keeps !== undefined && used >= near * limit)
      found.push({
        rule: 'memory-near-limit',
        risk: 'service',
        where: name,
        what: `${bytes(used)} of ${bytes(limit)} (${percent(used, limit)}), and ${keeps === 'volatile' ? `${info?.['maxmemory_policy']} finds nearly no key with a time to live` : 'noeviction'}`,
        why: 'At the limit every write is refused.',
        mend: `maxmemory: ${twice(limit)}, or if this is a cache: eviction: allkeys-lru`,
        key,
      });
    return [...found, ...fragmentation(facts, one)];
  });
  const full = Object.entries(hosts).flatMap(([host, machine]): Found[] => {
    const members = ups(facts).filter((one) => one.host === host);
    // What they may come to take: their limit, or without one what they have.
    const sum = members.reduce(
      (all, one) => all + Math.max(number(one.info, 'maxmemory'), number(one.info, 'used_memory_rss')),
      0,
    );
    if (machine.memory === 0 || sum < near * machine.memory) return [];
    return [
      {
        rule: 'host-memory',
        risk: 'service',
        where: host,
        what: `its members may take ${bytes(sum)} of the host's ${bytes(machine.memory)}`,
        why: 'What is left must do for the system, for output buffers and for the copies that a fork makes; when it does not, the kernel kills Redis.',
        mend: `maxmemory: ${Math.floor((0.6 * machine.memory) / Math.max(1, members.length) / 2 ** 20)}mb, or fewer members on ${host}`,
        key,
      },
    ];
  });
  return [...own, ...full];
}

/** 'all': nothing is ever evicted. 'volatile': what may be is next to nothing. */
export function keepsAll({ info, keys }: LiveMember): 'all' | 'volatile' | undefined {
  const policy = info?.['maxmemory_policy'] ?? '';
  if (policy === 'noeviction') return 'all';
  if (!policy.startsWith('volatile')) return undefined;
  return (keys ?? 0) > 100 && expiring(info) < (keys ?? 0) / 100 ? 'volatile' : undefined;
}

/** Keys with a time to live (INFO keyspace). */
export const expiring = (info: Record<string, string> | undefined): number =>
  Object.entries(info ?? {})
    .filter(([name]) => /^db\d+$/.test(name))
    .reduce((sum, [, value]) => sum + Number(/expires=(\d+)/.exec(value)?.[1] ?? 0), 0);

/** How often Redis has answered with this error since it was started (INFO errorstats). */
const refusals = (info: Record<string, string> | undefined, error: string): number =>
  Number(/count=(\d+)/.exec(info?.[`errorstat_${error}`] ?? '')?.[1] ?? 0);

/** Below this much there is nothing to win. */
const worthIt = 128 * 2 ** 20;

function fragmentation({ service, processes }: Facts, { name, info }: LiveMember): Found[] {
  const found: Found[] = [];
  const wasted = number(info, 'mem_fragmentation_bytes');
  const ratio = number(info, 'mem_fragmentation_ratio');
  if (wasted >= worthIt && ratio >= 1.5)
    found.push({
      rule: 'fragmentation',
      risk: 'speed',
      where: name,
      what: `takes ${bytes(number(info, 'used_memory_rss'))} of the host's memory for ${bytes(number(info, 'used_memory'))} of its own (${ratio.toFixed(1)} times as much)`,
      why: 'Freed memory lies between what is in use: the host runs full although Redis is not.',
      mend: `MEMORY PURGE gives back what it can at once; a new copy is whole: phalanx switchover ${service.name}, then restart ${name}`,
    });
  const swapped = processes[name]?.swapped ?? 0;
  if (swapped >= 16 * 2 ** 20)
    found.push({
      rule: 'swapped',
      risk: 'speed',
      where: name,
      what: `${bytes(swapped)} of it are swapped out`,
      why: 'A key that lies on the disk takes a thousand times as long, and everybody waits.',
      mend: 'give the host more memory, or this member less: maxmemory',
      key: ['services', service.name, 'maxmemory'],
    });
  return found;
}

/** Room that a rewrite of the log or a snapshot needs beside what is there. */
export function disk(facts: Facts): Found[] {
  const { service, hosts } = facts;
  if (service.spec.persistence === 'none') return [];
  return Object.entries(hosts).flatMap(([host, { disk: room }]): Found[] => {
    const members = ups(facts).filter((one) => one.host === host);
    const needed = members.reduce(
      (sum, { info }) => sum + number(info, 'used_memory_dataset') + number(info, 'aof_current_size'),
      0,
    );
    if (members.length === 0 || room.used === 0 || (room.free >= needed && room.free >= 64 * 2 ** 20))
      return [];
    return [
      {
        rule: 'disk-nearly-full',
        risk: 'data',
        where: host,
        what: `${bytes(room.free)} of the disk are free; writing its data anew takes up to ${bytes(needed)}`,
        why: 'When a snapshot or the log cannot be written, Redis refuses writes, and what it has acknowledged may not be on the disk.',
        mend: `make room on ${host}`,
      },
    ];
  });
}

export const limitRules = [clients, memory, disk];
