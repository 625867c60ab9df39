import { parseAddress } from '../../file/addresses.ts';
import type { Director, Found, Note, Owner } from '../model.ts';
import { parseBlocks, type Statement } from './blocks.ts';
import { type Included, readLines } from './lines.ts';
import { Section } from './section.ts';
import { type Group, virtualGroupOf, virtualOf } from './virtuals.ts';
import { groupOf, type Instance, instanceOf } from './vrrp.ts';

/** One director's view of the file. */
interface View {
  found: Found;
  instances: Instance[];
  groups: string[][];
}

/**
 * Reads keepalived.conf. A file with conditions (`@lb1 ...`) is several directors' at once: it is read once for each of
 * their ids, or for `id` alone when that is given.
 */
export function readKeepalived(
  entry: { path: string; text: string },
  included: Included,
  id: string | undefined,
): Found {
  const { ids } = readLines(entry, included, id);
  const names = id !== undefined ? [id] : ids.length > 0 ? ids : [undefined];
  const views = names.map((name) => ({ name, view: viewOf(entry, included, name) }));
  const first = views[0]!.view.found;
  const notes = distinct(views.flatMap(({ view }) => view.found.notes));
  const several = views.length > 1;
  const directors = several ? byCondition(views) : byAdverts(views[0]!.view, id, notes);
  for (const { name, view } of views.slice(1))
    if (summary(view.found) !== summary(first))
      notes.push({
        kind: 'lost',
        place: { file: entry.path, line: 1 },
        what: `@${name}`,
        why: `has other virtual servers than @${views[0]!.name}, whose are written: import once for each with --id`,
      });
  return {
    ...(first.name === undefined || several ? {} : { name: first.name }),
    virtuals: first.virtuals,
    owners: ownersOf(views, directors, notes),
    directors,
    notes,
  };
}

const summary = ({ virtuals }: Found): string =>
  JSON.stringify(
    virtuals.map(({ at, targets }) => [
      at.map(({ address, ports }) => [address, ports]),
      targets.map(({ address, port }) => [address, port]),
    ]),
  );

function distinct(notes: Note[]): Note[] {
  const byText = new Map(notes.map((note) => [JSON.stringify([note.place, note.what, note.why]), note]));
  return [...byText.values()];
}

