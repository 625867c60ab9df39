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
  const directors = Object.values(cluster.services).filter((one) => one.type === service.type);
  return {
    cluster: cluster.name,
    service: service.name,
    ...place(host),
    peers: service.hosts.filter((name) => name !== host).map(place),
    syncPort: syncPort + directors.findIndex((one) => one.name === service.name),
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
    if (
      config.listens.some((listen) => listen.forward === 'fullnat' && listen.plane === 'nftables') &&
      config.peers.length === 1
    )
      parts.push(
        member('conntrackd', conntrackdCommand, [
          {
            path: 'conntrackd.conf',
            content: conntrackdConfig(conntrackdOf(config, service, cluster, host)),
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

/** Port of conntrackd's own protocol (its manual's example), between the two directors. */
export const conntrackdPort = 3780;

function conntrackdOf(
  config: AgentConfig,
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
): Conntrackd {
  const translated = config.listens.filter((listen) => listen.forward === 'fullnat');
  const servers = translated.flatMap((listen) => [...listen.servers, ...listen.sorry]);
  const peer = service.hosts.find((name) => name !== host)!;
  return {
    address: cluster.hosts[host]!.address,
    peer: cluster.hosts[peer]!.address,
    port: conntrackdPort,
    device: deviceOf(cluster, host),
    servers: [
      ...new Set(servers.flatMap(({ address, address6 }) => (address6 ? [address, address6] : [address]))),
    ],
    folder: `${cluster.hosts[host]!.root}/members/${service.name}.conntrackd@${host}`,
  };
}
