import type { Member } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { asOwner } from './owner.ts';
import { logFolder, memberFolder, type Stoppable, scanEntry } from './service.ts';
import {
  bySupervisor,
  diedUnit,
  hupUnit,
  isLab,
  pidOfUnit,
  removeUnit,
  restartUnit,
  startUnit,
  stopUnit,
  unitLog,
  unitWantedUp,
} from './systemd.ts';

/** How long a supervisor may take to appear, or a process to be started; it takes milliseconds. */
const superviseMs = 10_000;

/** Starts the member, supervised, also again after every boot of its host; done when its process is there. Running already: nothing. */
export function startFragment(member: Stoppable, root: string): string {
  return bySupervisor(
    root,
    startUnit(member, root),
    `${supervised(member, root)}
[ "$(s6-svstat -o up ${scan(member, root)})" = true ] || echo 0 >${quote(`${memberFolder(member, root)}/restarts`)}
${up(member, root)}`,
  );
}

/** Stops the member gracefully and starts it again with what is now written. */
export function restartFragment(member: Stoppable, root: string): string {
  return bySupervisor(
    root,
    restartUnit(member, root),
    `${supervised(member, root)}
${down(member, root)}
echo 0 >${quote(`${memberFolder(member, root)}/restarts`)}
${up(member, root)}`,
  );
}

/**
 * Sends the member its stop signal, SIGKILL once its time is over, and returns when it and all that it started are gone.
 * It stays down, also when its host boots again, until it is started. Not there: nothing.
 */
export function stopFragment(member: Stoppable, root: string): string {
  const service = quote(`${memberFolder(member, root)}/service`);
  const s6 = `if [ -d ${service} ]; then
  : >${service}/down
  if s6-svok ${scan(member, root)} 2>/dev/null; then
    ${down(member, root)}
  fi
fi`;
  return `set -eu\n${bySupervisor(root, stopUnit(member, root), s6)}`;
}

/** Sends the member SIGHUP; fails when it does not run. */
export function hupFragment(member: { name: string }, root: string): string {
  return bySupervisor(
    root,
    hupUnit(member, root),
    `set -eu
if [ "$(s6-svstat -o up ${scan(member, root)} 2>/dev/null)" != true ]; then
  ${fail(`${member.name} does not run, so it cannot take in its new files`)}
fi
s6-svc -h ${scan(member, root)}`,
  );
}

/**
 * Stops the member, takes it away from the supervisor and deletes its folder, all but the paths in \`data\`; with purge all.
 * Removed already: nothing.
 */
export function removeFragment(
  member: Stoppable & Pick<Member, 'data'>,
  root: string,
  options: { purge: boolean },
): string {
  const folder = quote(memberFolder(member, root));
  const unlink = `if [ -L ${scan(member, root)} ]; then
  s6-svunlink -t ${superviseMs} ${quote(`${root}/scan`)} ${quote(member.name)} || rm -f ${scan(member, root)}
fi`;
  // What the member has made outside of its folder it takes away itself, as who it ran as.
  return `${stopFragment(member, root)}
[ ! -x ${folder}/retire ] || ${asOwner(member, root, `cd ${folder} && . ./env && exec ./retire`)} || exit 1
${bySupervisor(root, removeUnit(member, root), unlink)}
${clearFragment(member, root, options)}`;
}

/** Deletes the folder of a member that nobody supervises, all but the paths in \`data\`; with purge all. Deleted already: nothing. */
export function clearFragment(
  member: Pick<Member, 'name' | 'data'>,
  root: string,
  { purge }: { purge: boolean },
): string {
  const folder = quote(memberFolder(member, root));
  const kept = purge ? [] : member.data.map((path) => path.replace(/^\.\/|\/+$/g, ''));
  return kept.length === 0 ? `rm -rf ${folder}` : keepOnly(folder, kept);
}

/**
 * Fails when the member died since it was started on purpose, or is not up: says so with the last five lines of its log.
 * For whoever waits in vain for it to be ready, or wants to know early.
 */
export function diedFragment(member: { name: string }, root: string): string {
  const log = quote(`${logFolder(member, root)}/current`);
  const s6 = `deaths=0
read -r deaths <${quote(`${memberFolder(member, root)}/restarts`)} || :
state=$(s6-svstat ${scan(member, root)} 2>&1) || :
if [ "$deaths" != 0 ]; then
  { echo ${quote(`${member.name} dies after its start:`)} "$deaths times so far; now $state; its log ends:"; tail -n 5 ${log}; } >&2
  exit 1
fi
case $state in
up*) ;;
*)
  { echo ${quote(`${member.name} is not up:`)} "$state; its log ends:"; tail -n 5 ${log}; } >&2
  exit 1
  ;;
esac`;
  return bySupervisor(root, diedUnit(member, root), s6);
}