function viewOf(entry: { path: string; text: string }, included: Included, id: string | undefined): View {
  const { lines, notes } = readLines(entry, included, id);
  const blocks = parseBlocks(lines);
  notes.push(...blocks.notes);
  const of = (keyword: string): Statement[] => blocks.statements.filter(({ words }) => words[0] === keyword);
  for (const { words, place } of blocks.statements)
    for (const word of words)
      if (/\$\{?\w/.test(word)) {
        const why = 'a parameter that this file does not define, or that keepalived makes up';
        notes.push({ kind: 'lost', place, what: word, why });
      }
  const groups = new Map(
    of('virtual_server_group').map((one): [string, Group] => {
      const group = virtualGroupOf(one, notes);
      return [group.name, group];
    }),
  );
  const virtuals = of('virtual_server').flatMap((one) => virtualOf(one, groups, notes) ?? []);
  const instances = of('vrrp_instance').map((one) => instanceOf(one, notes));
  const together = of('vrrp_sync_group').map((one) => groupOf(one, notes));
  let name: string | undefined;
  let tcpIdle: number | undefined;
  let udpIdle: number | undefined;
  for (const one of of('global_defs')) {
    const section = new Section(one, notes);
    name = section.value('router_id') ?? name;
    for (const timeouts of section.all('lvs_timeouts')) {
      tcpIdle = after(timeouts.words, 'tcp') ?? tcpIdle;
      udpIdle = after(timeouts.words, 'udp') ?? udpIdle;
      if (timeouts.words.includes('tcpfin')) section.note('lost', timeouts, 'tcpfin has no equal');
    }
    tellGlobal(section);
  }
  for (const virtual of virtuals) {
    const idle = virtual.proto === 'tcp' ? tcpIdle : udpIdle;
    if (idle !== undefined && idle >= 1) virtual.idleMs = idle * 1000;
  }
  const known = ['virtual_server_group', 'virtual_server', 'vrrp_instance', 'vrrp_sync_group', 'global_defs'];
  for (const { words, place } of blocks.statements)
    if (!known.includes(words[0]!))
      notes.push({ kind: 'lost', place, what: words.join(' '), why: topWhy(words[0]!) });
  return {
    found: { ...(name === undefined ? {} : { name }), virtuals, owners: [], directors: [], notes },
    instances,
    groups: together,
  };
}

function after(words: string[], word: string): number | undefined {
  const value = Number(words[words.indexOf(word) + 1]);
  return words.includes(word) && Number.isFinite(value) ? value : undefined;
}

function topWhy(keyword: string): string {
  if (
    /^(vrrp_)?(script|track_process)$|^(vrrp_)?track_(file|process|group)$|^bfd_instance$|^vrrp_script$/.test(
      keyword,
    )
  )
    return 'the agent’s own checks and keepalived’s fit file say whether a director may own the VIP';
  if (/^static_/.test(keyword)) return 'addresses, routes and rules of the machine are its own';
  if (keyword === 'SSL') return 'checks over TLS show no certificate';
  return 'this keyword has no equal';
}

function tellGlobal(section: Section): void {
  section.tell(
    'lost',
    'no mail is sent: read `phalanx status --json`',
    'notification_email',
    'notification_email_from',
    'smtp_server',
    'smtp_connect_timeout',
    'smtp_helo_name',
    'smtp_alert',
    'smtp_alert_vrrp',
    'smtp_alert_checker',
    'no_email_faults',
    'no_checker_emails',
  );
  section.tell('ours', 'connections are shared between directors by themselves', 'lvs_sync_daemon');
  section.tell('ours', 'tables are kept and read back, never flushed', 'lvs_flush', 'lvs_flush_on_stop');
  section.tell(
    'ours',
    'VRRP is set up by Phalanx',
    ...(section.statement.body ?? [])
      .map(({ words }) => words[0]!)
      .filter((word) => word.startsWith('vrrp_')),
    'default_interface',
    'use_pid_dir',
  );
  section.tell('lost', 'checks run as the agent does', 'script_user', 'enable_script_security');
  section.tell(
    'lost',
    'has no equal',
    'enable_traps',
    'enable_snmp_vrrp',
    'enable_snmp_checker',
    'enable_dbus',
  );
  section.rest();
}

/** Directors of a file with conditions: its ids. */
function byCondition(views: { name: string | undefined; view: View }[]): Director[] {
  return views.map(({ name, view }): Director => {
    const own = view.instances.find((one) => one.own !== undefined)?.own;
    return { name: name!, ...(own === undefined ? {} : { address: own }) };
  });
}

/** Directors of a file that is one director's: itself and those that it sends adverts to. */
function byAdverts(view: View, id: string | undefined, notes: Note[]): Director[] {
  const own = view.instances.find((one) => one.own !== undefined)?.own;
  const peers = [...new Set(view.instances.flatMap((one) => one.peers))].filter(
    (peer) => peer !== own && parseAddress(peer)?.family === 4,
  );
  const self: Director = { name: id ?? 'lb1', ...(own === undefined ? {} : { address: own }) };
  const others = peers.map((address, i): Director => ({ name: `lb${i + 2}`, address }));
  if (others.length === 0) others.push({ name: 'lb2' });
  const [first] = view.instances;
  if (first)
    notes.push({
      kind: 'differs',
      place: first.place,
      what: `vrrp_instance ${first.name}`,
      why:
        peers.length > 0
          ? 'the other directors’ priorities are in their own files: this one is first where it is MASTER'
          : 'the file does not name the other directors: one more is written; give them their addresses in `hosts`',
    });
  return [self, ...others];
}

/** What moves together: the instances, and those of one sync group as one. */
function ownersOf(
  views: { name: string | undefined; view: View }[],
  directors: Director[],
  notes: Note[],
): Owner[] {
  const [{ view }] = views as [{ name: string | undefined; view: View }];
  const owners = new Map<string, { owner: Owner; members: string[] }>();
  for (const instance of view.instances) {
    const group = view.groups.findIndex((names) => names.includes(instance.name));
    const key = group < 0 ? instance.name : `group ${group}`;
    const known = owners.get(key);
    if (known) {
      known.owner.vips.push(...instance.vips);
      known.members.push(instance.name);
      continue;
    }
    const owner: Owner = {
      vips: [...instance.vips],
      ...(instance.advertMs === undefined ? {} : { advertMs: instance.advertMs }),
      preempt: instance.preempt,
      unicast: instance.unicast,
      order: orderOf(instance, views, directors),
    };
    owners.set(key, { owner, members: [instance.name] });
    if (instance.advertMs !== undefined && (instance.advertMs > 10_000 || instance.advertMs % 10 !== 0))
      notes.push({
        kind: 'differs',
        place: instance.place,
        what: `advert_int ${instance.advertMs / 1000}`,
        why: 'written within what VRRP version 3 takes here: from 10 ms to 10 s, in hundredths of a second',
      });
  }
  return [...owners.values()].map(({ owner }) => owner);
}

function orderOf(
  instance: Instance,
  views: { name: string | undefined; view: View }[],
  directors: Director[],
): string[] {
  const names = directors.map(({ name }) => name);
  // One director's file: it comes last only where it says that it is not the first.
  if (views.length === 1) return instance.backup ? [...names.slice(1), names[0]!] : names;
  const rank = (name: string): number => {
    const { view } = views.find((one) => one.name === name)!;
    const same = view.instances.find((one) => one.name === instance.name);
    return (same?.priority ?? 0) + (same?.master ? 0.5 : 0);
  };
  return [...names].sort((a, b) => rank(b) - rank(a));
}
