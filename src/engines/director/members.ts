import { isIPv6 } from 'node:net';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Member, MemberFile } from '../engine.ts';
import { fitFile } from './agent/fit.ts';
import { type Conntrackd, conntrackdCommand, conntrackdConfig } from './conntrackd.ts';
import { type EngineOf, listensOf } from './listens.ts';
import { haproxyCommand, haproxyConfig } from './planes/haproxy.ts';
import type { DirectorSpec } from './schema.ts';
import type { AgentConfig, Listen } from './tables.ts';
import { forgetFit, keepalivedCommand, keepalivedConfig, type Vrrp } from './vrrp.ts';

export const agentName = (service: string, host: string): string => `${service}.agent@${host}`;

/** Folder of the agent on its host. */
export const agentFolder = (root: string, service: string, host: string): string =>
  `${root}/members/${agentName(service, host)}`;

/** Agents of one director find each other here; the number is out of the way of the engines' own ports. */
const syncPort = 7077;

/** The director's place among the cluster's, of which several may stand on one host. */
const indexOf = (service: Service<DirectorSpec>, cluster: Cluster): number =>
  Object.values(cluster.services)
    .filter((one) => one.type === service.type)
    .findIndex((one) => one.name === service.name);

/** What the agent on `host` is told; `listens` are the same for all of them. Pure. */
function agentConfig(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  listens: Listen[],
): AgentConfig {
  const place = (name: string) => {
    const { address, address6 } = cluster.hosts[name]!;
    return { host: name, address, ...(address6 ? { address6 } : {}) };
  };
  return {
    cluster: cluster.name,
    service: service.name,
    ...place(host),
    peers: service.hosts.filter((name) => name !== host).map(place),
    syncPort: syncPort + indexOf(service, cluster),
    vips: service.spec.vip,
    listens,
  };
}

/** Per director host: keepalived for the VIP, the agent, haproxy and conntrackd where a virtual service needs them. */
export function directorMembers(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  engineOf: EngineOf,
): Member[] {
  const listens = listensOf(service, cluster, engineOf);
  return service.hosts.flatMap((host): Member[] => {
    const config = agentConfig(service, cluster, host, listens);
    const member = (
      part: string,
      command: string,
      files: MemberFile[],
      extra: Partial<Member> = {},
    ): Member => ({
      name: `${service.name}.${part}@${host}`,
      service: service.name,
      part,
      host,
      kind: part,
      command,
      env: {},
      files,
      limits: {},
      ports: [],
      stop: { signal: 'TERM', timeoutMs: 5_000 },
      data: [],
      user: 'root',
      ...extra,
    });
    const node = cluster.hosts[host]!.kind === 'lab' ? process.execPath : 'node';
    const parts = [
      member('agent', `${node} --max-old-space-size=64 agent.mjs .`, [
        { path: 'agent.mjs', content: cluster.programs?.['agent'] ?? '', mode: 0o644, onChange: 'restart' },
        // Tables are to live on when the agent ends: only when it leaves its host they go.
        {
          path: 'retire',
          content: `#!/bin/sh\nexec ${node} agent.mjs . --clear\n`,
          mode: 0o755,
          onChange: 'nothing',
        },
        { path: 'agent.json', content: `${JSON.stringify(config, null, 1)}\n`, mode: 0o644, onChange: 'hup' },
        {
          path: 'sync.secret',
          content: cluster.secrets[`${service.name}/sync`] ?? '',
          mode: 0o600,
          onChange: 'restart',
          secret: true,
        },
      ]),
      member(
        'vrrp',
        `${forgetFit(agentFolder(cluster.hosts[host]!.root, service.name, host))}; ${keepalivedCommand}`,
        [
          {
            path: 'keepalived.conf',
            content: keepalivedConfig(vrrpOf(service, cluster, host)),
            mode: 0o644,
            onChange: 'hup',
          },
        ],
      ),
    ];
    if (config.listens.some((listen) => listen.plane === 'haproxy'))
      parts.push(
        member(
          'haproxy',
          haproxyCommand,
          [{ path: 'haproxy.cfg', content: haproxyConfig(config), mode: 0o644, onChange: 'restart' }],
          {
            ports: config.listens
              .filter((listen) => listen.plane === 'haproxy')
              .map((listen) => ({ proto: 'tcp', port: listen.ports[0] })),
          },
        ),
      );
    const sync = conntrackdOf(service, cluster, host);
    if (sync)
      parts.push(
        member('conntrackd', conntrackdCommand, [
          {
            path: 'conntrackd.conf',
            content: conntrackdConfig(sync),
            mode: 0o644,
            onChange: 'restart',
          },
        ]),
      );
    return parts;
  });
}

