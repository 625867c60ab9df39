import { isIPv6 } from 'node:net';
import type { Cluster, Service } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import type { HostSetting } from '../engine.ts';
import { type EngineOf, listensOf } from './listens.ts';
import { deviceOf } from './members.ts';
import type { DirectorSpec } from './schema.ts';
import type { Listen, RealServer } from './tables.ts';

/**
 * What director hosts and real servers must have set for a forwarding method, as LVS's own documents say it
 * (LVS-HOWTO, "LVS-NAT" and "The ARP problem"): real servers of `nat` send replies back through the director, those of
 * `dr` hold the VIP without answering ARP for it.
 */
export function directorSettings(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  engineOf: EngineOf,
): HostSetting[] {
  const listens = listensOf(service, cluster, engineOf).filter((listen) => listen.plane !== 'haproxy');
  const behind = (forward: Listen['forward']): Map<string, { server: RealServer; listen: Listen }[]> => {
    const found = new Map<string, { server: RealServer; listen: Listen }[]>();
    for (const listen of listens.filter((one) => one.forward === forward))
      for (const server of [...listen.servers, ...listen.sorry])
        found.set(server.host, [...(found.get(server.host) ?? []), { server, listen }]);
    return found;
  };
  const index = Object.keys(cluster.services).indexOf(service.name);
  const settings: HostSetting[] = service.hosts.flatMap((host) =>
    directorSysctls(host, service, listens, deviceOf(cluster, host)),
  );
  for (const host of new Set([...behind('dr').keys(), ...behind('tun').keys()]))
    for (const vip of service.spec.vip) settings.push(vipOnLoopback(host, service.name, cluster, vip));
  for (const [host] of behind('tun'))
    for (const family of families(service.spec.vip)) settings.push(tunnelEnd(host, service.name, family));
  for (const [host, served] of behind('nat')) {
    const ports = new Map(
      served.map(({ server, listen }) => {
        const range = server.port === undefined ? listen.ports.join('-') : String(server.port);
        return [`${listen.proto} ${range}`, { proto: listen.proto, ports: range }] as const;
      }),
    );
    for (const way of waysBack(host, service, cluster, 7700 + index)) {
      settings.push(wayThroughVip(way));
      for (const { proto, ports: range } of ports.values())
        settings.push(repliesThroughVip(way, proto, range));
    }
  }
  return settings;
}

/** A name with slashes is taken as it is: interfaces may have a dot (sysctl(8)). */
const pathOf = (key: string): string =>
  quote(`/proc/sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`);

const sysctl = (key: string, value: string): { check: string; apply: string } => ({
  check: `[ "$(cat ${pathOf(key)} 2>/dev/null)" = ${value} ]`,
  apply: `echo ${value} > ${pathOf(key)}`,
});

function sysctls(host: string, service: string, title: string, wanted: [string, string][]): HostSetting {
  const each = wanted.map(([key, value]) => sysctl(key, value));
  const savedAs = (key: string): string => `/run/phalanx-sysctl-${service}-${key.replaceAll('/', '.')}`;
  // What was set before is kept where a reboot, which resets it all, forgets it too.
  const save = wanted
    .map(([key]) => `[ -e '${savedAs(key)}' ] || cat ${pathOf(key)} > '${savedAs(key)}'`)
    .join('\n');
  const undo = wanted
    .map(
      ([key]) =>
        `[ -e '${savedAs(key)}' ] && cat '${savedAs(key)}' > ${pathOf(key)} && rm -f '${savedAs(key)}'`,
    )
    .join('\n');
  return {
    host,
    service,
    title,
    check: each.map((one) => one.check).join(' && '),
    apply: `${save}\n${each.map((one) => one.apply).join(' && ')}`,
    undo: `${undo}\ntrue`,
  };
}

/**
 * Directors forward, and never tell a client to go round them (ICMP redirects). `all` and the interface's own both have to say so; `default` is left
 * alone: interfaces that come after it was changed keep what it said then, whatever is set back.
 */
function directorSysctls(
  host: string,
  { name, spec }: Service<DirectorSpec>,
  listens: Listen[],
  device: string,
): HostSetting[] {
  const settings = [
    sysctls(host, name, 'forwarding on, ICMP redirects off', [
      ['net.ipv4.ip_forward', '1'],
      ['net.ipv4.conf.all.send_redirects', '0'],
      [`net/ipv4/conf/${device}/send_redirects`, '0'],
    ]),
  ];
  // What plane nftables does by nat passes the kernel's own forwarding by.
  const forwarded = ({ forward, plane }: Listen) =>
    forward === 'fullnat' || (forward === 'nat' && plane !== 'nftables');
  if (families(spec.vip).includes(6) && listens.some(forwarded)) settings.push(forwardingSix(host, name));
  // A connection taken over from the other director begins in the middle of its window.
  if (listens.some((listen) => listen.forward === 'fullnat'))
    settings.push(
      sysctls(host, name, 'connection tracking accepts connections taken over', [
        ['net.netfilter.nf_conntrack_tcp_be_liberal', '1'],
      ]),
    );
  return settings;
}

