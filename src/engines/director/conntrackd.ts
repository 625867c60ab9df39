import { isIPv6 } from 'node:net';

export interface Conntrackd {
  /** This director's address. */
  address: string;
  /** The other director's: conntrackd's reliable mode joins two. */
  peer: string;
  /** UDP port on both. */
  port: number;
  /** The interface that carries the cluster's network. */
  device: string;
  /** Addresses of the real servers: only flows to these are told of. */
  servers: string[];
  /** Absolute path of the member's folder: conntrackd takes no other paths. */
  folder: string;
}

/**
 * conntrackd.conf for the flows of `fullnat`, whose translations live in the kernel's connection tracking of one
 * director only. Reliable (FTFW) over unicast UDP; the peer's entries go straight into the kernel, so that a takeover needs no script
 * to commit them. Its filter looks at a flow's first source and at who replies, never at the VIP, so that flows are chosen by their
 * real servers. They survive only where their source is a translated address that moves as well: snat to the VIP, not
 * masquerade. See conntrackd.conf(5).
 */
export function conntrackdConfig(sync: Conntrackd): string {
  const v4 = sync.servers.filter((vip) => !isIPv6(vip));
  const v6 = sync.servers.filter((vip) => isIPv6(vip));
  const family = isIPv6(sync.address) ? 'IPv6' : 'IPv4';
  const lines = [
    'Sync {',
    '  Mode FTFW {',
    '    DisableExternalCache On',
    '    StartupResync Yes',
    '  }',
    '  UDP {',
    `    ${family}_address ${sync.address}`,
    `    ${family}_Destination_Address ${sync.peer}`,
    `    Port ${sync.port}`,
    `    Interface ${sync.device}`,
    '    SndSocketBuffer 1249280',
    '    RcvSocketBuffer 1249280',
    '    Checksum On',
    '  }',
    '}',
    'General {',
    '  HashSize 32768',
    '  HashLimit 524288',
    '  LogFile Off',
    '  Syslog Off',
    `  LockFile ${sync.folder}/conntrackd.lock`,
    '  UNIX {',
    `    Path ${sync.folder}/conntrackd.ctl`,
    '  }',
    '  NetlinkBufferSize 2097152',
    '  NetlinkBufferSizeMaxGrowth 8388608',
    '  NetlinkEventsReliable On',
    '  Filter From Userspace {',
    '    Protocol Accept {',
    '      TCP',
    '      UDP',
    '    }',
    '    Address Accept {',
    ...v4.map((vip) => `      IPv4_address ${vip}`),
    ...v6.map((vip) => `      IPv6_address ${vip}`),
    '    }',
    '  }',
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Runs conntrackd in the foreground (without -d it does not leave it), in its member's folder. The lock that a killed one left
 * would keep it from starting for ever; that only one runs is the supervisor's business.
 */
export const conntrackdCommand = 'rm -f conntrackd.lock conntrackd.ctl; exec conntrackd -C conntrackd.conf';
