import { machine } from './machine.ts';
import { quote } from './shell.ts';

/*
 * Debian packages of engines. Two promises: a package that is installed is never touched, and a package that we install
 * never starts or enables its system service: the user's machine runs what it ran before.
 */

/** Sh that prints those of the packages that are not installed, one a line. Reads dpkg's database only. */
export function missing(packages: string[]): string {
  const names = packages.map(quote).join(' ');
  return `{ dpkg-query -W -f '\${db:Status-Abbrev} \${Package}\\n' ${names} 2>/dev/null || :; } | awk '
BEGIN { count = split("${packages.map(checked).join(' ')}", wanted, " ") }
/^.i/ { installed[$2] = 1 }
END { for (at = 1; at <= count; at++) if (!(wanted[at] in installed)) print wanted[at] }'`;
}

/**
 * Sh that prints, for `parseInstalled`, what dpkg's database says of the packages. Reads the file itself, as dpkg(1) keeps it: asking
 * dpkg-query on many hosts costs more than all else.
 */
export function installedPackages(packages: string[]): string {
  const names = packages.map((name) => `-e ${quote(`Package: ${checked(name)}`)}`).join(' ');
  // Between the two at most Essential and Protected; -x: the whole line.
  return `grep -Fx -A 3 ${names} /var/lib/dpkg/status 2>/dev/null`;
}

/** The installed ones among those that `installedPackages` told of. */
export function parseInstalled(text: string): Set<string> {
  const installed = new Set<string>();
  for (const [, name, status] of text.matchAll(
    /^Package: (\S+)\n(?:(?!Package: |--\n).*\n)*?Status: \S+ \S+ (\S+)$/gm,
  ))
    if (status === 'installed') installed.add(name!);
  return installed;
}

/** Those of the packages that this machine has not installed, in the order given. */
export async function missingPackages(packages: string[]): Promise<string[]> {
  if (packages.length === 0) return [];
  const { exit, text, stderr } = await machine.run(missing(packages));
  if (exit !== 0) throw new Error(`installed packages cannot be listed: ${stderr.trim()}`);
  return text.split('\n').filter((line) => line !== '');
}

/** Where Debian's maintainer scripts ask whether a service may be started (policy-rc.d, invoke-rc.d(8)). */
const policyFile = '/usr/sbin/policy-rc.d';

/**
 * Sh that installs those of the packages that are missing: without recommended ones, without questions, waiting up to two
 * minutes for another apt, with fresh package lists only when apt does not know a package. May be killed anywhere and run again.
 */
export function installScript(packages: string[]): string {
  return `set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive
wanted=$(${missing(packages)})
if [ -n "$wanted" ]; then
  ${installWanted()}
fi
`;
}

function installWanted(): string {
  return `apt() { apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" >&2; }
# Not by \`apt-cache show\`: it is content with a name that an installed package merely mentions.
known() { [ "$(LC_ALL=C apt-cache policy $wanted 2>/dev/null | grep -c '^  Candidate: [^(]')" -eq "$(echo "$wanted" | wc -l)" ]; }
# A list that could not be fetched is but a warning to apt. Once more then: a resolver or a network may only have been slow.
known || apt update || :
known || { sleep 2; apt update; }
# On disk, not by asking a running systemd: the machine may be one that is only booted with it later.
enabled() { [ -z "$(command -v systemctl)" ] || systemctl --root=/ list-unit-files --state=enabled --no-legend --plain | awk '{ print $1 }'; }
before=$(enabled)
${guard(policyFile)}
installed=0
apt install --no-install-recommends $wanted || installed=$?
${unguard(policyFile)}
# Only units that were not enabled before this installation: the user's own stay as they are.
enabled | while IFS= read -r unit; do
  case "
$before
" in *"
$unit
"*) ;; *) systemctl --root=/ disable "$unit" >&2 ;; esac
done
[ $installed -eq 0 ] || { echo "apt-get could not install:" $wanted >&2; exit 1; }`;
}

/**
 * Puts a policy in place that forbids starting services, but only while this very shell lives (its pid with its start time), so
 * that kill -9 leaves nothing harmful behind: afterwards it answers what the user's own policy answers, or yes. The
 * user's own policy is kept beside it.
 */
export function guard(path: string): string {
  return `own=${quote(`${path}.phalanx-own`)}
policy=${quote(path)}
# Left by one that was killed: put back first what it had moved away.
${unguard(path)}
[ ! -e "$policy" ] || cp -a "$policy" "$own"
started=$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)
cat >"$policy.phalanx-new" <<PHALANX_POLICY
#!/bin/sh
# Phalanx's, while it installs packages: their services are not started. Otherwise without effect.
if [ "\\$(sed 's/.*) //' /proc/$$/stat 2>/dev/null | cut -d ' ' -f 20)" = "$started" ]; then exit 101; fi
if [ -x "$own" ]; then exec "$own" "\\$@"; fi
exit 0
PHALANX_POLICY
chmod 755 "$policy.phalanx-new"
mv -f "$policy.phalanx-new" "$policy"`;
}

/** Puts the user's own policy back, or none. */
export function unguard(path: string): string {
  const own = quote(`${path}.phalanx-own`);
  return `if grep -qs "^# Phalanx's, while" ${quote(path)}; then
  if [ -e ${own} ]; then mv -f ${own} ${quote(path)}; else rm -f ${quote(path)}; fi
fi
rm -f ${own}
rm -f ${quote(`${path}.phalanx-new`)}`;
}

function checked(name: string): string {
  if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name))
    throw new Error(`${JSON.stringify(name)} is no name of a Debian package`);
  return name;
}
