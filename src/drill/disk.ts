import { quote } from '../hosts/shell.ts';
import { memberFolder } from '../hosts/supervise.ts';
import type { Scene } from './faults.ts';

/*
 * A full disk: a file in the member's folder takes all that is free there. Only where that file system is the cluster's
 * alone: on any other the user's own services would find it full as well.
 */

const filler = 'full-disk';

/** Takes every free block. Rejects, with nothing done, where others use the file system too. */
export async function fillDisk(scene: Scene): Promise<void> {
  const { root, folder } = placeOf(scene);
  await on(
    scene,
    `cd ${quote(folder)} || exit 1
at=$(df -P . | sed -n '2s/^.*% *//p')
case "$at/" in
${quote(root)}/*) ;;
*) echo "its files are on the file system of $at, which is not its own" >&2; exit 1 ;;
esac
fallocate -l "$(df -Pk . | awk 'NR == 2 { print $4 }')KiB" ${filler} 2>/dev/null || :
dd if=/dev/zero bs=4096 2>/dev/null >>${filler} || :`,
  );
}

/** A write is refused there now. */
export async function diskIsFull(scene: Scene): Promise<unknown> {
  const said = await on(
    scene,
    `cd ${quote(placeOf(scene).folder)} || exit 1
LC_ALL=C dd if=/dev/zero of=${filler}.probe bs=65536 count=1 conv=fsync 2>&1 | sed -n 's/^dd: .*: \\(.*\\)$/\\1/p' | head -n 1
rm -f ${filler}.probe
df -Pk . | awk 'NR == 2 { print $2, $4 }'`,
  );
  const [write, room] = said.trim().split('\n');
  if (room === undefined) return undefined;
  const [kilobytes, free] = room.split(' ').map(Number);
  return { write, kilobytes, free };
}

export async function freeDisk(scene: Scene): Promise<void> {
  await on(
    scene,
    `rm -f ${quote(placeOf(scene).folder)}/${filler} ${quote(placeOf(scene).folder)}/${filler}.probe`,
  );
}

function placeOf({ cluster, target }: Scene): { root: string; folder: string } {
  const { root } = cluster.hosts[target.host]!;
  return { root, folder: memberFolder({ name: target.member! }, root) };
}

async function on({ reach, target }: Scene, script: string): Promise<string> {
  const { exit, text, stderr } = await reach.host(target.host).run(script, { timeoutMs: 30_000 });
  if (exit !== 0) throw new Error(`${target.member}: ${stderr.trim() || `exit status ${exit}`}`);
  return text;
}
