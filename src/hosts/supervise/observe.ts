import type { HostSetting, MemberState } from '../../engines/engine.ts';
import type { RunResult } from '../host.ts';
import { quote } from '../shell.ts';
import { ownPaths } from './service.ts';
import { bySupervisor, sayUnits } from './systemd.ts';

/**
 * One script that tells everything of a host, for \`parseObserved\`: members (also those that no file knows any more), the
 * hashes of their files, whether settings hold, and facts. The shell does by itself what it can, since on many hosts processes are what
 * looking costs: one sha256sum for all files, and no other while members run.
 */
export function observeScript(root: string, settings: HostSetting[]): string {
  return `
say_facts() {
  read -r kernel </proc/sys/kernel/osrelease
  read -r _ memory _ </proc/meminfo
  printf '{"facts":{"kernel":"%s","memory":%s}}\\n' "$kernel" "$((memory * 1024))"
}
say_facts
# What the member's own scripts wrote, in its own folder: believed only where it looks as they write it.
noted() {
  restarts=-1 hash= pid= parent= began=
  [ ! -f "$member/restarts" ] || { read -r restarts <"$member/restarts"; } 2>/dev/null
  [ ! -f "$member/running" ] || { read -r hash pid parent began <"$member/running"; } 2>/dev/null
  case $restarts in -1) ;; '' | *[!0-9]*) restarts=-1 ;; esac
  case $hash in *[!0-9a-f]*) hash= ;; esac
  case $pid$parent$began in *[!0-9]*) pid= ;; esac
}
say_members() {
${bySupervisor(root, sayUnits(root), saySupervised)}
}
say_releases() {
  for release in */release/*; do
    case \${release##*/} in *[!A-Za-z0-9._-]*) continue ;; esac
    [ ! -d "$release" ] || printf '{"of":"%s","release":"%s"}\\n' "\${release%%/*}" "\${release##*/}"
  done
}
say_files() {
  set --
  [ ! -e ../kept.json ] || set -- ../kept.json
  for member in *; do
    [ -f "$member/files.list" ] || continue
    for path in ${ownPaths.join(' ')}; do
      [ ! -f "$member/$path" ] || set -- "$@" "$member/$path"
    done
    # The member's user can write this list: however long it is, and its lines, others are told of all the same.
    while IFS= read -r path; do
      [ \${#path} -le 500 ] && [ -f "$member/$path" ] || continue
      set -- "$@" "$member/$path"
      [ $# -lt 200 ] || { sha256sum -- "$@" 2>/dev/null; set --; }
    done <"$member/files.list"
  done
  [ $# -eq 0 ] || sha256sum -- "$@" 2>/dev/null
}
if cd ${quote(`${root}/members`)} 2>/dev/null; then
  say_members
  say_files
  say_releases
  cd /
fi
${settings.map(settingLine).join('\n')}
`;
}

/**
 * A member that runs is known by its process, which wrote down who it is as it started (runScript) and is still the child of the
 * member's own supervisor; of any other s6-svstat tells.
 */
const saySupervised = `  runs() {
    [ -n "$pid" ] && [ -n "$parent" ] && [ -n "$began" ] && [ "/proc/$parent/cwd" -ef "$member/service" ] || return 1
    children=
    read -r children <"/proc/$parent/task/$parent/children"
    case " $children " in *" $pid "*) ;; *) return 1 ;; esac
  }
  read -r uptime _ </proc/uptime
  for member in *; do
    [ -d "$member/service" ] || continue
    noted
    if runs; then
      set -- true "$pid" $((\${uptime%%.*} - began))
    else
      set -- $(s6-svstat -o up,pid,updownfor "../scan/$member" || echo false -1 -1)
    fi
    printf '{"member":"%s","running":%s,"pid":%s,"since":%s,"restarts":%s,"runningHash":"%s"}\\n' "$member" "$1" "$2" "$3" "$restarts" "$hash"
  done 2>/dev/null`;

function settingLine(setting: HostSetting): string {
  const says = (ok: boolean) => `printf '%s\\n' ${quote(JSON.stringify({ setting: setting.title, ok }))}`;
  return `if (
${setting.check}
) </dev/null >/dev/null 2>&1; then ${says(true)}; else ${says(false)}; fi`;
}

export interface HostObserved {
  members: MemberState[];
  /** sha256 of what the host holds for another control machine (cluster/handed.ts). */
  handed?: string;
  /** Title -> it is so. */
  settings: Record<string, boolean>;
  facts: {
    /** As uname -r says it. */
    kernel?: string;
    /** Bytes. */
    memory?: number;
  };
}

/** The answer of \`observeScript\` as a value. What is not its own is left to others. */
export function parseObserved(
  host: string,
  { lines, text }: Pick<RunResult, 'lines' | 'text'>,
): HostObserved {
  const members = new Map<string, MemberState>();
  const observed: HostObserved = { members: [], settings: {}, facts: {} };
  for (const line of lines) {
    if (typeof line['member'] === 'string') {
      members.set(line['member'], memberState(host, line['member'], line));
    } else if (typeof line['release'] === 'string' && typeof line['of'] === 'string') {
      const state = members.get(line['of']);
      if (state !== undefined) state.releases = [...(state.releases ?? []), line['release']];
    } else if (typeof line['setting'] === 'string') {
      observed.settings[line['setting']] = line['ok'] === true;
    } else if (typeof line['facts'] === 'object' && line['facts'] !== null) {
      observed.facts = line['facts'];
    }
  }
  // As sha256sum(1) prints them: MEMBER/PATH, and ../kept.json. Lines end with \n and with nothing else that a name may hold.
  for (const line of text.split('\n')) {
    const [, sha256, of, path] = /^([0-9a-f]{64}) [ *]([^/]+)\/(.+)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const state = members.get(of!);
    if (of === '..') observed.handed = sha256!;
    else if (state === undefined) continue;
    else if (ownPaths.some((own) => own === path)) state.own![path!] = sha256!;
    else state.files[path!] = sha256!;
  }
  observed.members = [...members.values()];
  return observed;
}

function memberState(host: string, name: string, line: Record<string, unknown>): MemberState {
  const known = (key: string) => {
    const value = line[key];
    return typeof value === 'number' && value >= 0 ? { [key]: value } : {};
  };
  const running = line['running'] === true;
  return {
    name,
    host,
    reachable: true,
    present: true,
    running,
    ...(running ? known('pid') : {}),
    ...known('since'),
    ...known('restarts'),
    files: {},
    own: {},
    ...(typeof line['runningHash'] === 'string' && line['runningHash'] !== ''
      ? { runningHash: line['runningHash'] }
      : {}),
  };
}
