import { type Engine, hostsOf, type Member } from '../engines/engine.ts';
import type { Cluster, HostEntry, Service } from '../file/cluster.ts';
import type { Way } from '../hosts/ssh/hearing.ts';
import type { Preflight, Questions } from '../hosts/ssh/preflight.ts';
import { unitName } from '../hosts/supervise/systemd.ts';
import type { Engines, Observed } from './observe.ts';
import { wantedPackages } from './observe.ts';
import { wantedMembers } from './plan.ts';

/** Less than this and a machine is no place for a server: bytes. */
const leastDisk = 2 ** 30;
const leastMemory = 256 * 2 ** 20;
/** How far a machine's clock may be from ours, in seconds: Kafka's and TLS's own limits are far above it, people's patience with logs below. */
const clockSlack = 2;

/** What each machine is asked, from what the plan will need of it. Pure. */
export function questions(cluster: Cluster, engines: Engines, token: string): Record<string, Questions> {
  const members = wantedMembers(cluster, engines);
  const real = Object.values(cluster.hosts).filter((host) => host.kind === 'ssh');
  return Object.fromEntries(
    real.map((host) => {
      const asked = {
        ...questionsFor(host, cluster, engines, members),
        hearings: [] as Questions['hearings'],
      };
      for (const { name, ways, hosts } of conversations(cluster, engines)) {
        if (!hosts.includes(host)) continue;
        const peers = hosts.filter((other) => other !== host).map(({ address }) => address);
        asked.hearings.push({ service: name, own: host.address, peers, ways, token: `${token}.${name}` });
      }
      return [host.name, asked];
    }),
  );
}

/** Services whose hosts speak to each other beside TCP, as far as they are real machines. */
function conversations(
  cluster: Cluster,
  engines: Engines,
): { name: string; ways: Way[]; hosts: HostEntry[] }[] {
  return Object.values(cluster.services).flatMap((service) => {
    const ways = engines[service.type]!.speaks?.(service, cluster) ?? [];
    const hosts = hostsOf(service, engines)
      .map((name) => cluster.hosts[name]!)
      .filter(({ kind }) => kind === 'ssh');
    return ways.length === 0 || hosts.length < 2 ? [] : [{ name: service.name, ways, hosts }];
  });
}

function questionsFor(
  host: HostEntry,
  cluster: Cluster,
  engines: Engines,
  members: Member[],
): Omit<Questions, 'hearings'> {
  const services = Object.values(cluster.services).filter((service) =>
    hostsOf(service, engines).includes(host.name),
  );
  const related = new Set(services.flatMap((service) => talksTo(service, engines)));
  const ports = members
    .filter((member) => related.has(member.service) && member.host !== host.name)
    .flatMap(({ host: other, ports: all }) =>
      all
        .filter(({ proto }) => proto === 'tcp')
        .map(({ port }) => `${cluster.hosts[other]!.address}:${port}`),
    );
  return {
    reach: [...new Set(ports)],
    modules: [...new Set(services.flatMap((service) => engines[service.type]!.kernel?.(service) ?? []))],
    packages: wantedPackages(cluster, engines, ({ name }) => name === host.name),
    vips: services.flatMap(vipsOf),
    allVips: Object.values(cluster.services).flatMap(vipsOf),
    root: host.root,
    units: members.filter((member) => member.host === host.name).map((member) => unitName(member, host.root)),
    ...(host.device === undefined ? {} : { device: host.device }),
  };
}

/** Services that this one's members connect to: also their own, where the engine makes one thing of them. */
const talksTo = (service: Service, engines: Engines): string[] => {
  const engine = engines[service.type] as Engine;
  return [
    ...(engine.perform === undefined ? [] : [service.name]),
    ...service.uses,
    ...(engine.follows?.(service) ?? []),
  ];
};

const vipsOf = (service: Service): string[] => {
  const vip = (service.spec as { vip?: unknown }).vip;
  return service.type === 'director' && Array.isArray(vip) ? (vip as string[]) : [];
};

/** A machine's answer, and when it was asked and had answered by our clock (seconds since 1970). */
export interface Answered extends Preflight {
  sent: number;
  received: number;
}

/** Everything that is wrong, a sentence each; empty when the plan may be carried out. Pure. */
export function judge(
  cluster: Cluster,
  engines: Engines,
  observed: Observed,
  answers: Record<string, Answered>,
): string[] {
  const members = wantedMembers(cluster, engines);
  const each = Object.entries(answers).flatMap(([name, answer]) => [
    ...clock(name, answer),
    ...room(name, answer, members),
    ...ports(name, answer, members, observed),
    ...answer.lacking.map((module) => `${name}: its kernel has no module ${module}`),
    ...answer.foreign.map(
      (unit) =>
        `${name}: the unit ${unit} is there and is not this cluster's: rename the cluster or the service`,
    ),
    ...Object.entries(answer.versions)
      .filter(([, version]) => version === '')
      .map(([pack]) => `${name}: apt knows no package ${pack}`),
    ...reachability(name, answer, cluster),
  ]);
  return [
    ...each,
    ...deaf(cluster, engines, answers),
    ...twice(answers),
    ...mixed(cluster, engines, answers),
    ...taken(cluster, answers),
  ];
}

function clock(name: string, { clock: at, sent, received }: Answered): string[] {
  const off = at < sent ? at - sent : Math.max(0, at - received);
  if (Math.abs(off) <= clockSlack) return [];
  return [
    `${name}: its clock is ${Math.abs(off).toFixed(0)} s ${off < 0 ? 'behind' : 'ahead of'} this machine's: let chrony or systemd-timesyncd set it`,
  ];
}

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;

