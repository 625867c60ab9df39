import type { Cluster, Problem, Service } from '../../file/cluster.ts';
import { suggestion } from '../../file/nearest.ts';
import type { Engine } from '../engine.ts';
import { portAt } from './listens.ts';
import { haproxyBalance } from './planes/haproxy-balance.ts';
import { type DirectorSpec, forwardOf, type ListenSpec, listenName } from './schema.ts';

type Path = (string | number)[];
/** A listen as the file has it: parts that broke the schema are undefined, and rules about them say nothing. */
type Written = Partial<ListenSpec>;
/**
 * The port of a service's members that clients use, or the one of that name; undefined where it cannot be known (the service has
 * mistakes), a list of the names there are where that name is not among them.
 */
type PortOf = (service: Service, at?: string) => number | 'none' | string[] | undefined;

/** haproxy's own limit on `weight`. */
const haproxyWeight = 256;

/**
 * The director's rules across keys, services and planes: its engine's `check`. The port of real servers is asked of the
 * engine of the service behind: the first port of its members is the one that clients use.
 */
export function directorRules(
  engineOf: (type: string) => Engine | undefined,
): (service: Service<DirectorSpec>, cluster: Cluster) => Problem[] {
  return (service, cluster) => {
    const portOf = portsBehind(engineOf, cluster);
    const each = listensOf(service).flatMap((listen, index) => {
      const path: Path = ['services', service.name, 'listen', index];
      return [
        ...planeRules(listen, path),
        ...targetRules(service, listen, 'to', path, cluster, portOf),
        ...targetRules(service, listen, 'sorry', path, cluster, portOf),
        ...weightRules(listen, path, cluster),
      ];
    });
    return [
      ...each,
      ...samePort(service),
      ...vipOnServers(service, cluster),
      ...ambiguousReplies(service, cluster, portOf),
    ];
  };
}

function listensOf(service: Service): Written[] {
  const { listen } = (service.spec ?? {}) as { listen?: (Written | undefined)[] };
  return (listen ?? []).map((one) => one ?? {});
}

function portsBehind(engineOf: (type: string) => Engine | undefined, cluster: Cluster): PortOf {
  const known = new Map<string, ReturnType<PortOf>>();
  const ask: PortOf = (service, at) => {
    try {
      const members = engineOf(service.type)?.members(service, cluster);
      if (members === undefined) return undefined;
      const member = members.find((one) => one.ports.length > 0);
      if (member === undefined) return 'none';
      return portAt(member, at)?.port ?? member.ports.flatMap(({ name }) => name ?? []);
    } catch {
      // Its own part of the file is wrong, which is said there.
      return undefined;
    }
  };
  return (service, at) => {
    const key = at === undefined ? service.name : `${service.name}.${at}`;
    if (!known.has(key)) known.set(key, ask(service, at));
    return known.get(key);
  };
}

function planeRules(listen: Written, path: Path): Problem[] {
  const { plane, proto, forward, scheduler, port, hash } = listen;
  const problems: Problem[] = [];
  const say = (key: string, message: string, hint?: string) =>
    problems.push(
      hint === undefined ? { path: [...path, key], message } : { path: [...path, key], message, hint },
    );

  if (plane === 'ipvs' && forward === 'fullnat')
    say('forward', 'ipvs has no fullnat', 'use nat, dr or tun, or plane nftables');
  if (plane === 'haproxy') {
    if (proto === 'udp') say('proto', 'haproxy carries tcp only', 'use plane nftables');
    if (forward !== undefined)
      say(
        'forward',
        `forward does not apply to plane haproxy: a proxy makes connections of its own`,
        `remove forward, or use plane ${forward === 'tun' ? 'ipvs' : 'nftables'}`,
      );
    if (scheduler !== undefined && haproxyBalance[scheduler] === undefined)
      say('scheduler', `plane haproxy cannot hold scheduler ${scheduler}`, 'use plane nftables');
    if (port !== undefined && port[0] !== port[1])
      say('port', 'plane haproxy holds one port, not a range', 'use plane nftables');
    if (hash !== undefined && (scheduler === 'sh' || scheduler === 'mh'))
      say('hash', "plane haproxy hashes the client's address only", 'remove hash, or use plane nftables');
  } else if (forward === 'tun' && plane !== 'ipvs') {
    say('forward', 'tun needs plane ipvs', 'add plane: ipvs, or use nat, fullnat or dr');
  }
  if (port !== undefined && port[0] !== port[1] && forward === 'fullnat')
    say('forward', 'a range of ports cannot be forwarded by fullnat', 'use nat or dr');
  if (hash !== undefined && scheduler !== undefined && scheduler !== 'sh' && scheduler !== 'mh')
    say('hash', `scheduler ${scheduler} does not hash the client`, 'remove hash, or use sh or mh');
  return problems;
}

