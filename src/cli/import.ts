import { existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { engines } from '../engines/index.ts';
import { parseCluster } from '../file/read.ts';
import { ImportFailed } from '../import/draft.ts';
import { type Imported, importText } from '../import/import.ts';
import { noteLines } from '../import/yaml.ts';
import { UserError } from './error.ts';

export interface ImportOptions {
  out?: string;
  name?: string;
  ssh?: string | true;
  director?: string[];
  id?: string;
  json?: boolean;
}

/** `phalanx import FILE`: our file on standard output (or --out), what has no equal on standard error. */
export function importCommand(file: string, options: ImportOptions): number {
  const text = file === '-' ? readFileSync(0, 'utf8') : textOf(file);
  const imported = attempt(file, text, options);
  // What is written must be a file of ours, whatever was read.
  parseCluster(imported.yaml, options.out ?? 'the imported file', engines, {
    home: '/var/lib/phalanx',
    addresses: {},
    secrets: {},
    releases: {},
  });
  if (options.out !== undefined) {
    if (existsSync(options.out))
      throw new UserError(`${options.out} is there already`, 'name a file that is not');
    writeFileSync(options.out, imported.yaml);
  }
  if (options.json) console.log(JSON.stringify({ yaml: imported.yaml, notes: imported.notes }));
  else {
    if (options.out === undefined) process.stdout.write(imported.yaml);
    for (const line of noteLines(imported.notes)) console.error(line);
  }
  return 0;
}

function attempt(file: string, text: string, options: ImportOptions): Imported {
  try {
    return importText({ path: file, text }, included, {
      cluster: options.name,
      ssh: options.ssh === true ? 'root' : options.ssh,
      directors: options.director ?? [],
      id: options.id,
    });
  } catch (error) {
    if (error instanceof ImportFailed) for (const line of noteLines(error.notes)) console.error(line);
    throw new UserError(`${file}: ${(error as Error).message}`);
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UserError(`${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`);
  }
}

/** The files of an `include`, as glob(7) finds them, in the order of their names. */
function included(pattern: string, folder: string): { path: string; text: string }[] {
  return globSync(resolve(folder, pattern))
    .sort()
    .filter((path) => statSync(path).isFile())
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}
