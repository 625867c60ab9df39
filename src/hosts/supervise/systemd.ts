import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Member } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { asOwner } from './owner.ts';
import { memberFolder, type Stoppable } from './service.ts';

/*
 * Members on a machine that systemd runs: a unit each, beside the same folder that s6 works from (service.ts). Which of the
 * two supervises is asked of the host when a script runs there, never of the file.
 */

/** Sh condition: systemd is process 1 (sd_booted(3)). */
export const bootedBySystemd = '[ -d /run/systemd/system ]';

/** Where units lie that an administrator made (systemd.unit(5)). */
const unitFolder = '/etc/systemd/system';

/** A lab host's root, as src/file gives it; its process 1 is always s6. */
const labRoot = /\/hosts\/[a-z][a-z0-9-]*$/;

/** Whether the root is a lab host's: no question is asked there. */
export const isLab = (root: string): boolean => labRoot.test(root);

/** The one or the other, by what the host is; in a lab there is no question. */
export function bySupervisor(root: string, systemd: string, s6: string): string {
  return isLab(root) ? s6 : `if ${bootedBySystemd}; then\n${systemd}\nelse\n${s6}\nfi`;
}

/** The member's unit: `phalanx-CLUSTER-MEMBER.service`. A real machine's root ends with the cluster's name. */
export function unitName(member: { name: string }, root: string): string {
  return `${unitPrefix(root)}${member.name}.service`;
}

export const unitPrefix = (root: string): string => `phalanx-${basename(root)}-`;

const unitPath = (member: { name: string }, root: string): string =>
  `${unitFolder}/${unitName(member, root)}`;