function targetRules(
  service: Service,
  listen: Written,
  key: 'to' | 'sorry',
  path: Path,
  cluster: Cluster,
  portOf: PortOf,
): Problem[] {
  const name = listen[key];
  if (name === undefined) return [];
  const say = (message: string, hint?: string, at: string = key): Problem[] => [
    hint === undefined ? { path: [...path, at], message } : { path: [...path, at], message, hint },
  ];
  const target = Object.hasOwn(cluster.services, name) ? cluster.services[name] : undefined;
  if (target === undefined) {
    const others = Object.keys(cluster.services).filter((other) => other !== service.name);
    return say(`no service "${name.slice(0, 60)}" is declared`, suggestion(name, others));
  }
  if (target.type === service.type)
    return say(`"${name}" is a director itself`, 'name a service whose members answer clients');
  if (key === 'sorry' && name === listen.to)
    return say(`"${name}" is already where the connections go`, 'name another service');
  const own = target.hosts.find((host) => service.hosts.includes(host));
  if (own !== undefined && listen.plane === 'nftables' && forwardOf(listen) !== 'fullnat')
    return say(
      `plane nftables cannot forward by ${forwardOf(listen)} to ${own}, which is a director of ${service.name} itself`,
      `use plane haproxy or forward fullnat, or other hosts for ${name}`,
    );
  const at = key === 'to' ? listen.at : undefined;
  const port = portOf(target, at);
  if (Array.isArray(port))
    return say(
      `"${name}" has no port called "${at!.slice(0, 60)}"`,
      port.length === 0
        ? 'its members have one port: remove `at`'
        : (suggestion(at!, port) ?? `one of ${port.join(', ')}`),
      'at',
    );
  if (port === 'none') return say(`the members of "${name}" have no port that connections could go to`);
  const { forward } = listen;
  if (port === undefined || (forward !== 'dr' && forward !== 'tun') || listen.plane === 'haproxy') return [];
  const [first, last] = listen.port ?? [port, port];
  if (first !== last || first === port) return [];
  return say(
    `${forward} cannot change the port: clients ask for ${first}, ${name} listens on ${port}`,
    `with ${forward} ${forward === 'dr' ? 'only the MAC address of a packet is rewritten' : 'a packet is sent on as it came'}: use one port for both, or nat or fullnat`,
    'forward',
  );
}

function weightRules({ weights, to, plane }: Written, path: Path, cluster: Cluster): Problem[] {
  const target = to !== undefined && Object.hasOwn(cluster.services, to) ? cluster.services[to] : undefined;
  return Object.entries(weights ?? {}).flatMap(([word, weight]): Problem[] => {
    const at = [...path, 'weights', word];
    const host = word.startsWith(`${to}@`) ? word.slice(to!.length + 1) : word;
    if (target !== undefined && !target.hosts.includes(host)) {
      const message = `${to} has no member or host "${word.slice(0, 60)}"`;
      const hint = suggestion(host, target.hosts);
      return [
        hint === undefined ? { path: at, message, atKey: true } : { path: at, message, hint, atKey: true },
      ];
    }
    if (plane === 'haproxy' && weight > haproxyWeight)
      return [
        { path: at, message: `plane haproxy holds weights to ${haproxyWeight}`, hint: 'use plane nftables' },
      ];
    return [];
  });
}

const overlap = (a: [number, number], b: [number, number]) => a[0] <= b[1] && b[0] <= a[1];

function samePort(service: Service): Problem[] {
  const before: { name: string; proto: string; port: [number, number] }[] = [];
  return listensOf(service).flatMap(({ proto, port }, index): Problem[] => {
    if (proto === undefined || port === undefined) return [];
    const other = before.find((one) => one.proto === proto && overlap(one.port, port));
    before.push({ name: listenName({ proto, port }), proto, port });
    if (other === undefined) return [];
    const path = ['services', service.name, 'listen', index, 'port'];
    return [
      {
        path,
        message: `${listenName({ proto, port })} overlaps ${other.name}, which already listens on the VIP`,
      },
    ];
  });
}

