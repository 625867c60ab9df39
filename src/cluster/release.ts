import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Hash of a folder's content: paths, modes, link targets and bytes, in sorted order. Times and owners are left out,
 * so that a fresh clone of the same commit is the same release.
 */
export function folderHash(folder: string): string {
  const hash = createHash('sha256');
  const walk = (path: string, name: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const at = join(path, entry.name);
      const shown = `${name}/${entry.name}`;
      if (entry.isSymbolicLink()) hash.update(`link ${shown}\0${readlinkSync(at)}\0`);
      else if (entry.isDirectory()) {
        hash.update(`folder ${shown}\0`);
        walk(at, shown);
      } else if (entry.isFile()) {
        hash.update(`file ${shown}\0${statSync(at).mode & 0o111 ? 'x' : '-'}\0`);
        hash.update(readFileSync(at));
      }
    }
  };
  walk(folder, '.');
  return hash.digest('hex').slice(0, 16);
}

/** What the folder's release is called and where its tar belongs; makes nothing. */
export function releaseOf(home: string, service: string, folder: string): { hash: string; tar: string } {
  const hash = folderHash(folder);
  return { hash, tar: join(home, 'releases', service, `${hash}.tar`) };
}

/** Packs the folder into `tar` unless it is there; keeps the three newest of the shelf. */
export function packRelease(folder: string, tar: string): void {
  if (existsSync(tar)) return;
  const shelf = dirname(tar);
  mkdirSync(shelf, { recursive: true });
  const draft = `${tar}.${process.pid}.new`;
  execFileSync('tar', ['-C', folder, '-cf', draft, '.']);
  renameSync(draft, tar);
  const newestFirst = readdirSync(shelf)
    .map((name) => join(shelf, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const old of newestFirst.slice(3)) rmSync(old, { force: true });
}