/** Who the member runs as: one system user a service, so that services cannot read each other's secrets. At most 32 characters (useradd(8)). */
export function userOf(member: Pick<Member, 'service' | 'user'>, root: string): string {
  if (member.user === 'root') return 'root';
  const name = `phx-${basename(root)}-${member.service}`;
  if (name.length <= 31) return name;
  return `${name.slice(0, 22)}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
}

/** Beyond what every member gets, for those that need no root. Capabilities: a port below 1024 may be listened on. */
const unprivileged = `CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK`;

/** s6 tells its finish script how the process ended in numbers (s6-supervise(8)), systemd in words (systemd.exec(5)). */
function finishing(folder: string): string {
  const words =
    'case "$$EXIT_CODE $$EXIT_STATUS" in "exited "*) set -- "$$EXIT_STATUS" 0 ;; *KILL) set -- 256 9 ;; *TERM) set -- 256 15 ;; *) set -- 256 0 ;; esac';
  return `ExecStopPost=/bin/sh -c '${words}; exec ${folder}/service/finish "$$@"'`;
}

/** The unit file. The member's folder is all that it may write to, unless it needs root; then /usr, /boot and /etc are closed to it. */
export function unitText(member: Member, root: string): string {
  const folder = memberFolder(member, root);
  const user = userOf(member, root);
  const { memory, openFiles } = member.limits;
  const limits = [
    ...(memory === undefined ? [] : [`MemoryMax=${memory}`, 'MemorySwapMax=0']),
    ...(openFiles === undefined ? [] : [`LimitNOFILE=${openFiles}`]),
  ];
  const own = user === 'root' ? 'ProtectSystem=full' : `User=${user}\nGroup=${user}\n${unprivileged}`;
  return `# Phalanx's: made anew by \`phalanx up\`.
[Unit]
Description=Phalanx cluster ${basename(root)}: ${member.name}
Wants=network-online.target
After=network-online.target ${unitPrefix(root)}settings.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${folder}/service/run
${finishing(folder)}
Restart=always
RestartSec=1
KillMode=mixed
KillSignal=SIG${member.stop.signal}
TimeoutStopSec=${member.stop.timeoutMs}ms
WorkingDirectory=${folder}
ReadWritePaths=${folder}
Environment=HOME=${user === 'root' ? '/root' : folder} LANG=C.UTF-8
SyslogIdentifier=${member.name}
NoNewPrivileges=yes
ProtectHome=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
${[...limits, own].join('\n')}

[Install]
WantedBy=multi-user.target
`;
}

/** Sh that makes the account which the member runs as. */
export function accountOf(member: Member, root: string): string {
  const user = userOf(member, root);
  if (user === 'root') return ':';
  return `id -u ${user} >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --comment ${quote(comment(root))} ${user}`;
}

/** Writes the unit; refuses where the name is another's. After the member's folder is written. */
export function writeUnit(member: Member, root: string): string {
  const path = unitPath(member, root);
  const text = unitText(member, root);
  const folder = memberFolder(member, root);
  return `unit=${quote(path)}
if [ -e "$unit" ] && ! grep -qF ${quote(`${folder}/service/run`)} "$unit"; then
  echo "$unit is there already and is not this member's: rename the cluster or the service" >&2
  exit 1
fi
cat >"$unit.phalanx-new" <<'PHALANX_UNIT'
${text}PHALANX_UNIT
if cmp -s "$unit.phalanx-new" "$unit"; then
  rm -f "$unit.phalanx-new"
else
  chmod 644 "$unit.phalanx-new"
  mv -f "$unit.phalanx-new" "$unit"
  systemctl daemon-reload
fi`;
}

/** Users of the cluster's services on this machine: sh words. Those of long names are told by their comment. */
export const usersOf = (root: string): string =>
  `$(getent passwd | awk -F: -v comment=${quote(comment(root))} '$5 == comment { print $1 }')`;

const comment = (root: string): string => `Phalanx cluster ${basename(root)}`;

/** Sh that keeps a setting's script so that systemd runs it at every boot, before members start. Elsewhere nothing: there is no boot to hook into. */
export function settingAtBoot(root: string, name: string, apply: string): string {
  const unit = `${unitPrefix(root)}settings.service`;
  const folder = quote(`${root}/boot`);
  return `if ${bootedBySystemd}; then
  mkdir -p ${folder} && printf '%s\\n' ${quote(apply)} >${folder}/${name} || exit 1
  if [ ! -e ${unitFolder}/${unit} ]; then
    cat >${unitFolder}/${unit} <<'PHALANX_UNIT'
# Phalanx's: what its services need of this machine's kernel and addresses.
[Unit]
Description=Phalanx cluster ${basename(root)}: settings
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
# An interface that is brought up as it is found (allow-hotplug, interfaces(5)) may come after network-online.target.
ExecStartPre=/bin/sh -c 'left=300; until ip -o addr show scope global | grep -q . || [ $$left -eq 0 ]; do sleep 0.1; left=$$((left - 1)); done'
ExecStart=/bin/sh -c 'for setting in ${root}/boot/*; do sh "$setting"; done'

[Install]
WantedBy=multi-user.target
PHALANX_UNIT
    systemctl daemon-reload
    systemctl enable -q ${unit}
  fi
fi`;
}

/** Sh that takes that away. */
export function removeSettingsUnit(root: string): string {
  const unit = `${unitPrefix(root)}settings.service`;
  return `if ${bootedBySystemd} && [ -e ${unitFolder}/${unit} ]; then
  systemctl disable -q ${unit}
  rm -f ${unitFolder}/${unit}
  systemctl daemon-reload
fi`;
}

/** As `startFragment` of s6: supervised, after every boot as well. */
export function startUnit(member: Stoppable, root: string): string {
  const unit = quote(unitName(member, root));
  return `set -eu
${written(member, root)}
systemctl enable -q ${unit}
# What runs from a folder that somebody has removed is not what is to run.
[ -e ${quote(`${memberFolder(member, root)}/running`)} ] || systemctl stop ${unit}
systemctl is-active -q ${unit} || ${noDeaths(member, root)}
${up(member, root)}`;
}

export function restartUnit(member: Stoppable, root: string): string {
  const unit = quote(unitName(member, root));
  return `set -eu
${written(member, root)}
systemctl stop ${unit}
systemctl enable -q ${unit}
${noDeaths(member, root)}
${up(member, root)}`;
}

export function stopUnit(member: Stoppable, root: string): string {
  const unit = quote(unitName(member, root));
  return `if [ -e ${quote(unitPath(member, root))} ]; then
  systemctl disable -q ${unit}
  systemctl stop ${unit}
fi`;
}

export function hupUnit(member: { name: string }, root: string): string {
  return `set -eu
process=$(${pidOfUnit(member, root)})
if [ "\${process:-0}" -eq 0 ]; then
  echo ${quote(`${member.name} does not run, so it cannot take in its new files`)} >&2
  exit 1
fi
kill -HUP "$process"`;
}

export const pidOfUnit = (member: { name: string }, root: string): string =>
  `systemctl show -p MainPID --value ${quote(unitName(member, root))}`;

export const unitWantedUp = (member: { name: string }, root: string): string =>
  `case $(systemctl show -p ActiveState --value ${quote(unitName(member, root))}) in active | activating | reloading) true ;; *) false ;; esac`;

/** After the unit has been stopped. */
export function removeUnit(member: { name: string }, root: string): string {
  const path = quote(unitPath(member, root));
  return `if [ -e ${path} ]; then
  rm -f ${path}
  systemctl daemon-reload
  systemctl reset-failed ${quote(unitName(member, root))} 2>/dev/null || :
