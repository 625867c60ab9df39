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
  /** Only flows to these are told of. */
  vips: string[];
}

/**
 * conntrackd.conf for the flows of `fullnat`, whose translations live in the kernel's connection tracking of one
 * director only. Reliable (FTFW) over unicast UDP; the peer's entries go straight into the kernel, so that a takeover needs no script
 * to commit them. Paths are relative to the member's folder, which is conntrackd's working folder. See conntrackd.conf(5).
 */
export function conntrackdConfig(sync: Conntrackd): string {
  const v4 = sync.vips.filter((vip) => !isIPv6(vip));
  const v6 = sync.vips.filter((vip) => isIPv6(vip));
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
    '  LockFile conntrackd.lock',
    '  UNIX {',
    '    Path conntrackd.ctl',
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

/** Runs conntrackd in the foreground (without -d it does not leave it), in its member's folder. */
export const conntrackdCommand = 'conntrackd -C conntrackd.conf';