function room(name: string, answer: Answered, members: Member[]): string[] {
  const wanted = members
    .filter(({ host }) => host === name)
    .reduce((sum, { limits }) => sum + (limits.memory ?? 0), 0);
  return [
    ...(answer.disk < leastDisk
      ? [
          `${name}: ${mebibytes(answer.disk)} free for /var/lib/phalanx; ${mebibytes(leastDisk)} are the least`,
        ]
      : []),
    ...(answer.memoryFree < leastMemory
      ? [
          `${name}: ${mebibytes(answer.memoryFree)} of memory are free; ${mebibytes(leastMemory)} are the least`,
        ]
      : []),
    ...(wanted > answer.memory
      ? [
          `${name}: its members may take ${mebibytes(wanted)} of memory together, and it has ${mebibytes(answer.memory)}`,
        ]
      : []),
  ];
}

/** A port that a member which does not run yet wants, and somebody listens on. */
function ports(name: string, answer: Answered, members: Member[], observed: Observed): string[] {
  return members
    .filter((member) => member.host === name && !observed.members.get(member.name)?.running)
    .flatMap((member) =>
      member.ports
        .filter(({ proto, port }) => proto === 'tcp' && answer.listening.includes(port))
        .map(
          ({ port }) =>
            `${name}: port ${port}, which ${member.name} needs, is taken: see ss -ltnp 'sport = ${port}' there`,
        ),
    );
}

function reachability(name: string, answer: Answered, cluster: Cluster): string[] {
  const hostAt = new Map(Object.values(cluster.hosts).map((host) => [host.address, host.name]));
  const dark = Object.entries(answer.reached).filter(([, is]) => is !== 'open' && is !== 'refused');
  const byHost = Map.groupBy(dark, ([to]) => to.slice(0, to.lastIndexOf(':')));
  return [...byHost].map(([address, all]) => {
    const list = all.map(([to]) => to.slice(to.lastIndexOf(':') + 1)).join(', ');
    return `${name} does not reach ${hostAt.get(address) ?? address} (${address}) on port ${list}: ${all[0]![1]}; a firewall or a route is in the way`;
  });
}

/** Two that both spoke in a way, and one did not hear the other. */
function deaf(cluster: Cluster, engines: Engines, answers: Record<string, Answered>): string[] {
  return conversations(cluster, engines).flatMap(({ name: service, ways, hosts }) =>
    ways.flatMap(({ name: way, matters }) => {
      const heard = (host: string): string[] | undefined => answers[host]?.heard[`${service} ${way}`];
      const spoke = hosts.filter(({ name }) => heard(name) !== undefined);
      return spoke.flatMap(({ name }) =>
        spoke
          .filter((other) => other.name !== name && !heard(name)!.includes(other.address))
          .map(
            (other) =>
              `${name} does not hear ${other.name} by ${way}: let both firewalls pass it, or ${matters}`,
          ),
      );
    }),
  );
}

function twice(answers: Record<string, Answered>): string[] {
  const machines = Map.groupBy(Object.entries(answers), ([, { identity }]) => identity);
  return [...machines.values()]
    .filter((same) => same.length > 1)
    .map((same) => `${same.map(([name]) => name).join(' and ')} are the same machine`);
}

/** Members of one service speak to each other: their engine's version must not differ in more than its last part. */
function mixed(cluster: Cluster, engines: Engines, answers: Record<string, Answered>): string[] {
  return Object.values(cluster.services).flatMap((service) =>
    engines[service.type]!.packages(service, cluster).flatMap((pack) => {
      const versions = hostsOf(service, engines).flatMap((host) => {
        const version = answers[host]?.versions[pack];
        return version ? [{ host, version, series: seriesOf(version) }] : [];
      });
      if (new Set(versions.map(({ series }) => series)).size < 2) return [];
      const list = versions.map(({ host, version }) => `${version} on ${host}`).join(', ');
      return [`${service.name}: ${pack} would be ${list}: machines of one service need the same`];
    }),
  );
}

/** `5:7.0.15-1~deb12u6` -> `7.0` */
const seriesOf = (version: string): string =>
  version.replace(/^\d+:/, '').replace(/-.*/, '').split('.').slice(0, 2).join('.');

/** A VIP that something has, or answers for, which is none of its directors. */
function taken(cluster: Cluster, answers: Record<string, Answered>): string[] {
  const ownerOf = new Map(
    Object.entries(answers).flatMap(([name, { macs }]) => macs.map((mac) => [mac, name])),
  );
  return Object.values(cluster.services).flatMap((service) =>
    vipsOf(service).flatMap((vip) => {
      const found = new Map<string, string>();
      for (const [name, { holds }] of Object.entries(answers))
        if (holds.includes(vip)) found.set(name, 'has it on an interface');
      for (const [name, { answered }] of Object.entries(answers)) {
        const mac = answered[vip];
        const owner = mac === undefined ? undefined : (ownerOf.get(mac) ?? mac);
        if (owner !== undefined && !found.has(owner)) found.set(owner, `answers for it (asked from ${name})`);
      }
      return [...found]
        .filter(([owner]) => !service.hosts.includes(owner))
        .map(([owner, how]) => `VIP ${vip} of ${service.name} is in use already: ${owner} ${how}`);
    }),
  );
}