fi`;
}

export function diedUnit(member: { name: string }, root: string): string {
  const unit = quote(unitName(member, root));
  return `deaths=0
[ ! -f ${quote(`${memberFolder(member, root)}/restarts`)} ] || read -r deaths <${quote(`${memberFolder(member, root)}/restarts`)} || :
state=$(systemctl is-active ${unit}) || :
if [ "$deaths" != 0 ] || [ "$state" != active ]; then
  { echo ${quote(`${member.name} does not stay up:`)} "died $deaths times; now $state; its log ends:"; journalctl -q --no-pager -o cat -n 5 -u ${unit}; } >&2
  exit 1
fi`;
}

/** Members' processes as systemd knows them, in the words of `observeScript` and with its `noted`; runs in the folder of the members. One systemctl for all. */
export function sayUnits(root: string): string {
  const prefix = unitPrefix(root);
  return `  set --
  for member in *; do
    [ ! -d "$member/service" ] || set -- "$@" "${prefix}$member.service"
  done
  read -r uptime _ </proc/uptime
  [ $# -eq 0 ] || {
    for member in *; do
      [ ! -d "$member/service" ] || { noted; printf 'Noted=%s %s %s\\n' "$member" "$restarts" "$hash"; }
    done
    systemctl show -p Id -p ActiveState -p MainPID -p ActiveEnterTimestampMonotonic -p InactiveEnterTimestampMonotonic -- "$@"
  } | awk -F= -v now="$uptime" -v skip=${prefix.length} '
function say(up, since) {
  if (member == "") return
  up = state == "active" || state == "reloading"
  since = int(now - (up ? began : ended) / 1000000)
  printf "{\\"member\\":\\"%s\\",\\"running\\":%s,\\"pid\\":%d,\\"since\\":%d,\\"restarts\\":%d,\\"runningHash\\":\\"%s\\"}\\n", member, up ? "true" : "false", up ? pid : -1, since < 0 ? 0 : since, restarts[member], hash[member]
  member = ""
}
$1 == "Noted" { split($2, noted, " "); restarts[noted[1]] = noted[2]; hash[noted[1]] = noted[3] }
$1 == "Id" { member = substr($2, skip + 1); sub(/\\.service$/, "", member) }
$1 == "ActiveState" { state = $2 }
$1 == "MainPID" { pid = $2 }
$1 == "ActiveEnterTimestampMonotonic" { began = $2 }
$1 == "InactiveEnterTimestampMonotonic" { ended = $2 }
/^$/ { say() }
END { say() }'`;
}

/** The last lines of the member's log, and with `follow` those to come. */
export function unitLog(member: { name: string }, root: string, lines: number, follow: boolean): string {
  return `exec journalctl -q --no-pager -o short-iso -n ${lines}${follow ? ' -f' : ''} -u ${quote(unitName(member, root))}`;
}

/** The count of deaths is the member's own to write (finish), so it is reset as its user too. */
const noDeaths = (member: { name: string }, root: string): string =>
  asOwner(
    member,
    root,
    `cd ${quote(memberFolder(member, root))} && echo 0 >restarts.new && mv -f restarts.new restarts`,
  );

function written(member: { name: string }, root: string): string {
  return `if [ ! -x ${quote(`${memberFolder(member, root)}/service/run`)} ] || [ ! -e ${quote(unitPath(member, root))} ]; then
  echo ${quote(`${member.name} cannot be started: nothing of it is written on its host`)} >&2
  exit 1
fi`;
}

function up(member: { name: string }, root: string): string {
  const unit = quote(unitName(member, root));
  return `systemctl reset-failed ${unit} 2>/dev/null || :
if ! systemctl start ${unit}; then
  { echo ${quote(`${member.name} was not started; its log ends:`)}; journalctl -q --no-pager -o cat -n 5 -u ${unit}; } >&2
  exit 1
fi`;
}
