import { type Scheduler, schedulers } from '../../engines/director/tables.ts';
import { formatAddress, parseAddress } from '../../file/addresses.ts';
import { type Note, portsOf, type Target, type Virtual } from '../model.ts';
import type { Statement } from './blocks.ts';
import { checkers, checkOf, seconds, type Times, timesOf } from './checks.ts';
import { Section } from './section.ts';

/** What a `virtual_server group NAME` stands for. */
export interface Group {
  name: string;
  at: Virtual['at'];
}

/** A director has at most so many VIPs. */
const mostAddresses = 64;

export function virtualGroupOf(statement: Statement, notes: Note[]): Group {
  const at = (statement.body ?? []).flatMap((line): Virtual['at'] => {
    const { words, place } = line;
    const lost = (why: string): [] => {
      notes.push({ kind: 'lost', place, what: words.join(' '), why });
      return [];
    };
    if (words[0] === 'fwmark') return lost(fwmarkWhy);
    const port = portIn(words[1]);
    if (port === undefined) return lost('not a port');
    const addresses = addressRange(words[0]!);
    if (typeof addresses === 'string') return lost(addresses);
    return addresses.map((address) => ({ address, ports: portsOf(port), place }));
  });
  return { name: statement.words[1] ?? '', at };
}

const fwmarkWhy =
  'which packets have the mark is not in this file but in rules of iptables or nftables: write a listen with a range of ports, port: "8000-8010", which Phalanx marks itself';

/** `10.0.0.1`, `10.0.0.1-9`, `10.0.0.1-10.0.0.9`, `10.0.0.8/29` as addresses; a sentence where it is none of them. */
export function addressRange(text: string): string[] | string {
  const [low = '', high] = text.split('-');
  const [base = '', prefix] = low.split('/');
  const first = parseAddress(base);
  if (first === undefined) return 'not an address';
  let last = first.value;
  if (prefix !== undefined) {
    const bits = (first.family === 4 ? 32 : 128) - Number(prefix);
    if (!/^\d+$/.test(prefix) || bits < 0) return 'not a prefix';
    last = first.value | ((1n << BigInt(bits)) - 1n);
  } else if (high !== undefined) {
    const whole = parseAddress(high);
    const part = first.family === 4 ? Number(high) : Number.parseInt(high, 16);
    if (whole !== undefined) last = whole.value;
    else if (Number.isInteger(part) && part >= 0) {
      const unit = first.family === 4 ? 8n : 16n;
      last = ((first.value >> unit) << unit) | BigInt(part);
    } else return 'not a range of addresses';
  }
  const count = last - first.value + 1n;
  if (count < 1n) return 'the range of addresses is empty';
  if (count > BigInt(mostAddresses))
    return `${count} addresses: a director has at most ${mostAddresses} VIPs`;
  return Array.from({ length: Number(count) }, (_, i) =>
    formatAddress({ family: first.family, value: first.value + BigInt(i) }),
  );
}

const wellKnown: Record<string, number> = {
  ftp: 21,
  ssh: 22,
  smtp: 25,
  domain: 53,
  http: 80,
  www: 80,
  imap2: 143,
  ldap: 389,
  https: 443,
  smtps: 465,
  submission: 587,
  ldaps: 636,
  imaps: 993,
  mysql: 3306,
  postgresql: 5432,
};

/** A port by number or by the name that /etc/services gives common ones; 0 where there is none, undefined for anything else. */
export function portIn(word: string | undefined): number | undefined {
  if (word === undefined) return 0;
  const port = wellKnown[word] ?? Number(word);
  return Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : undefined;
}

/** IPVS's name of a scheduler as ours; `wlc`, with a note, for those that we have not. */
export function schedulerOf(word: string, note: (why: string) => void): Scheduler {
  const known = schedulers.find((one) => one === word.toLowerCase());
  if (known === undefined) note(`no scheduler of ours is called ${word}: wlc is written`);
  return known ?? 'wlc';
}

