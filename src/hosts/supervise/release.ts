import type { Member } from '../../engines/engine.ts';
import { quote } from '../shell.ts';
import { asOwner, makeFolder } from './owner.ts';
import { memberFolder } from './service.ts';

/** Where the host finds the release: unpacked by an earlier run, a tar on its own file system, or the tar itself. */
export type ReleaseSource = 'there' | { path: string } | { base64: string };

/**
 * Unpacks the release as \`release/HASH\` and points \`current\` at it, in one rename each. A running process stays in
 * the folder it was started in. Only the three newest stay, and always the one in use.
 */
export function releaseFragment(member: Member, root: string, hash: string, source: ReleaseSource): string {
  if (!/^[A-Za-z0-9._-]+$/.test(hash) || hash.startsWith('.'))
    throw new Error(`${member.name}: ${hash} is no hash of a release`);
  const unpack =
    source === 'there'
      ? 'echo "the release was here a moment ago and is gone: run up again" >&2; exit 1'
      : 'path' in source
        ? `tar -xf ${quote(source.path)} -C "$new"`
        : `base64 -d >"$new.tar" <<'PHALANX_RELEASE'
${(source.base64.match(/.{1,76}/g) ?? []).join('\n')}
PHALANX_RELEASE
  tar -xf "$new.tar" -C "$new"
  rm -f "$new.tar"`;
  const work = `set -eu
umask 022
cd ${quote(memberFolder(member, root))}
mkdir -p release
if [ ! -d release/${hash} ]; then
  new=release/.${hash}.new
  rm -rf "$new"
  mkdir "$new"
  ${unpack}
  mv -T "$new" release/${hash}
fi
touch release/${hash}
ln -sfn release/${hash} current.new
mv -fT current.new current
ls -1t release | tail -n +4 | while IFS= read -r old; do rm -rf "release/$old"; done`;
  return `set -eu
umask 022
${makeFolder(member, root)}
${asOwner(member, root, work)}`;
}