/** The interface of the cluster's network on the host. */
export const deviceOf = (cluster: Cluster, host: string): string => cluster.hosts[host]!.device ?? 'eth0';

function vrrpOf(service: Service<DirectorSpec>, cluster: Cluster, host: string): Vrrp {
  const { spec } = service;
  // keepalived speaks the family of the VIPs that its adverts name.
  const six = spec.vip.every((vip) => isIPv6(vip));
  const addressOf = (name: string): string => {
    const { address, address6 } = cluster.hosts[name]!;
    return six ? (address6 ?? address) : address;
  };
  const peers = service.hosts.filter((name) => name !== host).map(addressOf);
  return {
    cluster: cluster.name,
    service: service.name,
    host,
    hosts: service.hosts,
    vips: spec.vip,
    address: addressOf(host),
    device: deviceOf(cluster, host),
    advertMs: spec.advert,
    preempt: spec.preempt,
    ...(spec.unicast ? { unicast: peers } : {}),
    fit: `${agentFolder(cluster.hosts[host]!.root, service.name, host)}/${fitFile}`,
  };
}

/** Port of conntrackd's own protocol (its manual's example), between the two directors: the first one's; each other has the next. */
const firstConntrackdPort = 3780;

export const conntrackdPort = (service: Service<DirectorSpec>, cluster: Cluster): number =>
  firstConntrackdPort + indexOf(service, cluster);

/** Addresses of the hosts that a director forwards to by fullnat. */
function translated({ spec }: Service<DirectorSpec>, cluster: Cluster): string[] {
  const hosts = spec.listen
    .filter(({ forward, plane }) => forward === 'fullnat' && plane !== 'haproxy')
    .flatMap(({ to, sorry }) => [to, ...(sorry ? [sorry] : [])])
    .flatMap((name) => cluster.services[name]!.hosts);
  const addresses = hosts.flatMap((name) => {
    const { address, address6 } = cluster.hosts[name]!;
    return address6 ? [address, address6] : [address];
  });
  return [...new Set(addresses)];
}

/**
 * The real servers whose flows the director's own conntrackd tells of. Several directors may stand on one pair of hosts, and a conntrackd
 * sees what another one there put into the kernel as news, which it would tell back: so flows to one server are told of by one of them, that
 * of the first director in the file, whichever VIP they came by. conntrackd's reliable mode joins two.
 */
export function toldOf(service: Service<DirectorSpec>, cluster: Cluster): string[] {
  if (service.hosts.length !== 2) return [];
  const directors = Object.values(cluster.services).filter((one) => one.type === service.type);
  const before = directors
    .slice(0, indexOf(service, cluster))
    .filter(({ hosts }) => hosts.length === 2 && hosts.every((host) => service.hosts.includes(host)));
  const told = new Set(before.flatMap((one) => translated(one as Service<DirectorSpec>, cluster)));
  return translated(service, cluster).filter((address) => !told.has(address));
}

/** What conntrackd is told on `host`; undefined where it has nothing to tell. */
function conntrackdOf(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
): Conntrackd | undefined {
  const servers = toldOf(service, cluster);
  if (servers.length === 0) return undefined;
  const peer = service.hosts.find((name) => name !== host)!;
  return {
    address: cluster.hosts[host]!.address,
    peer: cluster.hosts[peer]!.address,
    port: conntrackdPort(service, cluster),
    device: deviceOf(cluster, host),
    servers,
    folder: `${cluster.hosts[host]!.root}/members/${service.name}.conntrackd@${host}`,
  };
}
