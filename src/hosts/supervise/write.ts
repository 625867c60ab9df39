import type { Member, MemberFile } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { asOwner, makeFolder } from './owner.ts';
import {
  envFile,
  finishScript,
  logRunScript,
  memberFolder,
  ownPaths,
  restartHash,
  runScript,
} from './service.ts';
import { bySupervisor, writeUnit } from './systemd.ts';

/**
 * Writes the given files of the member and its service folder. Each file appears whole or not at all, secrets are never
 * readable for others, files that an earlier member of this name had and this one has not are removed. Starts
 * nothing and disturbs no running process: the run script, with the hash of what it will start, is read at the next start.
 */
export function writeFragment(
  member: Member,
  root: string,
  files: MemberFile[],
  releaseHash?: string,
): string {
  const folder = memberFolder(member, root);
  for (const file of member.files) checkPath(member, file.path);
  const written: Written[] = [
    ...files.map(({ path, content, mode, secret }) => ({ path, content, mode: secret ? 0o600 : mode })),
    ...ownFiles(member, root, releaseHash),
  ];
  const manifest = member.files.map((file) => `${file.path}\n`).join('');
  const folders = new Set(
    written.map(({ path }) => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.')),
  );
  const work = `set -eu
umask 022
cd ${quote(folder)}
mkdir -p log ${[...folders].map(quote).join(' ')}
put() {
  ( umask 077; base64 -d >"$1.phalanx-new" )
  chmod "$2" "$1.phalanx-new"
  mv -f "$1.phalanx-new" "$1"
}
${removal(manifest)}
${written.map(put).join('\n')}`;
  return `set -eu
umask 022
${openFilesAllowed(member)}${makeFolder(member, root)}
${asOwner(member, root, work)}
${bySupervisor(root, writeUnit(member, root), ':')}`;
}

/** Said before anything is written or stopped: the run script's own `ulimit` would only make the member die again and again. */
function openFilesAllowed(member: Member): string {
  const wanted = member.limits.openFiles;
  if (wanted === undefined) return '';
  const what = `${member.name}: files: ${wanted} is more than this machine lets a process open`;
  return `( ulimit -n ${wanted} ) 2>/dev/null || {
  echo ${quote(what)} "($(ulimit -Hn)): ask for less, or raise the machine's hard limit (nofile in limits.conf(5))" >&2
  exit 1
}
`;
}

/** The files that start and end the member. The last is the one that makes it startable: then all is complete. */
export function ownFiles(member: Member, root: string, releaseHash?: string): Written[] {
  const content: Record<(typeof ownPaths)[number], string> = {
    env: envFile(member, root),
    'service/finish': finishScript(member, root),
    'service/down-signal': `SIG${member.stop.signal}\n`,
    'service/timeout-kill': `${member.stop.timeoutMs}\n`,
    'service/log/run': logRunScript(member, root),
    'service/run': runScript(member, root, restartHash(member, releaseHash)),
  };
  const mode = (path: string): number =>
    path === 'env' ? 0o600 : path.endsWith('/run') || path.endsWith('/finish') ? 0o755 : 0o644;
  return ownPaths.map((path) => ({ path, content: content[path], mode: mode(path) }));
}

interface Written {
  path: string;
  content: string;
  mode: number;
}

function put({ path, content, mode }: Written): string {
  const lines =
    Buffer.from(content)
      .toString('base64')
      .match(/.{1,76}/g) ?? [];
  return `put ${quote(path)} ${mode.toString(8)} <<'PHALANX_FILE'
${[...lines, 'PHALANX_FILE'].join('\n')}`;
}

/** The list of files goes first: a file in the list that is not there yet counts as different, one that is there and not in the list would stay for ever. */
function removal(manifest: string): string {
  return `cat >files.phalanx-new <<'PHALANX_LIST'
${manifest}PHALANX_LIST
if [ -e files.list ]; then
  grep -vxFf files.phalanx-new files.list | while IFS= read -r stale; do rm -f "$stale"; done || :
fi
mv -f files.phalanx-new files.list`;
}

const ours = new Set([
  'env',
  'files.list',
  'running',
  'restarts',
  'ended',
  'service',
  'log',
  'release',
  'current',
]);

function checkPath(member: Member, path: string): void {
  const parts = path.split('/');
  const strange =
    !/^[A-Za-z0-9_@%+=:,. /-]+$/.test(path) ||
    parts.some((part) => part === '' || part === '.' || part === '..');
  if (strange || ours.has(parts[0]!)) {
    throw new Error(`${member.name}: a file of a member cannot be called ${JSON.stringify(path)}`);
  }
}