/**
 * IPv6 has one switch for a whole host, and one that forwards forgets the routers that it knows by their advertisements and hears no more
 * of them, on any interface, unless `accept_ra` is 2 (ip-sysctl.rst). So that is said first, where it was 1: a director must not lose its own way out.
 */
function forwardingSix(host: string, service: string): HostSetting {
  const [key, conf] = ['net.ipv6.conf.all.forwarding', '/proc/sys/net/ipv6/conf'];
  const forwarding = sysctls(host, service, 'IPv6 forwarding on', [[key, '1']]);
  const heard = `/run/phalanx-sysctl-${service}-accept_ra`;
  return {
    ...forwarding,
    // A host that forwarded before has done without them.
    apply: `if [ "$(cat ${conf}/all/forwarding)" = 0 ]; then
  for ra in ${conf}/*/accept_ra; do
    case $ra in */conf/all/* | */conf/default/*) continue ;; esac
    if [ "$(cat "$ra")" = 1 ]; then echo "$ra" >> '${heard}' && echo 2 > "$ra"; fi
  done
fi
${forwarding.apply}`,
    undo: `${forwarding.undo}
if [ -e '${heard}' ]; then
  while read -r ra; do [ "$(cat "$ra" 2>/dev/null)" != 2 ] || echo 1 > "$ra"; done < '${heard}'
  rm -f '${heard}'
fi
true`,
  };
}

/**
 * The VIP on lo: the real server takes packets for it, and stays silent when somebody asks who has it. All VIPs of a host have that silence in common:
 * it ends with the last of them that is remembered there.
 */
function vipOnLoopback(host: string, service: string, cluster: Cluster, vip: string): HostSetting {
  const prefix = isIPv6(vip) ? `${vip}/128` : `${vip}/32`;
  const flags = isIPv6(vip) ? ' nodad' : '';
  const hidden: [string, string][] = [
    ['net.ipv4.conf.all.arp_ignore', '1'],
    ['net.ipv4.conf.all.arp_announce', '2'],
  ];
  const quiet = sysctls(host, `${cluster.name}-vips`, '', isIPv6(vip) ? [] : hidden);
  const remembered = `${quote(`${cluster.hosts[host]!.root}/settings`)}/*`;
  const others = `[ "$(grep -ls '^VIP [0-9.]* on lo,' ${remembered} | wc -l)" -gt 1 ]`;
  return {
    host,
    service,
    title: `VIP ${vip} on lo, not answered for`,
    check: [`ip -o addr show dev lo to ${prefix} | grep -q .`, ...(quiet.check ? [quiet.check] : [])].join(
      ' && ',
    ),
    // Silence first: the address must never be answered for, not even for a moment.
    apply: `${quiet.apply}\nip -o addr show dev lo to ${prefix} | grep -q . || ip addr add ${prefix} dev lo${flags}`,
    undo: `ip addr del ${prefix} dev lo 2>/dev/null\n${isIPv6(vip) ? 'true' : `${others} || {\n${quiet.undo}\n}`}`,
  };
}

const families = (vips: string[]): (4 | 6)[] =>
  ([4, 6] as const).filter((family) => vips.some((vip) => isIPv6(vip) === (family === 6)));

/**
 * The kernel's own tunnel device takes the packets that a director wrapped (LVS-HOWTO, "LVS-Tun"). They come from clients by
 * way of a device that leads to none of them, so their sources must not be verified there (rp_filter).
 */
function tunnelEnd(host: string, service: string, family: 4 | 6): HostSetting {
  const [module, device, what] =
    family === 4 ? ['ipip', 'tunl0', 'IPIP'] : ['ip6_tunnel', 'ip6tnl0', 'IPv6 in IPv6'];
  const conf = '/proc/sys/net/ipv4/conf';
  const all = `/run/phalanx-sysctl-${service}-net.ipv4.conf.all.rp_filter`;
  const up = `ip -o link show dev ${device} 2>/dev/null | grep -q '[<,]UP[,>]'`;
  if (family === 6)
    return {
      host,
      service,
      title: `${what} tunnels end here`,
      check: up,
      apply: `modprobe -q ${module}; ip link set ${device} up`,
      undo: `ip link set ${device} down 2>/dev/null\ntrue`,
    };
  return {
    host,
    service,
    title: `${what} tunnels end here`,
    check: `${up} && [ "$(cat ${conf}/all/rp_filter)" != 1 ] && [ "$(cat ${conf}/${device}/rp_filter)" = 0 ]`,
    // The stricter of `all` and the device's own holds; 2 is loose: any way back will do.
    apply: `modprobe -q ${module}
ip link set ${device} up || { echo 'this kernel has no IPIP tunnels (module ${module}): use forward nat or dr' >&2; exit 1; }
if [ "$(cat ${conf}/all/rp_filter)" = 1 ]; then echo 1 > ${all} && echo 2 > ${conf}/all/rp_filter; fi
echo 0 > ${conf}/${device}/rp_filter`,
    undo: `ip link set ${device} down 2>/dev/null
[ -e ${all} ] && cat ${all} > ${conf}/all/rp_filter && rm -f ${all}
true`,
  };
}

