import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { machine } from './machine.ts';
import { installScript } from './packages.ts';
import { quote } from './shell.ts';

/*
 * Engines that are no Debian package. They are fetched once for the machine, to a folder of the cache that is whole or not
 * there, with a checksum of every file kept beside them.
 */

/** An engine to fetch. Where it may come from is tried in this order: the cache, the tarball, Maven. */
export interface Download {
  /** e.g. kafka */
  name: string;
  version: string;
  /** http(s) URL of a .tar.gz (or .tgz, .tar.xz) whose one top folder holds `libs/`. */
  tarball?: string | undefined;
  /** sha256 or sha512 that the tarball must have, in hex. */
  checksum?: string | undefined;
  /** The engine's jars by their Maven coordinates, `group:artifact:version`; they come with all that they need at run time. */
  maven: string[];
  /** `group:artifact` of what they name and do not need. */
  without?: string[];
}

const fetchMs = 600_000;

/** Where fetched engines are kept on this machine. */
export const cacheHome = (): string => process.env['PHALANX_CACHE'] ?? '/var/cache/phalanx';

/** The folder that holds `libs/` once the download is there. A tarball that the user names is one of its own. */
export function downloadFolder({ name, version, tarball }: Download): string {
  const own = tarball ? `-${createHash('sha256').update(tarball).digest('hex').slice(0, 8)}` : '';
  return join(cacheHome(), `${name}-${version}${own}`);
}

/** Whether it is in the cache, whole: its checksums are written last. */
export const isFetched = (download: Download): boolean =>
  existsSync(join(downloadFolder(download), 'checksums'));

/** Brings the download into the cache. Throws an Error that says all that was tried and why it failed. Safe to repeat and to kill. */
export async function fetchDownload(download: Download, say: (line: string) => void): Promise<void> {
  const folder = downloadFolder(download);
  if (isFetched(download)) return;
  const tried = [`${folder} is not there`];
  const ways: [string, (draft: string) => Promise<void>][] = [];
  if (download.tarball)
    ways.push([`the tarball ${download.tarball}`, (draft) => fromTarball(download, draft)]);
  ways.push([`Maven (${download.maven[0]})`, (draft) => fromMaven(download, draft, say)]);
  for (const [what, way] of ways) {
    const draft = `${folder}.${process.pid}.new`;
    try {
      say(`from ${what}`);
      await rm(draft, { recursive: true, force: true });
      await mkdir(draft, { recursive: true });
      await way(draft);
      await writeFile(join(draft, 'source'), `${what}\n`);
      await writeFile(join(draft, 'checksums'), await checksums(draft));
      await rename(draft, folder).catch((error: Error) => {
        if (!isFetched(download)) throw error;
      });
      return;
    } catch (error) {
      tried.push(`${what}: ${reason(error as Error)}`);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  throw new Error(tried.join('; '));
}

/** fetch() says only "fetch failed"; why is in its cause. */
function reason(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : undefined;
  const text = cause?.message || (cause as NodeJS.ErrnoException | undefined)?.code || error.message;
  return text.replace(/\s+/g, ' ').slice(0, 300);
}

async function fromTarball({ tarball, checksum }: Download, draft: string): Promise<void> {
  const answer = await fetch(tarball!, { signal: AbortSignal.timeout(fetchMs) });
  if (!answer.ok || !answer.body) throw new Error(`answered ${answer.status} ${answer.statusText}`.trim());
  const file = join(draft, basename(new URL(tarball!).pathname) || 'tarball');
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(file));
  if (checksum) {
    const found = await digest(file, checksum.length === 128 ? 'sha512' : 'sha256');
    if (found !== checksum.toLowerCase())
      throw new Error(`its checksum is ${found}, not the one in the file`);
  }
  const { exit, stderr } = await machine.run(
    `tar -C ${quote(draft)} --strip-components=1 --no-same-owner -xf ${quote(file)}`,
    { timeoutMs: fetchMs },
  );
  if (exit !== 0) throw new Error(`cannot be unpacked: ${stderr.trim()}`);
  await needLibs(draft);
}

async function fromMaven(
  { name, maven, without = [] }: Download,
  draft: string,
  say: (line: string) => void,
): Promise<void> {
  const hasMaven = async (): Promise<boolean> => (await machine.run('command -v mvn')).exit === 0;
  if (!(await hasMaven())) {
    say("installing Debian's package maven");
    const { exit, stderr } = await machine.run(installScript(['maven']), { timeoutMs: fetchMs });
    if (exit !== 0 || !(await hasMaven()))
      throw new Error(
        `mvn is not there, and Debian's package maven cannot be installed: ${stderr.trim().slice(-200)}`,
      );
  }
  const pom = join(draft, 'pom.xml');
  await writeFile(pom, pomText(name, maven, without));
  const { exit, text, stderr } = await machine.run(
    // -C: a jar whose checksum is not the repository's fails. The machine's own settings.xml says where the repository is.
    `mvn -B -q -C -f ${quote(pom)} dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=${quote(join(draft, 'libs'))}`,
    { timeoutMs: fetchMs },
  );
  if (exit !== 0) {
    const said = `${text}\n${stderr}`.split('\n').find((line) => /ERROR|rror:|not found/.test(line));
    throw new Error(said?.replace(/^.*\[ERROR\]\s*/, '') ?? `mvn ended with ${exit}`);
  }
  await needLibs(draft);
}

async function needLibs(draft: string): Promise<void> {
  const jars = await readdir(join(draft, 'libs')).catch(() => []);
  if (!jars.some((jar) => jar.endsWith('.jar'))) throw new Error('it holds no libs/*.jar');
}

/** A project that needs the coordinates and nothing else. */
export function pomText(name: string, coordinates: string[], without: string[]): string {
  const tag = (key: string, value = ''): string => `<${key}>${value}</${key}>`;
  const exclusions = without
    .map((one) => one.split(':'))
    .map(([group, artifact]) => tag('exclusion', tag('groupId', group) + tag('artifactId', artifact)));
  const dependencies = coordinates.map((one) => {
    const [group, artifact, version] = one.split(':');
    return tag(
      'dependency',
      tag('groupId', group) +
        tag('artifactId', artifact) +
        tag('version', version) +
        tag('exclusions', exclusions.join('')),
    );
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>${tag('groupId', 'phalanx')}${tag('artifactId', name)}${tag('version', '1')}${tag('packaging', 'pom')}
${tag('dependencies', `\n${dependencies.join('\n')}\n`)}
</project>
`;
}

async function digest(file: string, algorithm: 'sha256' | 'sha512'): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** As `sha256sum -c` reads it: every file, the tarball among them. */
async function checksums(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const lines: string[] = [];
  for (const file of files) lines.push(`${await digest(file, 'sha256')}  ${file.slice(folder.length + 1)}\n`);
  return lines.join('');
}

/** Where the download in the cache came from, for a person. */
export const sourceOf = async (download: Download): Promise<string | undefined> =>
  (await readFile(join(downloadFolder(download), 'source'), 'utf8').catch(() => undefined))?.trim();