export function forwardWord(word: string): Virtual['forward'] | undefined {
  const forward = word.toLowerCase();
  return forward === 'nat' || forward === 'dr' || forward === 'tun' ? forward : undefined;
}

/** A virtual_server; undefined, with a note, where it has no equal at all. */
export function virtualOf(
  statement: Statement,
  groups: ReadonlyMap<string, Group>,
  notes: Note[],
): Virtual | undefined {
  const section = new Section(statement, notes);
  const at = placesOf(section, groups);
  const proto = (section.value('protocol') ?? 'TCP').toUpperCase();
  if (at === undefined || (proto !== 'TCP' && proto !== 'UDP')) {
    if (at !== undefined)
      section.note('lost', statement, `protocol ${proto} is not carried: tcp and udp are`);
    return undefined;
  }
  const algorithm = section.one('lb_algo', 'lvs_sched');
  const scheduler = algorithm
    ? schedulerOf(algorithm.words[1] ?? '', (why) => section.note('differs', algorithm, why))
    : 'wlc';
  const kind = section.one('lb_kind', 'lvs_method');
  const forward = forwardIn(kind, section) ?? 'nat';
  const persistence = section.one('persistence_timeout');
  const virtual: Virtual = {
    place: statement.place,
    what: statement.words.join(' '),
    at,
    proto: proto === 'TCP' ? 'tcp' : 'udp',
    scheduler,
    hashPort: [section.flag('sh-port'), section.flag('mh-port')].some((flag) => flag !== undefined),
    forward,
    persistenceMs: persistence ? persistenceIn(persistence, section) : 0,
    targets: [],
  };
  const given =
    section.value('snmp_name') ?? (statement.words[1] === 'group' ? statement.words[2] : undefined);
  if (given !== undefined) virtual.name = given;
  const sorry = section.one('sorry_server');
  if (sorry) {
    const address = parseAddress(sorry.words[1] ?? '');
    const port = portIn(sorry.words[2]);
    if (address === undefined || port === undefined) section.note('lost', sorry, 'not an address and a port');
    else
      virtual.sorry = {
        address: formatAddress(address),
        ...(port === 0 ? {} : { port }),
        place: sorry.place,
      };
  }
  const context = {
    times: timesOf(section),
    virtualhost: section.value('virtualhost'),
    port: at[0]!.ports[0] === at[0]!.ports[1] ? at[0]!.ports[0] : undefined,
    forward,
    proto: virtual.proto,
  };
  virtual.targets = section.all('real_server').flatMap((real) => targetOf(real, context, notes));
  tellOthers(section);
  section.rest();
  return virtual;
}

function placesOf(section: Section, groups: ReadonlyMap<string, Group>): Virtual['at'] | undefined {
  const { statement } = section;
  const [, first = '', second] = statement.words;
  const lost = (why: string): undefined => {
    section.note('lost', statement, why);
    return undefined;
  };
  if (first === 'fwmark') return lost(fwmarkWhy);
  if (first === 'group') {
    const group = groups.get(second ?? '');
    if (group === undefined) return lost(`no virtual_server_group is called ${second}`);
    return group.at.length > 0 ? group.at : lost('nothing of its virtual_server_group has an equal');
  }
  const port = portIn(second);
  const address = parseAddress(first);
  if (address === undefined || port === undefined) return lost('not an address and a port');
  return [{ address: formatAddress(address), ports: portsOf(port), place: statement.place }];
}

function forwardIn(kind: Statement | undefined, section: Section): Virtual['forward'] | undefined {
  if (kind === undefined) return undefined;
  const forward = forwardWord(kind.words[1] ?? '');
  if (forward === undefined)
    section.note('differs', kind, 'no forwarding of ours is called so: nat is written');
  if (forward === 'tun' && kind.words.length > 2 && kind.words[3]?.toLowerCase() !== 'ipip')
    section.note('differs', kind, 'the tunnel is IPIP');
  return forward;
}

/** keepalived's own where the file gives no time: six minutes. */
const persistenceDefault = 360;

