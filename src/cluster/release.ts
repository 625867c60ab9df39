import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

/** What a user ships: a folder as it is, or what `build`, run in that folder, puts into $OUT. */
export interface Source {
  folder: string;
  build?: string;
}

/** The build of a release failed; the message ends with what the command said. */
export class BuildFailed extends Error {
  override name = 'BuildFailed';
}

/**
 * Hash of a folder's content: paths, modes, link targets and bytes, in sorted order. Times and owners are left out,
 * so that a fresh clone of the same commit is the same release.
 */
export function folderHash(folder: string, without: string[] = []): string {
  const hash = createHash('sha256');
  const walk = (path: string, name: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const at = join(path, entry.name);
      const shown = `${name}/${entry.name}`;
      if (without.includes(entry.name)) continue;
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

/**
 * What the release is called and where its tar belongs; makes nothing. One that is built is known by its sources and
 * its command: of `node_modules` beside them the lock file has to tell.
 */
export function releaseOf(
  home: string,
  service: string,
  { folder, build }: Source,
): { hash: string; tar: string } {
  const of = build === undefined ? folderHash(folder) : folderHash(folder, ['node_modules']);
  const hash =
    build === undefined ? of : createHash('sha256').update(`${of}\0${build}`).digest('hex').slice(0, 16);
  return { hash, tar: join(home, 'releases', service, `${hash}.tar`) };
}

/** Packs what is to be shipped into `tar` unless it is there; keeps the three newest of the shelf, which is for its owner only. Throws BuildFailed. */
export function packRelease({ folder, build }: Source, tar: string): void {
  const shelf = dirname(tar);
  mkdirSync(shelf, { recursive: true, mode: 0o700 });
  // A tar is readable for everybody, whatever the modes of the files in it: a key, a .env. Also one that an earlier version made.
  chmodSync(shelf, 0o700);
  if (existsSync(tar)) return;
  const draft = `${tar}.${process.pid}.new`;
  if (build === undefined) execFileSync('tar', ['-C', folder, '-cf', draft, '.']);
  else {
    const out = mkdtempSync(join(tmpdir(), 'phalanx-build-'));
    try {
      runBuild(folder, build, out);
      execFileSync('tar', ['-C', out, '-cf', draft, '.']);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  }
  renameSync(draft, tar);
  const newestFirst = readdirSync(shelf)
    .map((name) => join(shelf, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const old of newestFirst.slice(3)) rmSync(old, { force: true });
}

/** `node` is the Node that runs Phalanx, as it is for the members of a lab. */
function runBuild(folder: string, build: string, out: string): void {
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`;
  const { status, signal, stdout, stderr } = spawnSync('sh', ['-c', build], {
    cwd: folder,
    env: { ...process.env, PATH, OUT: out },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const said = `${stdout}${stderr}`.trim().split('\n').slice(-20).join('\n');
  if (status !== 0)
    throw new BuildFailed(
      `\`${build}\` in ${folder} ${signal ? `was ended by ${signal}` : `ended with status ${status}`}:\n${said}`,
    );
  if (readdirSync(out).length === 0)
    throw new BuildFailed(`\`${build}\` in ${folder} put nothing into $OUT, so there is nothing to ship`);
}
