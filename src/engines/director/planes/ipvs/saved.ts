import { plainAddress } from '../nftables/instance.ts';

/** A virtual service as the kernel's IPVS has it. */
export interface Service {
  /** Its words in a rule of ipvsadm: '-t 10.77.0.100:80', '-f 1346895873 -6'. */
  at: string;
  scheduler: string;
  /** Flags of the scheduler, sorted: 'sh-fallback,sh-port'; '' for none. */
  flags: string;
  /** Seconds; 0: none. */
  persistence: number;
  /** By the server's words: '10.77.0.11:8080'. */
  servers: Map<string, Server>;
}

export interface Server {
  forward: '-m' | '-g' | '-i';
  weight: number;
}

export type Services = Map<string, Service>;

/** `10.0.0.1:80`, `[fd00::1]:80` as ipvsadm -n prints it. */
export function endpoint(address: string, port: number): string {
  const plain = plainAddress(address);
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** What `ipvsadm -Sn` prints. Options that Phalanx never sets are part of `flags`, so that they are seen as differences. */
export function parseSaved(text: string): Services {
  const services: Services = new Map();
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const options = optionsOf(words.slice(1));
    const at = placeOf(options);
    if (at === undefined) continue;
    if (words[0] === '-A')
      services.set(at, {
        at,
        scheduler: options.get('-s') ?? 'wlc',
        flags: flagsOf(options),
        persistence: Number(options.get('-p') ?? 0),
        servers: new Map(),
      });
    else if (words[0] === '-a')
      services.get(at)?.servers.set(options.get('-r') ?? '', {
        forward: options.has('-m') ? '-m' : options.has('-i') ? '-i' : '-g',
        weight: Number(options.get('-w') ?? 1),
      });
  }
  return services;
}

function optionsOf(words: string[]): Map<string, string> {
  const options = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const next = words[i + 1];
    const value = next === undefined || /^-/.test(next) ? '' : next;
    options.set(words[i]!, value);
    if (value !== '') i++;
  }
  return options;
}

function placeOf(options: Map<string, string>): string | undefined {
  for (const kind of ['-t', '-u', '-f']) {
    const value = options.get(kind);
    if (value !== undefined) return options.has('-6') ? `${kind} ${value} -6` : `${kind} ${value}`;
  }
  return undefined;
}

function flagsOf(options: Map<string, string>): string {
  const flags = (options.get('-b') ?? '').split(',').filter((flag) => flag !== '');
  for (const odd of ['-M', '-o', '--pe'])
    if (options.has(odd)) flags.push(`${odd} ${options.get(odd)}`.trim());
  return flags.sort().join(',');
}

/** The fewest lines for `ipvsadm --restore` that make `current` what is `wanted`; [] when it is so. Nothing that stays is touched. */
export function edits(current: Services, wanted: Services): string[] {
  const lines: string[] = [];
  for (const at of current.keys()) if (!wanted.has(at)) lines.push(`-D ${at}`);
  for (const [at, service] of wanted) {
    const before = current.get(at);
    const words = `${at} -s ${service.scheduler}${service.flags ? ` -b ${service.flags}` : ''}${
      service.persistence > 0 ? ` -p ${service.persistence}` : ''
    }`;
    if (!before) lines.push(`-A ${words}`);
    else if (!same(before, service)) lines.push(`-E ${words}`);
    // Who leaves goes first: a moment without the new server is better than one with both shares wrong.
    for (const real of before?.servers.keys() ?? [])
      if (!service.servers.has(real)) lines.push(`-d ${at} -r ${real}`);
    for (const [real, { forward, weight }] of service.servers) {
      const had = before?.servers.get(real);
      if (had?.forward === forward && had.weight === weight) continue;
      lines.push(`${had ? '-e' : '-a'} ${at} -r ${real} ${forward} -w ${weight}`);
    }
  }
  return lines;
}

const same = (one: Service, other: Service): boolean =>
  one.scheduler === other.scheduler && one.flags === other.flags && one.persistence === other.persistence;

const ways = { '-m': 'nat', '-g': 'dr', '-i': 'tun' } as const;

/** What of `current` is not as `wanted`, a sentence each: a table that was edited by hand. */
export function differences(current: Services, wanted: Services): string[] {
  const found: string[] = [];
  for (const at of current.keys()) if (!wanted.has(at)) found.push(`${shown(at)} is not of this director`);
  for (const [at, service] of wanted) {
    const now = current.get(at);
    if (!now) {
      found.push(`${shown(at)} is missing`);
      continue;
    }
    if (now.scheduler !== service.scheduler)
      found.push(`${shown(at)} has scheduler ${now.scheduler} instead of ${service.scheduler}`);
    else if (now.flags !== service.flags)
      found.push(`${shown(at)} has flags ${now.flags || 'none'} instead of ${service.flags || 'none'}`);
    if (now.persistence !== service.persistence)
      found.push(`${shown(at)} has persistence ${now.persistence} s instead of ${service.persistence} s`);
    for (const [real, { forward, weight }] of now.servers) {
      const want = service.servers.get(real);
      if (!want) found.push(`${shown(at)} has server ${real}, which is not of it`);
      else if (want.weight !== weight)
        found.push(`${shown(at)}: ${real} has weight ${weight} instead of ${want.weight}`);
      else if (want.forward !== forward)
        found.push(`${shown(at)}: ${real} is forwarded by ${ways[forward]} instead of ${ways[want.forward]}`);
    }
    for (const real of service.servers.keys())
      if (!now.servers.has(real)) found.push(`${shown(at)}: server ${real} is missing`);
  }
  return found;
}

function shown(at: string): string {
  const [kind, place] = at.split(' ');
  return kind === '-f' ? `mark ${place}` : `${kind === '-t' ? 'tcp' : 'udp'} ${place}`;
}