function persistenceIn(statement: Statement, section: Section): number {
  const value = statement.words[1] === undefined ? persistenceDefault : Number(statement.words[1]);
  if (Number.isFinite(value) && value >= 0) return Math.min(500 * 3600, value) * 1000;
  section.note('lost', statement, 'not a number');
  return 0;
}

interface Context {
  times: Times;
  virtualhost: string | undefined;
  /** The virtual service's port; undefined: all. */
  port: number | undefined;
  forward: Virtual['forward'];
  proto: 'tcp' | 'udp';
}

function targetOf(statement: Statement, context: Context, notes: Note[]): Target[] {
  const section = new Section(statement, notes);
  const address = parseAddress(statement.words[1] ?? '');
  const written = portIn(statement.words[2]);
  if (address === undefined || written === undefined) {
    section.note('lost', statement, 'not an address and a port');
    return [];
  }
  const weight = section.number('weight') ?? 1;
  const kind = section.one('lb_kind', 'lvs_method');
  const forward = forwardIn(kind, section);
  if (kind && forward && forward !== context.forward)
    section.note('differs', kind, `a listen has one way of forwarding: ${context.forward}`);
  const port = written === 0 ? context.port : written;
  const times = timesOf(section, context.times);
  const virtualhost = section.value('virtualhost') ?? context.virtualhost;
  const checks = section.all(...checkers);
  for (const other of checks.slice(1)) section.note('lost', other, 'a server has one check: the first');
  tellOthers(section);
  section.tell('lost', 'a server takes as many connections as come', 'uthreshold', 'lthreshold');
  section.rest();
  const target: Target = {
    address: formatAddress(address),
    ...(port === undefined ? {} : { port }),
    weight: Math.min(65_535, Math.round(weight)),
    place: statement.place,
  };
  const [first] = checks;
  if (first) {
    const { check, port: checkPort } = checkOf(first, {
      notes,
      times,
      virtualhost,
      address: statement.words[1]!,
      port,
    });
    target.check = check;
    if (checkPort !== undefined && port === undefined) target.checkPort = checkPort;
  } else if (context.proto === 'udp') target.check = { script: 'true', interval: seconds(3600) };
  else section.note('differs', statement, 'keepalived takes it for healthy always; Phalanx asks its port');
  return [target];
}

const scripts = 'nothing is run at this: read `phalanx status --json`';

/** Keywords that virtual and real servers share, or that only one of them has. */
function tellOthers(section: Section): void {
  section.tell(
    'differs',
    'a server that fails gets no packet and its clients are reset; it is not kept with weight 0',
    'inhibit_on_failure',
    'sorry_server_inhibit',
  );
  section.tell('ours', 'a server is out until its first check has passed', 'alpha');
  section.tell('ours', 'every agent starts its checks at once', 'warmup');
  section.tell(
    'ours',
    'a server that is down never gets a connection',
    'sh-fallback',
    'mh-fallback',
    'flag-1',
    'flag-2',
    'flag-3',
  );
  section.tell(
    'lost',
    scripts,
    'notify_up',
    'notify_down',
    'quorum_up',
    'quorum_down',
    'omega',
    'smtp_alert',
  );
  section.tell('lost', 'a name for SNMP has no equal', 'snmp_name');
  for (const quorum of section.all('quorum'))
    if (Number(quorum.words[1]) !== 1)
      section.note('lost', quorum, 'the sorry server answers when no server is left, not before');
  for (const hysteresis of section.all('hysteresis'))
    if (Number(hysteresis.words[1]) !== 0) section.note('lost', hysteresis, 'belongs to quorum');
  section.tell('lost', 'checks go on on both directors', 'ha_suspend');
  section.tell('lost', 'each datagram of a flow goes to the same server', 'ops');
  section.tell(
    'lost',
    'persistence is by a client’s whole address',
    'persistence_granularity',
    'persistence_engine',
    'nat_mask',
    'net_mask',
  );
  section.tell('ours', 'a sorry server is reached as the real servers are', 'sorry_server_lvs_method');
  section.tell('ours', 'the family is that of the VIP', 'ip_family');
}
