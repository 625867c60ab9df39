import type { HostSetting, MemberState } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { bySupervisor, sayUnits } from './systemd.ts';

/**
 * One script that tells everything of a host, for \`parseObserved\`: members (also those that no file knows any more), the
 * hashes of their files, whether settings hold, and facts. A fork or two a member and one sha256sum for all files.
 */
export function observeScript(root: string, settings: HostSetting[]): string {
  return `
say_fact() { printf '{"facts":{"kernel":"%s","memory":%s}}\\n' "$(uname -r)" "$((\${2:-0} * 1024))"; }
say_fact $(head -n 1 /proc/meminfo)
# What the member's own scripts wrote, in its own folder: believed only where it looks as they write it.
noted() {
  restarts=-1 hash=
  [ ! -f "$member/restarts" ] || { read -r restarts <"$member/restarts"; } 2>/dev/null
  [ ! -f "$member/running" ] || { read -r hash <"$member/running"; } 2>/dev/null
  case $restarts in -1) ;; '' | *[!0-9]*) restarts=-1 ;; esac
  case $hash in *[!0-9a-f]*) hash= ;; esac
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
  {
  [ ! -e ../kept.json ] || printf '../kept.json\\0'
  for member in *; do
    [ -f "$member/files.list" ] || continue
    while IFS= read -r path; do
      [ ! -f "$member/$path" ] || printf '%s\\0' "$member/$path"
    done <"$member/files.list"
  done
  } | xargs -0r sha256sum -- 2>/dev/null | sed -n 's/^\\([0-9a-f]*\\)  \\([^/"]*\\)\\/\\([^"\\]*\\)$/{"file":"\\3","of":"\\2","sha256":"\\1"}/p'
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

const saySupervised = `  for member in *; do
    [ -d "$member/service" ] || continue
    set -- $(s6-svstat -o up,pid,updownfor "../scan/$member" 2>/dev/null || echo false -1 -1)
    noted
    printf '{"member":"%s","running":%s,"pid":%s,"since":%s,"restarts":%s,"runningHash":"%s"}\\n' "$member" "$1" "$2" "$3" "$restarts" "$hash"
  done`;

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

/** The answer of \`observeScript\` as a value. Lines that are not its own are left to others. */
export function parseObserved(host: string, lines: Record<string, unknown>[]): HostObserved {
  const members = new Map<string, MemberState>();
  const observed: HostObserved = { members: [], settings: {}, facts: {} };
  for (const line of lines) {
    if (typeof line['member'] === 'string') {
      members.set(line['member'], memberState(host, line['member'], line));
    } else if (typeof line['file'] === 'string' && typeof line['of'] === 'string') {
      const state = members.get(line['of']);
      if (line['of'] === '..') observed.handed = String(line['sha256']);
      if (state !== undefined) state.files[line['file']] = String(line['sha256']);
    } else if (typeof line['release'] === 'string' && typeof line['of'] === 'string') {
      const state = members.get(line['of']);
      if (state !== undefined) state.releases = [...(state.releases ?? []), line['release']];
    } else if (typeof line['setting'] === 'string') {
      observed.settings[line['setting']] = line['ok'] === true;
    } else if (typeof line['facts'] === 'object' && line['facts'] !== null) {
      observed.facts = line['facts'];
    }
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
    ...(typeof line['runningHash'] === 'string' && line['runningHash'] !== ''
      ? { runningHash: line['runningHash'] }
      : {}),
  };
}