/**
 * Real servers of `dr` and `tun` hold the VIP themselves. For `nat` they would have to reach the director by that same address, and
 * `fullnat` packets come from it: neither can work on such a host.
 */
function vipOnServers(service: Service, cluster: Cluster): Problem[] {
  const hostsOf = (listen: Written): string[] =>
    [listen.to, listen.sorry].flatMap((name) =>
      name !== undefined && Object.hasOwn(cluster.services, name) ? cluster.services[name]!.hosts : [],
    );
  const holds = (listen: Written): boolean =>
    listen.plane !== 'haproxy' && (forwardOf(listen) === 'dr' || forwardOf(listen) === 'tun');
  const withVip = new Set(listensOf(service).filter(holds).flatMap(hostsOf));
  return listensOf(service).flatMap((listen, index): Problem[] => {
    if (listen.plane === 'haproxy' || holds(listen)) return [];
    const host = hostsOf(listen).find((one) => withVip.has(one));
    if (host === undefined) return [];
    return [
      {
        path: ['services', service.name, 'listen', index, 'to'],
        message: `${host} holds the VIP for a listen with forward dr or tun, so it cannot be reached by ${forwardOf(listen)} as well`,
        hint: 'use dr or tun for both, or a director with a VIP of its own',
      },
    ];
  });
}

interface Claim {
  director: Service;
  listen: Written;
  index: number;
  key: 'to' | 'sorry';
  target: Service;
  port: [number, number];
  families: Set<4 | 6>;
}

/**
 * A real server sends the replies of one port by way of one director's VIP, so two directors cannot both stand in front of it by
 * nat (one director can, several times: it knows its own connections). Said at the later of two, in the order of the file.
 */
function ambiguousReplies(service: Service, cluster: Cluster, portOf: PortOf): Problem[] {
  const earlier: Claim[] = [];
  for (const other of Object.values(cluster.services)) {
    if (other.type !== service.type) continue;
    if (other.name === service.name) break;
    earlier.push(...claims(other, cluster, portOf));
  }
  const byTarget = new Map<string, Claim[]>();
  const ranges: Claim[] = [];
  const add = (claim: Claim) => {
    const key = `${claim.listen.proto} ${claim.target.name}`;
    byTarget.set(key, [...(byTarget.get(key) ?? []), claim]);
    if (claim.port[0] !== claim.port[1]) ranges.push(claim);
  };
  for (const claim of earlier) add(claim);
  return claims(service, cluster, portOf).flatMap((claim): Problem[] => {
    const near = [...(byTarget.get(`${claim.listen.proto} ${claim.target.name}`) ?? []), ...ranges];
    const other = near.find((one) => ambiguous(one, claim));
    add(claim);
    if (other === undefined) return [];
    return [
      {
        path: ['services', service.name, 'listen', claim.index, claim.key],
        message: `${listenName(other.listen as ListenSpec)} of ${other.director.name} already sends to the same port of ${other.target.name} by nat: its replies can go back through one director only`,
        hint: 'use forward fullnat or dr for one of them',
      },
    ];
  });
}

function ambiguous(one: Claim, other: Claim): boolean {
  if (one.listen.proto !== other.listen.proto || !overlap(one.port, other.port)) return false;
  if (one.director === other.director) return false;
  if (![...one.families].some((family) => other.families.has(family))) return false;
  return one.target === other.target || one.target.hosts.some((host) => other.target.hosts.includes(host));
}

function claims(director: Service, cluster: Cluster, portOf: PortOf): Claim[] {
  const { vip } = (director.spec ?? {}) as { vip?: (string | undefined)[] };
  const families = new Set(
    (vip ?? []).flatMap((one) => (one === undefined ? [] : one.includes(':') ? 6 : 4)),
  );
  return listensOf(director).flatMap((listen, index): Claim[] => {
    const { plane, port, proto } = listen;
    if (port === undefined || proto === undefined || plane === 'haproxy' || plane === undefined) return [];
    if (forwardOf(listen) !== 'nat') return [];
    return (['to', 'sorry'] as const).flatMap((key): Claim[] => {
      const name = listen[key];
      const target =
        name !== undefined && Object.hasOwn(cluster.services, name) ? cluster.services[name]! : undefined;
      const own = target === undefined ? undefined : portOf(target, key === 'to' ? listen.at : undefined);
      if (target === undefined || typeof own !== 'number') return [];
      const reaches: [number, number] = port[0] === port[1] ? [own, own] : port;
      return [{ director, listen, index, key, target, port: reaches, families: families as Set<4 | 6> }];
    });
  });
}
