import { canonical, parseAddress } from '../../file/addresses.ts';
import type { Note, Place } from '../model.ts';
import type { Statement } from './blocks.ts';
import { Section } from './section.ts';

/** A vrrp_instance as one director has it. */
export interface Instance {
  name: string;
  place: Place;
  vips: { address: string; place: Place }[];
  advertMs: number | undefined;
  preempt: boolean;
  priority: number;
  master: boolean;
  /** It says BACKUP, with a priority that is not above the usual one. */
  backup: boolean;
  /** This director's own address, where adverts are unicast or their source is said. */
  own: string | undefined;
  peers: string[];
  unicast: boolean;
}

const groundless = 'a director’s agent and keepalived’s fit file say whether it may own the VIP';

/** What keepalived takes where a file gives none. */
const usualPriority = 100;

export function instanceOf(statement: Statement, notes: Note[]): Instance {
  const section = new Section(statement, notes);
  const state = section.value('state');
  const advert = section.number('advert_int');
  const priority = section.number('priority') ?? usualPriority;
  const own = section.value('unicast_src_ip', 'mcast_src_ip');
  const peers = section
    .all('unicast_peer')
    .flatMap(({ body, words }) => [...(body ?? []).map((line) => line.words[0]!), ...words.slice(1)])
    .filter((word) => parseAddress(word) !== undefined);
  const nopreempt = section.flag('nopreempt');
  section.flag('preempt');
  const vips = [...section.all('virtual_ipaddress'), ...section.all('virtual_ipaddress_excluded')].flatMap(
    (block) => addressesOf(block, notes),
  );
  tellOurs(section);
  tellLost(section);
  section.rest();
  return {
    name: statement.words[1] ?? 'VI',
    place: statement.place,
    vips,
    advertMs: advert === undefined ? undefined : Math.round(advert * 1000),
    preempt: nopreempt === undefined,
    priority,
    master: state?.toUpperCase() === 'MASTER',
    backup: state?.toUpperCase() === 'BACKUP' && priority <= usualPriority,
    own: own !== undefined && parseAddress(own)?.family === 4 ? own : undefined,
    peers: peers.map(canonical),
    unicast: peers.length > 0,
  };
}

function tellOurs(section: Section): void {
  section.tell(
    'ours',
    'the interface is the one that has the host’s address',
    'interface',
    'dont_track_primary',
  );
  section.tell('ours', 'follows from the names of cluster and director', 'virtual_router_id');
  section.tell('ours', 'VRRP version 3, with announcements of its own', 'version', 'native_ipv6');
  section.tell(
    'ours',
    'announcements are repeated and refreshed',
    ...['master', 'lower_prio'].flatMap((when) => [`garp_${when}_delay`, `garp_${when}_repeat`]),
    'garp_master_refresh',
    'garp_master_refresh_repeat',
    'garp_extra_if',
    'lower_prio_no_advert',
    'higher_prio_send_advert',
    'down_timer_adverts',
  );
  section.tell('ours', 'a director that returns waits 3 s before it takes the VIP back', 'preempt_delay');
  section.tell('ours', 'connections are shared between directors by themselves', 'lvs_sync_daemon_interface');
  section.tell(
    'ours',
    'the sender of unicast adverts is checked',
    'check_unicast_src',
    'skip_check_adv_addr',
  );
}

function tellLost(section: Section): void {
  section.tell('lost', 'VRRP version 3 has no authentication (RFC 5798, section 9)', 'authentication');
  section.tell(
    'lost',
    groundless,
    'track_interface',
    'track_script',
    'track_file',
    'track_process',
    'track_bfd',
    'track_src_ip',
  );
  section.tell(
    'lost',
    'nothing is run when a VIP moves: read `phalanx status --json`',
    'notify',
    'notify_master',
    'notify_backup',
    'notify_fault',
    'notify_stop',
    'notify_deleted',
    'notify_master_rx_lower_pri',
    'notify_priority_changes',
    'smtp_alert',
  );
  section.tell(
    'lost',
    'a VIP keeps the director’s own MAC address',
    'use_vmac',
    'use_vmac_addr',
    'vmac_xmit_base',
    'use_ipvlan',
  );
  section.tell('lost', 'routes and rules are the machine’s own', 'virtual_routes', 'virtual_rules');
  section.tell(
    'lost',
    'has no equal',
    'accept',
    'no_accept',
    'debug',
    'unicast_ttl',
    'mcast_dst_ip',
    'old_unicast_checksum',
    'unicast_fault_no_peer',
    'promote_secondaries',
    'no_virtual_ipaddress',
  );
}

/** `10.0.0.1/24 dev eth0 label eth0:1`, one a line or several. */
function addressesOf(block: Statement, notes: Note[]): Instance['vips'] {
  const lines = [
    ...(block.body ?? []),
    ...(block.words.length > 1 ? [{ ...block, words: block.words.slice(1) }] : []),
  ];
  return lines.flatMap(({ words, place }) => {
    const found = words.flatMap((word) => {
      const [address = '', prefix] = word.split('/');
      const parsed = parseAddress(address);
      if (parsed === undefined || !/^\d*$/.test(prefix ?? '')) return [];
      return [{ address: canonical(address), place }];
    });
    if (found.length === 0) notes.push({ kind: 'lost', place, what: words.join(' '), why: 'not an address' });
    const extra = words.filter((word) =>
      ['dev', 'label', 'scope', 'brd', 'src', 'preferred_lft'].includes(word),
    );
    if (found.length > 0 && extra.length > 0)
      notes.push({
        kind: 'ours',
        place,
        what: words.join(' '),
        why: 'the VIP stands alone (/32 or /128) on the interface that has the host’s address',
      });
    return found;
  });
}

/** Names in `vrrp_sync_group X { group { A B } }`, or without the inner block. */
export function groupOf(statement: Statement, notes: Note[]): string[] {
  const section = new Section(statement, notes);
  const inner = section
    .all('group')
    .flatMap(({ body, words }) => [...words.slice(1), ...(body ?? []).flatMap((line) => line.words)]);
  section.tell(
    'lost',
    'nothing is run when a VIP moves: read `phalanx status --json`',
    ...['notify', 'notify_master', 'notify_backup', 'notify_fault', 'notify_stop', 'smtp_alert'],
  );
  section.tell('lost', groundless, 'track_interface', 'track_script', 'track_file', 'global_tracking');
  // Old files name the instances in the block itself.
  const bare = (statement.body ?? []).filter(
    ({ words, body }) => body === undefined && words.every((word) => /^[A-Z]\w*$/.test(word)),
  );
  for (const one of bare) section.all(one.words[0]!);
  section.rest();
  return [...inner, ...bare.flatMap(({ words }) => words)];
}
