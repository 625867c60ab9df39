import type { RunResult } from '../host.ts';
import { installedPackages, parseInstalled } from '../packages.ts';
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
 * Sh that tells of the machine, for `parseFacts`: a process for the packages, one for the interface where the machine was not
 * reached by the address itself; the rest is the shell's own. `device` is the interface that held the address before.
 */
export function factsScript(address: string, packages: string[], device = ''): string {
  return `
say_machine() {
  id= version= supervisor=s6
  [ ! -r /etc/os-release ] || while IFS='=' read -r key value; do
    value=\${value#[\\"\\']} value=\${value%[\\"\\']}
    case $key in ID) id=$value ;; VERSION_ID) version=$value ;; esac
    [ -z "$id" ] || [ -z "$version" ] || break
  done </etc/os-release
  if [ -d /run/systemd/system ] && read -r init </proc/1/comm && [ "$init" = systemd ]; then supervisor=systemd; fi
  printf '{"machine":{"os":"%s","version":"%s","supervisor":"%s"}}\\n' "$id" "$version" "$supervisor"
  # The address at which sshd was reached is the machine's. A port of a bridge or bond holds none: it has moved there.
  set -- \${SSH_CONNECTION-}
  if [ "\${3-}" = ${quote(address)} ] && [ -n ${quote(device)} ] && [ -e ${quote(`/sys/class/net/${device}`)} ] && [ ! -e ${quote(`/sys/class/net/${device}/master`)} ]; then
    printf '{"device":"%s"}\\n' ${quote(device)}
  else
    ip -o addr show to ${quote(address)} 2>/dev/null
  fi
}
say_machine
${packages.length === 0 ? '' : installedPackages(packages)}
`;
}

/** The answer of `factsScript` for these packages; undefined when it is not in there. */
export function parseFacts(
  { lines, text }: Pick<RunResult, 'lines' | 'text'>,
  packages: string[],
): MachineFacts | undefined {
  const told = lines.find((line) => typeof line['machine'] === 'object')?.['machine'] as
    | { os: string; version: string; supervisor: MachineFacts['supervisor'] }
    | undefined;
  if (told === undefined) return undefined;
  // As ip-address(8) prints it with -o: `2: eth0    inet 10.0.0.7/24 ...`.
  const device =
    lines.find((line) => typeof line['device'] === 'string')?.['device'] ??
    /^\d+: (\S+)\s+inet6? /m.exec(text)?.[1];
  const installed = parseInstalled(text);
  return {
    ...told,
    ...(device === undefined ? {} : { device: String(device) }),
    missing: packages.filter(
      (name) => !installed.has(name) && !(name === 's6' && told.supervisor === 'systemd'),
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
