import type { Member } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { memberFolder } from './service.ts';
import { accountOf, bySupervisor, isLab, userOf } from './systemd.ts';

/**
 * Sh that does the work of `script` as whoever owns the member's folder, in a shell of its own. On a machine that systemd runs that is
 * the service's own user, and what lies in the folder is whatever the service made of it: links and pipes too, by which
 * root could be led anywhere. So root makes the folder, whose place only root can change, and writes nothing in it.
 */
export function asOwner(member: { name: string }, root: string, script: string): string {
  if (isLab(root)) return `(\n${script}\n)`;
  // The script is read from standard input: it holds secrets, which an argument would show to everybody.
  return `(
owner=$(stat -c %u:%g ${quote(memberFolder(member, root))} 2>/dev/null) || { echo ${quote(`${member.name}: nothing of it is written on its host`)} >&2; exit 1; }
set --
[ "$owner" = 0:0 ] || set -- setpriv --reuid="\${owner%:*}" --regid="\${owner#*:}" --clear-groups --no-new-privs --
"$@" sh -s <<'PHALANX_OWNER'
{
${script}
} </dev/null
exit $?
PHALANX_OWNER
)`;
}

/**
 * Sh that makes the member's folder before anything is written there. Under systemd it is its service's user's, and only that user may look
 * into it; what was kept there for an account of another number, which is gone, changes hands with it.
 */
export function makeFolder(member: Member, root: string): string {
  const user = userOf(member, root);
  const folder = quote(memberFolder(member, root));
  const owned = `${accountOf(member, root)}
mkdir -p ${quote(`${root}/members`)}
[ -d ${folder} ] || mkdir -m 700 ${folder}
own=$(id -u ${user}):$(id -g ${user})
was=$(stat -c %u:%g ${folder})
# -R follows no link, --from leaves alone what was somebody else's: the file of a hard link.
[ "$was" = "$own" ] || chown -R --from="$was" "$own" ${folder}
chmod ${user === 'root' ? '755' : '750'} ${folder}`;
  return `( set -eu\n${bySupervisor(root, owned, `mkdir -p ${folder}`)}\n)`;
}
