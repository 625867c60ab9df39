import { missing } from '../packages.ts';
import { quote } from '../shell.ts';

/** What a real machine is; asked with every look at it, since it may be another one today. */
export interface MachineFacts {
  /** Of os-release(5): debian, ubuntu, ... and 12, 24.04, ... */
  os: string;
  version: string;
  /** What runs as process 1 and so what supervises members. */
  supervisor: 'systemd' | 's6';
  /** The interface that holds the host's address; absent when none does. */
  device?: string;
  /** Wanted packages that are not installed. */
  missing: string[];
}

/** The systems that members are known to run on. */
const supported: Record<string, string[]> = { debian: ['12', '13'], ubuntu: ['24.04'] };

/**
 * Sh that tells of the machine in JSON lines. A fork for the interface, one or two for the packages; the rest is the shell's own.
 */
export function factsScript(address: string, packages: string[]): string {
  return `
say_machine() {
  ID= VERSION_ID=
  [ ! -r /etc/os-release ] || . /etc/os-release
  if [ -d /run/systemd/system ] && read -r init </proc/1/comm && [ "$init" = systemd ]; then init=systemd; else init=s6; fi
  set -- $(ip -o addr show to ${quote(address)} 2>/dev/null)
  printf '{"machine":{"os":"%s","version":"%s","supervisor":"%s","device":"%s"}}\\n' "$ID" "$VERSION_ID" "$init" "\${2-}"
}
( say_machine )
${packages.length === 0 ? '' : `${missing(packages)} | sed 's/.*/{"missing":"&"}/'`}
`;
}

/** The answer of `factsScript`; undefined when it is not in there. */
export function parseFacts(lines: Record<string, unknown>[]): MachineFacts | undefined {
  const told = lines.find((line) => typeof line['machine'] === 'object')?.['machine'] as
    | { os: string; version: string; supervisor: MachineFacts['supervisor']; device: string }
    | undefined;
  if (told === undefined) return undefined;
  return {
    os: told.os,
    version: told.version,
    supervisor: told.supervisor,
    ...(told.device === '' ? {} : { device: told.device }),
    missing: lines.flatMap(({ missing }) =>
      typeof missing === 'string' && !(missing === 's6' && told.supervisor === 'systemd') ? [missing] : [],
    ),
  };
}

/** What keeps a machine from being a host of the cluster, a sentence each. */
export function unfitMachine(name: string, address: string, facts: MachineFacts): string[] {
  const reasons: string[] = [];
  if (!supported[facts.os]?.includes(facts.version))
    reasons.push(
      `${name} runs ${`${facts.os || 'an unknown system'} ${facts.version}`.trim()}: members run on Debian 12 or 13 and on Ubuntu 24.04`,
    );
  if (facts.device === undefined)
    reasons.push(
      `${name} has no interface with the address ${address} that the file gives it: set \`address:\` to one that it has`,
    );
  return reasons;
}
