import { createHash } from 'node:crypto';
import type { Member } from '../../engines/engine.ts';
import { quote } from '../shell.ts';

/*
 * A member's folder on its host:
 *
 *   env           its environment, 0600: nothing of it is ever in an argument list
 *   files.list    the paths that Phalanx wrote, for `observeScript`
 *   running       the hash of what the running process was started with, its number, its supervisor's, and the uptime at its start (s)
 *   restarts      how often it died since it was last started on purpose
 *   ended         how its last process ended: exit status (256: by a signal) and signal
 *   service/      the s6 service folder: run, finish, down-signal, timeout-kill, log/run (s6-svscan(1), s6-supervise(1))
 *   log/          what it said, by s6-log: `current` and ten old ones of a megabyte
 *   release/      unpacked releases, `current` pointing at the one in use
 */

/** What starts and ends a member, in the order in which it is written. */
export const ownPaths = [
  'env',
  'service/finish',
  'service/down-signal',
  'service/timeout-kill',
  'service/log/run',
  'service/run',
] as const;

/** What is needed to stop and remove a member; also of one that the file no longer has. */
export type Stoppable = Pick<Member, 'name' | 'stop'>;

export function memberFolder(member: { name: string }, root: string): string {
  return `${root}/members/${member.name}`;
}

/** Where s6-svscan finds the member: a link to its service folder. */
export function scanEntry(member: { name: string }, root: string): string {
  return `${root}/scan/${member.name}`;
}

/** The folder of the member's log: `current` is the newest, each line begins with its time (ISO 8601, the machine's zone). */
export function logFolder(member: { name: string }, root: string): string {
  return `${memberFolder(member, root)}/log`;
}