/**
 * Where replies come from, as a routing rule has it. A UDP server that is bound to every address has none yet when the way of its answer
 * is looked up: to IPv4 that is 0.0.0.0, and an IPv6 rule that names any source does not hold (fib6_rule_match).
 */
function sourcesOf(family: 4 | 6, proto: string, address: string): string[] {
  if (family === 6) return [proto === 'udp' ? 'all' : `${address}/128`];
  return proto === 'udp' ? [`${address}/32`, '0.0.0.0/32'] : [`${address}/32`];
}

/** Where this host's answers to the directors, and of its own, come from and go to, in one family. */
interface WayBack {
  family: 4 | 6;
  host: string;
  service: Service<DirectorSpec>;
  vip: string;
  /** The host's own. */
  address: string;
  /** Addresses of the directors. */
  directors: string[];
  /** Number of the routing table whose only route is by way of the VIP. */
  table: number;
}

/** Families in which the service has a VIP and the host an address. */
function waysBack(host: string, service: Service<DirectorSpec>, cluster: Cluster, table: number): WayBack[] {
  return ([4, 6] as const).flatMap((family): WayBack[] => {
    const own = (name: string): string | undefined =>
      family === 6 ? cluster.hosts[name]!.address6 : cluster.hosts[name]!.address;
    const vip = service.spec.vip.find((one) => isIPv6(one) === (family === 6));
    const address = own(host);
    if (!vip || !address) return [];
    const directors = service.hosts.flatMap((name) => own(name) ?? []);
    return [{ family, host, service, vip, address, directors, table }];
  });
}

/**
 * Replies of a `nat` real server go to the VIP's owner, whoever that is now: a table whose only route is by way of the VIP, and a routing rule for each
 * port of the service (`repliesThroughVip`). One is taken back without the others: the table serves all ports. They are called by the table and not by the
 * service: one that has another name today takes nothing back that it still needs.
 */
function wayThroughVip({ family, host, service, vip, address, table }: WayBack): HostSetting {
  const ip = `ip -${family}`;
  return {
    host,
    service: service.name,
    title: `table ${table} by way of VIP ${vip}`,
    check: `${ip} route show table ${table} 2>/dev/null | grep -q '^default via ${vip} '`,
    apply: `dev=$(ip -o -${family} addr show to ${address} | awk '{print $2; exit}')
[ -n "$dev" ] || { echo "no interface holds ${address}" >&2; exit 1; }
${ip} route replace default via ${vip} dev "$dev" onlink table ${table}`,
    // By its VIP: another may have taken its place, of this service or of the one whose table this is now.
    undo: `${ip} route del default via ${vip} table ${table} 2>/dev/null\ntrue`,
  };
}

/**
 * A routing rule for packets that leave from the service's port. What goes to the directors themselves (answers to their health checks) keeps its
 * way. Nothing else of the host's routing changes.
 */
function repliesThroughVip(
  { family, host, service, address, directors, table }: WayBack,
  proto: string,
  ports: string,
): HostSetting {
  const ip = `ip -${family}`;
  const full = family === 6 ? 128 : 32;
  const sources = sourcesOf(family, proto, address);
  const rules = [
    ...directors.map((to) => `to ${to}/${full} ipproto ${proto} sport ${ports} pref ${table} lookup main`),
    ...sources.map(
      (from) => `from ${from} ipproto ${proto} sport ${ports} pref ${table + 100} lookup ${table}`,
    ),
  ];
  // `ip rule del` takes the rule as it was added; the listing is the check, since adding twice makes two.
  const remove = rules.map((rule) => `while ${ip} rule del ${rule} 2>/dev/null; do :; done`).join('\n');
  const shown = [
    ...directors.map((to) => `to ${to} ipproto ${proto} sport ${ports} lookup main`),
    ...sources.map((from) => `from ${from.split('/')[0]} ipproto ${proto} sport ${ports} lookup ${table}`),
  ];
  return {
    host,
    service: service.name,
    title: `replies from ${proto} port ${ports} by table ${table}${family === 6 ? ', IPv6' : ''}`,
    check: shown.map((rule) => `${ip} rule show | grep -q '${rule}'`).join(' && '),
    apply: `${remove}\n${rules.map((rule) => `${ip} rule add ${rule}`).join(' &&\n')}`,
    undo: `${remove}\ntrue`,
  };
}
