import type { HostEntry } from '../../file/cluster.ts';
import { quote } from '../shell.ts';

/*
 * A disk of the host's own, for hosts whose file gives it a size: an ext4 file system in a file (loop(4)), mounted over the members' folder in the host's
 * own mount namespace. So it goes with the host's processes, and its content stays with the host's files.
 */

/** The file that is the host's disk. */
export const diskImage = (root: string): string => `${root}/disk.img`;

/**
 * For the machine, before the host is booted: makes the disk where there is none, and waits until the kernel has let go of it since the host was last on, for
 * mounted twice it would be destroyed. No blocks are kept for root, as whom some engines run in a lab: full is full.
 */
export function makeDisk({ root, disk }: HostEntry): string {
  if (disk === undefined) return '';
  const image = quote(diskImage(root));
  return `if [ ! -e ${image} ]; then
  rm -f ${image}.new
  # Taken from the machine now, not when the host writes: a disk that is not there must not look like one that is full.
  fallocate -l ${disk} ${image}.new
  mkfs.ext4 -q -F -m 0 ${image}.new
  mv ${image}.new ${image}
fi
passes=0
while [ -n "$(losetup -j ${image})" ]; do
  passes=$((passes + 1))
  if [ $passes -gt 2000 ]; then echo "the disk ${diskImage(root)} is still in use" >&2; exit 1; fi
  sleep 0.005
done`;
}

/** For process 1 of the host, before it supervises anything. */
export function mountDisk({ root, disk }: HostEntry): string {
  if (disk === undefined) return '';
  return `mount -o loop,noatime ${quote(diskImage(root))} ${quote(`${root}/members`)}
rmdir ${quote(`${root}/members/lost+found`)} 2>/dev/null || :`;
}