/** Hash over everything that the process only takes by being started again. */
export function restartHash(member: Member, releaseHash?: string): string {
  const files = member.files
    .filter((file) => file.onChange === 'restart' && file.owned === undefined)
    .map(({ path, content, mode }) => [path, content, mode])
    .sort();
  const all = [
    member.command,
    member.cwd ?? '',
    Object.entries(member.env).sort(),
    [member.limits.memory ?? 0, member.limits.openFiles ?? 0],
    releaseHash ?? '',
    files,
  ];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

/** The member's environment as sh reads it. PHALANX_FOLDER also marks the process and all that it starts, see `leftovers`. */
export function envFile(member: Member, root: string): string {
  const folder = memberFolder(member, root);
  const env = { ...member.env, PHALANX_MEMBER: member.name, PHALANX_FOLDER: folder };
  return Object.entries(env)
    .map(([name, value]) => {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
        throw new Error(`${member.name}: ${name} is no name of an environment variable`);
      return `export ${name}=${quote(value)}\n`;
    })
    .join('');
}

/**
 * The service's run script. The command becomes the supervisor's direct child, in a session of its own.
 *
 * The memory limit is a memory cgroup's, for the process and all that it starts together; a machine where none can be made
 * (some containers) says so in the log. No resource limit does it: RLIMIT_AS and RLIMIT_DATA (setrlimit(2)) count what node
 * and Java merely reserve (V8's code range alone is half a gigabyte of it), RLIMIT_RSS does nothing.
 */
export function runScript(member: Member, root: string, hash: string): string {
  const folder = memberFolder(member, root);
  const { memory, openFiles } = member.limits;
  return [
    '#!/bin/sh',
    'exec 2>&1',
    `cd ${quote(folder)} || exit 111`,
    leftovers(folder),
    'read -r uptime _ </proc/uptime',
    `echo ${hash} $$ $PPID "\${uptime%%.*}" >running.new && mv running.new running || exit 111`,
    '. ./env',
    ...(openFiles === undefined ? [] : [`ulimit -n ${openFiles} || exit 111`]),
    ...(memory === undefined ? [] : [limitMemory(memoryGroup(member, root), memory)]),
    ...(member.cwd === undefined ? [] : [`cd ${quote(member.cwd)} || exit 111`]),
    executed(member.command),
    '',
  ].join('\n');
}

/**
 * The command as the last line of the script. It must become the supervisor's direct child, which alone is sent signals: dash
 * (0.5.12, Debian 12) does not replace itself by the command of `sh -c`, so a simple command is given to exec. Of
 * several in one line only the last can be the process to keep, and it is for the line to say `exec` before it.
 */
export function executed(command: string): string {
  const line = command.trim().replace(/^exec\s+/, '');
  const unquoted = line.replace(/'[^']*'|"(?:\\.|[^"\\])*"/g, '');
  if (/[;&|\n]/.test(unquoted)) return `exec sh -c ${quote(command.trim())}`;
  return /^[A-Za-z_][A-Za-z0-9_]*=/.test(line) ? `exec env ${line}` : `exec ${line}`;
}

/** Counts the death, keeps how it was (for the member's next start to look at), and takes with it what the dead process left behind. */
export function finishScript(member: { name: string }, root: string): string {
  const folder = memberFolder(member, root);
  return `#!/bin/sh
cd ${quote(folder)} || exit 0
${leftovers(folder)}
${removeMemoryGroups(memoryGroup(member, root))}
echo "$1 $2" >ended.new && mv ended.new ended
read -r deaths <restarts || deaths=0
echo $((deaths + 1)) >restarts.new && mv restarts.new restarts
exit 0
`;
}

/**
 * Kills whatever the member's earlier processes started and did not end, so that no orphan keeps its port: all that carry
 * its PHALANX_FOLDER in their environment, also those that made a session of their own. Runs before that is in ours.
 */
function leftovers(folder: string): string {
  return `passes=0
# Not by grep's exit status: it is 2 as soon as a process ended while it looked.
while left=$(grep -lszxF ${quote(`PHALANX_FOLDER=${folder}`)} /proc/[0-9]*/environ); [ -n "$left" ] && [ $passes -lt 200 ]; do
  for process in $left; do
    process=\${process#/proc/}
    kill -KILL "\${process%/environ}" 2>/dev/null
  done
  passes=$((passes + 1))
done`;
}

/** The name of the member's memory cgroup: unique on the machine, since a lab's hosts share their cgroups. */
function memoryGroup(member: { name: string }, root: string): string {
  return `${memoryGroupsOf(root)}${member.name}`;
}

/** What the names of the memory cgroups of a host's members begin with. */
export function memoryGroupsOf(root: string): string {
  return `phalanx-${createHash('sha256').update(root).digest('hex').slice(0, 8)}-`;
}

/** Version 1 has a tree of its own for memory, in version 2 the root must hand the controller down (cgroups(7)). */
function limitMemory(group: string, bytes: number): string {
  return `limit_memory() {
  if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    group=/sys/fs/cgroup/memory/${group} limit=memory.limit_in_bytes
  elif grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then
    grep -qsw memory /sys/fs/cgroup/cgroup.subtree_control || echo +memory >/sys/fs/cgroup/cgroup.subtree_control || return 1
    group=/sys/fs/cgroup/${group} limit=memory.max
  else
    return 1
  fi
  mkdir -p "$group" && echo ${bytes} >"$group/$limit" && echo 0 >"$group/cgroup.procs"
}
# Under systemd the unit has the limit.
[ -n "\${INVOCATION_ID-}" ] || limit_memory 2>/dev/null || echo 'the memory limit of ${bytes} bytes is not in force: this machine lets no memory cgroup be made'`;
}

/** Removes the memory cgroups of that name (a shell pattern); their processes are dead. */
export function removeMemoryGroups(pattern: string): string {
  return `rmdir /sys/fs/cgroup/memory/${pattern} /sys/fs/cgroup/${pattern} 2>/dev/null`;
}

/** Ten files of a megabyte beside \`current\`, each line with its time. */
export function logRunScript(member: { name: string }, root: string): string {
  return `#!/bin/sh
exec s6-log -b n10 s1000000 T ${quote(logFolder(member, root))}
`;
}
