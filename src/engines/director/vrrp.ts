import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { quote } from '../../hosts/shell.ts';
import { fitFile, fitHostFile } from './agent/fit.ts';

export interface Vrrp {
  cluster: string;
  service: string;
  /** This director's name and address. */
  host: string;
  address: string;
  /** The directors in the order of the file: the first has the highest priority. */
  hosts: string[];
  /** IPv4 and IPv6 addresses without a prefix. They move together. */
  vips: string[];
  /** The interface that carries the cluster's network on this host. */
  device: string;
  /** Between adverts, milliseconds: a multiple of 10, from 10 to 40950 (VRRP version 3 counts centiseconds in 12 bits). */
  advertMs: number;
  /** Whether a director of higher priority takes the VIPs back when it returns. */
  preempt: boolean;
  /** The other directors' addresses, for networks without multicast; undefined: multicast. These and `address` are IPv6 when every VIP is. */
  unicast?: string[];
  /** 1 to 255; the same on all directors, and no other's on this network. Default: `vridOf`. */
  vrid?: number;
  /** Absolute path of the agent's `fit` file: while it says 1, this host has no tables and must not own the VIPs. */
  fit?: string;
}

/** A virtual router id from 1 to 255 that cluster and service always have. Two clusters may meet in one: then one of them must name its own. */
export function vridOf(cluster: string, service: string): number {
  return (createHash('sha256').update(`${cluster}/${service}`).digest().readUInt32BE() % 255) + 1;
}

/** 250 for the first, 20 less for each other, closer together when there are many. */
export function priorityOf(host: string, hosts: string[]): number {
  const index = hosts.indexOf(host);
  if (index < 0) throw new Error(`${host} is not among the directors ${hosts.join(', ')}`);
  const step = Math.max(1, Math.min(20, Math.floor(240 / hosts.length)));
  return Math.max(1, 250 - index * step);
}

/** Seconds: longer than the usual check takes to find a server again. */
const preemptDelay = 3;

/** An advert carries the addresses; those above this number are moved without being told of. */
const advertised = 20;

/**
 * keepalived.conf for one director, of VRRP alone: one instance, so that all VIPs, of both families, move in one
 * transition. With an IPv4 VIP the instance speaks IPv4, whose adverts cannot name IPv6 addresses: those are `excluded`,
 * which keeps them out of the adverts and moves them all the same. Without one it speaks IPv6. Written for keepalived 2.2.7; see keepalived.conf(5).
 */
export function keepalivedConfig(vrrp: Vrrp): string {
  const { advertMs, device } = vrrp;
  if (advertMs < 10 || advertMs > 40_950 || advertMs % 10 !== 0)
    throw new Error(`advert of ${advertMs} ms: VRRP version 3 takes multiples of 10 ms, from 10 to 40950`);
  const v4 = vrrp.vips.filter((vip) => !isIPv6(vip));
  const v6 = vrrp.vips.filter((vip) => isIPv6(vip));
  const ordered = [...v4, ...v6];
  const told = (v4.length > 0 ? v4 : v6).slice(0, advertised);
  const untold = ordered.slice(told.length);
  const id = `${vrrp.cluster}_${vrrp.service}`.replace(/[^A-Za-z0-9_]/g, '_');
  const lines = [
    `# ${vrrp.cluster}/${vrrp.service} on ${vrrp.host}: written by phalanx`,
    'global_defs {',
    `  router_id ${vrrp.host}`,
    '  vrrp_version 3',
    // Busy cores must not look like a dead director: run before everything else, and never wait for a page.
    '  vrrp_priority -20',
    '  vrrp_rt_priority 50',
    '  vrrp_rlimit_rttime 1000000',
    '  max_auto_priority -1',
    '  vrrp_no_swap',
    // One announcement may be lost; three in a row and three more a second later are not.
    '  vrrp_garp_master_repeat 3',
    '  vrrp_garp_master_delay 1',
    '  vrrp_garp_master_refresh 30',
    // After a split heals, the owner announces itself again, and the loser provokes it to.
    '  vrrp_garp_lower_prio_repeat 3',
    '  vrrp_garp_lower_prio_delay 1',
    '  vrrp_higher_prio_send_advert true',
    '  vrrp_skip_check_adv_addr',
    ...(vrrp.unicast ? ['  vrrp_check_unicast_src'] : []),
    '}',
  ];
  if (vrrp.fit)
    lines.push(`track_file ${id}_fit {`, `  file "${vrrp.fit}"`, '  weight 0', '  init_file 1', '}');
  lines.push(
    `vrrp_instance ${id} {`,
    // Whoever starts listens first, also the first of the file: `nopreempt` needs it.
    '  state BACKUP',
    `  interface ${device}`,
    `  virtual_router_id ${vrrp.vrid ?? vridOf(vrrp.cluster, vrrp.service)}`,
    `  priority ${priorityOf(vrrp.host, vrrp.hosts)}`,
    `  advert_int ${advertMs / 1000}`,
  );
  // One that returns has been cut off from its servers and holds them for dead: it looks at them again before it takes over.
  lines.push(vrrp.preempt ? `  preempt_delay ${preemptDelay}` : '  nopreempt');
  if (vrrp.unicast) {
    lines.push(`  unicast_src_ip ${vrrp.address}`, '  unicast_peer {');
    for (const peer of vrrp.unicast) lines.push(`    ${peer}`);
    lines.push('  }');
  }
  if (vrrp.fit) lines.push('  track_file {', `    ${id}_fit`, '  }');
  lines.push(
    ...block('virtual_ipaddress', told, device),
    ...block('virtual_ipaddress_excluded', untold, device),
  );
  lines.push('}');
  return `${lines.join('\n')}\n`;
}

/** Whole addresses (/32, /128), so that a VIP never brings a route of its own. An IPv6 one skips the second of duplicate detection. */
function block(name: string, vips: string[], device: string): string[] {
  if (vips.length === 0) return [];
  return [
    `  ${name} {`,
    ...vips.map((vip) =>
      isIPv6(vip) ? `    ${vip}/128 dev ${device} -nodad` : `    ${vip}/32 dev ${device}`,
    ),
    '  }',
  ];
}

/**
 * Runs keepalived in the foreground, VRRP alone, logging to standard output, in its member's folder. A pid file that a killed one
 * left is removed first: in a pid namespace of its own the number in it is soon somebody's again, often its own, and
 * keepalived would refuse to start ("daemon is already running").
 */
export const keepalivedCommand =
  'rm -f keepalived.pid vrrp.pid; exec keepalived -n -l -D -G -P -f keepalived.conf -p keepalived.pid -r vrrp.pid';

/** Sh: the host as `hostNow` of agent/fit.ts has it. */
export const hostNowSh = `"$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) $(sed 's/.*) //' /proc/1/stat 2>/dev/null | cut -d ' ' -f 20) $(readlink /proc/self/ns/net)"`;

/**
 * Sh, before keepalived starts: what the agent whose folder it is said before the host's last boot holds no longer. Said here,
 * for after a boot keepalived may be there long before the agent, which may not start at all. While the host runs its word stands, with
 * or without an agent: packets go on.
 */
export const forgetFit = (folder: string): string =>
  `[ "$(cat ${quote(`${folder}/${fitHostFile}`)} 2>/dev/null)" = ${hostNowSh} ] || echo 1 2>/dev/null >${quote(`${folder}/${fitFile}`)}`;
