import type { Note, Place, Target, Virtual } from './model.ts';

/** A group of real servers on one port: one of our app services. */
export interface Pool {
  name: string;
  port: number;
  /** Addresses, in the order of the file. */
  addresses: string[];
  udpOnly: boolean;
  place: Place;
}

export interface Pooled {
  virtual: Virtual;
  pool: Pool;
  sorry?: Pool;
}

/** What a port is usually for: the name of a service that nobody named. */
const names: Record<number, string> = {
  21: 'ftp',
  22: 'ssh',
  25: 'smtp',
  53: 'dns',
  80: 'web',
  110: 'pop3',
  143: 'imap',
  389: 'ldap',
  443: 'https',
  587: 'submission',
  636: 'ldaps',
  993: 'imaps',
  1433: 'mssql',
  3128: 'proxy',
  3306: 'mysql',
  5432: 'postgres',
  5672: 'amqp',
  6379: 'redis',
  6443: 'kube',
  8080: 'web',
  8443: 'https',
  9200: 'search',
};

/** The port that members of a service without one are looked at. */
const anyPort = 80;

/**
 * Virtual services whose real servers are the same, or partly the same, share one service of ours: a port of a host
 * belongs to one member. Notes tell of servers that cannot be part of it.
 */
export function poolsOf(
  virtuals: readonly Virtual[],
  directors: ReadonlySet<string>,
  notes: Note[],
): Pooled[] {
  const vips = new Set(virtuals.flatMap(({ at }) => at.map((place) => place.address)));
  const kept = virtuals.flatMap((virtual) => withOnePort(virtual, directors, vips, notes) ?? []);
  // Union of virtual services that share a server's port.
  const parent = kept.map((_, i) => i);
  const rootOf = (i: number): number => (parent[i] === i ? i : rootOf(parent[i]!));
  const owner = new Map<string, number>();
  kept.forEach(({ virtual, port }, i) => {
    for (const { address } of virtual.targets) {
      const key = `${address} ${port}`;
      const other = owner.get(key);
      if (other === undefined) owner.set(key, i);
      else parent[Math.max(rootOf(i), rootOf(other))] = Math.min(rootOf(i), rootOf(other));
    }
  });
  const taken = new Set<string>();
  const pools = new Map<number, Pool>();
  kept.forEach(({ virtual, port }, i) => {
    const root = rootOf(i);
    const pool = pools.get(root) ?? {
      name: unique(nameOf(virtual, port), taken),
      port,
      addresses: [],
      udpOnly: true,
      place: virtual.place,
    };
    pools.set(root, pool);
    if (virtual.proto === 'tcp') pool.udpOnly = false;
    for (const { address } of virtual.targets)
      if (!pool.addresses.includes(address)) pool.addresses.push(address);
  });
  const pooled = kept.map(({ virtual }, i): Pooled => ({ virtual, pool: pools.get(rootOf(i))! }));
  addSorry(pooled, vips, directors, taken, notes);
  for (const { virtual, pool } of pooled) {
    const here = new Set(virtual.targets.map(({ address }) => address));
    const others = pool.addresses.filter((address) => !here.has(address));
    if (others.length > 0)
      notes.push({
        kind: 'differs',
        place: virtual.place,
        what: virtual.what,
        why: `its servers are part of service "${pool.name}": ${others.join(', ')} stand there with weight 0`,
      });
  }
  return pooled;
}

