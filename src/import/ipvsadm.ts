import { formatAddress, parseAddress } from '../file/addresses.ts';
import { wordsOf } from './keepalived/lines.ts';
import { forwardWord, portIn, schedulerOf } from './keepalived/virtuals.ts';
import { type Found, type Note, type Place, portsOf, type Target, type Virtual } from './model.ts';

/** Whether the text is rules of ipvsadm rather than blocks of keepalived. */
export function isIpvsadm(text: string): boolean {
  const first = text.split('\n').find((line) => line.trim() !== '' && !/^\s*#/.test(line));
  return first !== undefined && /^\s*(\S*ipvsadm\s+)?-/.test(first);
}

/** Long options of ipvsadm(8) as their short ones. */
const short: Record<string, string> = {
  '--add-service': '-A',
  '--edit-service': '-E',
  '--add-server': '-a',
  '--edit-server': '-e',
  '--tcp-service': '-t',
  '--udp-service': '-u',
  '--sctp-service': '--sctp-service',
  '--fwmark-service': '-f',
  '--scheduler': '-s',
  '--persistent': '-p',
  '--netmask': '-M',
  '--real-server': '-r',
  '--gatewaying': '-g',
  '--ipip': '-i',
  '--masquerading': '-m',
  '--weight': '-w',
  '--u-threshold': '-x',
  '--l-threshold': '-y',
  '--sched-flags': '-b',
  '--ops': '-o',
  '--ipv6': '-6',
};
const valued = new Set([
  '-t',
  '-u',
  '-f',
  '--sctp-service',
  '-s',
  '-M',
  '-r',
  '-w',
  '-x',
  '-y',
  '-b',
  '--pe',
  '--tun-type',
  '--tun-port',
]);
/** Like valued ones, but the value may be left out. */
const maybe = new Set(['-p']);

/** IPVS's own persistence, in seconds, where none is given (ipvsadm(8)). */
const persistenceDefault = 300;

/** Reads what `ipvsadm-save -n` or `ipvsadm -Sn` prints, also as commands of a script (`ipvsadm -A ...`). */
export function readIpvsadm(entry: { path: string; text: string }): Found {
  const notes: Note[] = [];
  const virtuals = new Map<string, Virtual>();
  const missing = new Set<string>();
  entry.text.split('\n').forEach((text, i) => {
    const place = { file: entry.path, line: i + 1 };
    const words = wordsOf(text.replace(/(^|\s)#.*$/, '')).map((word) => word.text);
    if (words[0]?.endsWith('ipvsadm')) words.shift();
    if (words.length === 0) return;
    const what = words.join(' ');
    const lost = (why: string): void => {
      notes.push({ kind: 'lost', place, what, why });
    };
    const options = optionsOf(words, lost);
    const key = ['-t', '-u', '-f', '--sctp-service'].flatMap((one) =>
      options.has(one) ? `${one} ${options.get(one)}` : [],
    )[0];
    if (key !== undefined && (options.has('-A') || options.has('-E'))) {
      const virtual = virtualOf(options, place, what, lost, notes);
      if (virtual) virtuals.set(key, { ...virtual, targets: virtuals.get(key)?.targets ?? [] });
      else missing.add(key);
    } else if (key !== undefined && (options.has('-a') || options.has('-e'))) {
      const virtual = virtuals.get(key);
      if (virtual) addTarget(virtual, options, place, what, lost, notes);
      else
        lost(
          missing.has(key)
            ? 'its virtual service has no equal'
            : 'its virtual service is not declared before it',
        );
    } else lost('not a rule that adds a virtual service or a real server');
  });
  return {
    virtuals: [...virtuals.values()],
    owners: [],
    directors: [{ name: 'lb1' }, { name: 'lb2' }],
    notes,
  };
}

function optionsOf(words: string[], lost: (why: string) => void): Map<string, string> {
  const options = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = short[words[i]!] ?? words[i]!;
    const next = words[i + 1];
    if (valued.has(word) || (maybe.has(word) && next !== undefined && /^\d/.test(next))) {
      options.set(word, next ?? '');
      i++;
    } else if (/^-/.test(word)) options.set(word, '');
    else lost(`"${word}" belongs to no option`);
  }
  return options;
}

function placeOf(text: string): { address: string; port: number } | undefined {
  const found = /^\[([^\]]+)\](?::(\S+))?$/.exec(text) ?? /^([^:]+)(?::(\S+))?$/.exec(text) ?? [text, text];
  const address = parseAddress(found[1] ?? '');
  const port = portIn(found[2]);
  return address === undefined || port === undefined ? undefined : { address: formatAddress(address), port };
}

function virtualOf(
  options: Map<string, string>,
  place: Place,
  what: string,
  lost: (why: string) => void,
  notes: Note[],
): Virtual | undefined {
  if (options.has('-f')) {
    lost(
      'which packets have the mark is not in this file but in rules of iptables or nftables: write a listen with a range of ports, port: "8000-8010", which Phalanx marks itself',
    );
    return undefined;
  }
  const proto = options.has('-t') ? 'tcp' : 'udp';
  const at = placeOf(options.get('-t') ?? options.get('-u') ?? '');
  if (options.has('--sctp-service') || at === undefined) {
    lost(
      at === undefined && !options.has('--sctp-service')
        ? 'not an address and a port: print them by number, ipvsadm-save -n'
        : 'SCTP is not carried: tcp and udp are',
    );
    return undefined;
  }
  const differs = (why: string): void => {
    notes.push({ kind: 'differs', place, what, why });
  };
  const flags = (options.get('-b') ?? '').split(',').filter((flag) => flag !== '');
  if (options.has('-M')) lost('persistence is by a client’s whole address');
  if (options.has('--pe')) lost('a persistence engine has no equal');
  if (options.has('-o')) lost('each datagram of a flow goes to the same server');
  const persistence = options.has('-p') ? Number(options.get('-p') || persistenceDefault) : 0;
  return {
    place,
    what,
    at: [{ address: at.address, ports: portsOf(at.port), place }],
    proto,
    scheduler: schedulerOf(options.get('-s') ?? 'wlc', differs),
    hashPort: flags.some((flag) => flag === 'sh-port' || flag === 'mh-port'),
    forward: 'nat',
    persistenceMs: Number.isFinite(persistence) ? Math.min(500 * 3600, persistence) * 1000 : 0,
    targets: [],
  };
}

function addTarget(
  virtual: Virtual,
  options: Map<string, string>,
  place: Place,
  what: string,
  lost: (why: string) => void,
  notes: Note[],
): void {
  const at = placeOf(options.get('-r') ?? '');
  if (at === undefined) {
    lost('not an address and a port: print them by number, ipvsadm-save -n');
    return;
  }
  // Without a word IPVS forwards by direct routing.
  const forward = forwardWord(options.has('-m') ? 'nat' : options.has('-i') ? 'tun' : 'dr')!;
  if (virtual.targets.length === 0) virtual.forward = forward;
  else if (virtual.forward !== forward)
    notes.push({
      kind: 'differs',
      place,
      what,
      why: `a listen has one way of forwarding: ${virtual.forward}`,
    });
  if (options.has('-x') || options.has('-y')) lost('a server takes as many connections as come (-x, -y)');
  if ((options.get('--tun-type') ?? 'ipip') !== 'ipip')
    notes.push({ kind: 'differs', place, what, why: 'the tunnel is IPIP' });
  const weight = Number(options.get('-w') ?? 1);
  const [first, last] = virtual.at[0]!.ports;
  const port = first === last ? at.port || first : undefined;
  const target: Target = {
    address: at.address,
    ...(port === undefined ? {} : { port }),
    weight: Number.isFinite(weight) ? Math.min(65_535, Math.max(0, Math.round(weight))) : 1,
    place,
    ...(virtual.proto === 'udp' ? { check: { script: 'true', interval: '1h' } } : {}),
  };
  virtual.targets = [
    ...virtual.targets.filter((one) => one.address !== target.address || one.port !== target.port),
    target,
  ];
}