/** Prints the process id of the member as its host numbers it; fails, or prints 0 or less, when it does not run. */
export function pidFragment(member: { name: string }, root: string): string {
  return bySupervisor(root, pidOfUnit(member, root), `s6-svstat -o pid ${scan(member, root)}`);
}

/** Sh condition: the member is to run, also while it is between a death and its next start. */
export function wantedUp(member: { name: string }, root: string): string {
  const s6 = `[ "$(s6-svstat -o wantedup ${scan(member, root)} 2>/dev/null)" = true ]`;
  return bySupervisor(root, unitWantedUp(member, root), s6);
}

/** Prints the last lines of the member's log, times first; with `follow` also those to come, until it is ended. */
export function logFragment(member: { name: string }, root: string, lines: number, follow = false): string {
  const log = quote(`${logFolder(member, root)}/current`);
  return bySupervisor(
    root,
    unitLog(member, root, lines, follow),
    `exec tail -n ${lines}${follow ? ' -F' : ''} ${log}`,
  );
}

/**
 * Sh: makes sure that the host's supervisor runs. A lab host's is its process 1; a real machine without systemd is given
 * one, in a session of its own.
 */
function scanning(root: string): string {
  const folder = quote(`${root}/scan`);
  return `if ! s6-svscanctl -a ${folder} 2>/dev/null; then
  mkdir -p ${folder}
  setsid s6-svscan ${folder} </dev/null >>${quote(`${root}/scan.log`)} 2>&1 &
  passes=0
  while ! s6-svscanctl -a ${folder} 2>/dev/null && [ $passes -lt 200 ]; do
    passes=$((passes + 1))
    sleep 0.05
  done
fi
`;
}

/** Takes away what a real machine's supervisor needed, once no member is left there. Done already: nothing. */
export function endSupervision(root: string): string {
  const folder = quote(`${root}/scan`);
  return bySupervisor(
    root,
    ':',
    `if s6-svscanctl -t ${folder} 2>/dev/null; then
  passes=0
  while s6-svscanctl -a ${folder} 2>/dev/null && [ $passes -lt 200 ]; do
    passes=$((passes + 1))
    sleep 0.05
  done
fi
rm -rf ${folder} ${quote(`${root}/scan.log`)}`,
  );
}

function supervised(member: { name: string }, root: string): string {
  const service = quote(`${memberFolder(member, root)}/service`);
  return `set -eu
if [ ! -x ${service}/run ]; then
  ${fail(`${member.name} cannot be started: nothing of it is written on its host`)}
fi
${isLab(root) ? '' : scanning(root)}if [ ! -L ${scan(member, root)} ] || ! s6-svok ${scan(member, root)}; then
  # Down until it is told: whatever is half done here, the supervisor starts nothing by itself.
  : >${service}/down
  rm -f ${scan(member, root)}
  if ! s6-svlink -t ${superviseMs} ${quote(`${root}/scan`)} ${service} ${quote(member.name)}; then
    ${fail(`${member.name}: the host's supervisor (s6-svscan) does not take it up`)}
  fi
fi`;
}

function up(member: { name: string }, root: string): string {
  return `rm -f ${quote(`${memberFolder(member, root)}/service/down`)}
if ! s6-svc -wu -T ${superviseMs} -u ${scan(member, root)}; then
  { echo ${quote(`${member.name} was not started within ${superviseMs / 1000} s; its log ends:`)}; tail -n 5 ${quote(`${logFolder(member, root)}/current`)}; } >&2
  exit 1
fi`;
}

/**
 * s6-supervise sends SIGKILL itself, after the service folder's timeout-kill; -wD waits for finish as well. How long that is, is read there: of a
 * member that left the file nobody else knows.
 */
function down(member: Stoppable, root: string): string {
  const given = quote(`${memberFolder(member, root)}/service/timeout-kill`);
  return `{ read -r given <${given}; } 2>/dev/null || given=
case $given in '' | *[!0-9]*) given=${member.stop.timeoutMs} ;; esac
if ! s6-svc -wD -T $((given + ${superviseMs})) -d ${scan(member, root)}; then
  echo ${quote(`${member.name} is still there`)} "$(((given + ${superviseMs}) / 1000)) s after its stop" >&2
  exit 1
fi`;
}

function scan(member: { name: string }, root: string): string {
  return quote(scanEntry(member, root));
}

function fail(sentence: string): string {
  return `echo ${quote(sentence)} >&2; exit 1`;
}

/** Deletes everything in the folder but the kept paths and the folders that lead to them. */
function keepOnly(folder: string, kept: string[]): string {
  const conditions = kept.flatMap((path) => {
    const parts = path.split('/');
    const leading = parts.map((_, at) => `! -path ${quote(`./${parts.slice(0, at + 1).join('/')}`)}`);
    return [...leading, `! -path ${quote(`./${path}/*`)}`];
  });
  return `if cd ${folder} 2>/dev/null; then
  find . -mindepth 1 -depth ${conditions.join(' ')} -delete
  cd /
  rmdir ${folder} 2>/dev/null || :
fi`;
}