/** The virtual service with those of its real servers that have the port most of them have; undefined when none is left. */
function withOnePort(
  virtual: Virtual,
  directors: ReadonlySet<string>,
  vips: ReadonlySet<string>,
  notes: Note[],
): { virtual: Virtual; port: number } | undefined {
  const lost = (target: { place: Place; address: string; port?: number }, why: string): void => {
    notes.push({
      kind: 'lost',
      place: target.place,
      what: `real server ${target.address} ${target.port ?? ''}`.trim(),
      why,
    });
  };
  const [first, last] = virtual.at[0]!.ports;
  const rewrites = virtual.forward === 'nat' && first === last;
  const usable: Target[] = [];
  for (const target of virtual.targets) {
    if (/^(127\.|::1$)/.test(target.address) || directors.has(target.address))
      lost(
        target,
        'a director is no real server of its own VIP: name another host, or use a service beside it',
      );
    else if (usable.some((one) => one.address === target.address && one.port === target.port))
      lost(target, 'stands there twice');
    else if (vips.has(target.address)) lost(target, 'is a virtual address itself');
    else if (target.address.includes(':') !== virtual.at[0]!.address.includes(':'))
      lost(target, 'is of another family than the VIP');
    else usable.push(target);
  }
  const portOf = (target: Target): number =>
    first !== last ? (target.checkPort ?? anyPort) : rewrites ? (target.port ?? first) : first;
  for (const target of usable)
    if (!rewrites && first === last && target.port !== undefined && target.port !== first)
      notes.push({
        kind: 'differs',
        place: target.place,
        what: `real server ${target.address} ${target.port}`,
        why: `${virtual.forward} cannot change the port: packets arrive at port ${first}, as they do with IPVS`,
      });
  const counts = new Map<number, number>();
  for (const target of usable) counts.set(portOf(target), (counts.get(portOf(target)) ?? 0) + 1);
  const port = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  if (port === undefined) {
    notes.push({
      kind: 'lost',
      place: virtual.place,
      what: virtual.what,
      why: 'no real server of it has an equal',
    });
    return undefined;
  }
  const targets = usable.filter((target) => {
    if (portOf(target) === port) return true;
    lost(target, `a service has one port, here ${port}: write a service of its own for it`);
    return false;
  });
  return { virtual: { ...virtual, targets }, port };
}

function addSorry(
  pooled: Pooled[],
  vips: ReadonlySet<string>,
  directors: ReadonlySet<string>,
  taken: Set<string>,
  notes: Note[],
): void {
  const pools = new Set(pooled.map(({ pool }) => pool));
  const own = new Map<string, Pool>();
  for (const one of pooled) {
    const { virtual } = one;
    const { sorry } = virtual;
    if (!sorry) continue;
    const [first, last] = virtual.at[0]!.ports;
    const port =
      first !== last ? (sorry.port ?? anyPort) : virtual.forward === 'nat' ? (sorry.port ?? first) : first;
    const lost = (why: string): void => {
      notes.push({ kind: 'lost', place: sorry.place, what: `sorry_server ${sorry.address} ${port}`, why });
    };
    if (/^(127\.|::1$)/.test(sorry.address) || vips.has(sorry.address) || directors.has(sorry.address)) {
      lost('a director is no server of its own VIP: with none left the client is refused');
      continue;
    }
    if (sorry.address.includes(':') !== virtual.at[0]!.address.includes(':')) {
      lost('is of another family than the VIP');
      continue;
    }
    const key = `${sorry.address} ${port}`;
    const holder = [...pools].find((pool) => pool.port === port && pool.addresses.includes(sorry.address));
    if (holder && (holder === one.pool || holder.addresses.length > 1)) {
      lost(`is a real server of "${holder.name}" as well`);
      continue;
    }
    const pool = holder ??
      own.get(key) ?? {
        name: unique('sorry', taken),
        port,
        addresses: [sorry.address],
        udpOnly: virtual.proto === 'udp',
        place: sorry.place,
      };
    if (!holder) own.set(key, pool);
    one.sorry = pool;
  }
}

function nameOf(virtual: Virtual, port: number): string {
  const given = virtual.name === undefined ? '' : plainName(virtual.name);
  return given !== '' ? given : (names[virtual.at[0]!.ports[0]] ?? names[port] ?? `service-${port}`);
}

/** A name as our file takes it: lower-case letters, digits and -, a letter first; empty when nothing is left. */
export function plainName(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 24)
    .replace(/-+$/, '');
}

export function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
  taken.add(free);
  return free;
}
