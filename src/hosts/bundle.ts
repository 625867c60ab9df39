import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Bundle {
  /** Absolute path of one ESM file that node 18 or later runs without anything beside it. */
  path: string;
  /** The first 16 hex digits of its sha256. */
  hash: string;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Our own programs that hosts run, and the file that each begins with. */
const entries = {
  agent: 'src/engines/director/agent/main.ts',
  registrar: 'src/engines/app/registrar/main.ts',
};
export type Program = keyof typeof entries;

/** Debian 12 and Ubuntu 24.04 have Node 18. */
const withResolvers =
  'Promise.withResolvers ??= function () { let resolve, reject; const promise = new this((yes, no) => { resolve = yes; reject = no; }); return { promise, resolve, reject }; };';

/** What the last bundle was made of: paths below the root and the sha256 of each. */
interface Made extends Bundle {
  inputs: Record<string, string>;
}

/**
 * A program as one file, in `folder` (default .build of the checkout). Made anew only when a file that it was
 * made of has changed; otherwise it costs a reading of those files (some milliseconds). Several at once do not disturb
 * each other.
 */
export async function bundle(program: Program, folder = join(root, '.build')): Promise<Bundle> {
  const record = join(folder, `${program}.json`);
  const made = await readFile(record, 'utf8').then(
    (text) => JSON.parse(text) as Made,
    () => undefined,
  );
  if (made && (await stands(made))) return { path: made.path, hash: made.hash };
  // Not at the top: loading esbuild costs more than everything else that a command does when nothing has changed.
  const { build } = await import('esbuild');
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entries[program]],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    banner: { js: `// Node before 22 lacks this.\n${withResolvers}` },
    legalComments: 'none',
    logLevel: 'silent',
  });
  const content = result.outputFiles[0]!.contents;
  const hash = sha256(content).slice(0, 16);
  const path = join(folder, `${program}-${hash}.mjs`);
  const inputs: Made['inputs'] = {};
  // How it is made counts as well.
  for (const input of [...Object.keys(result.metafile.inputs), 'src/hosts/bundle.ts'])
    inputs[relative(root, join(root, input))] = sha256(await readFile(join(root, input)));
  await mkdir(folder, { recursive: true });
  await replace(path, content);
  await replace(record, JSON.stringify({ path, hash, inputs } satisfies Made));
  return { path, hash };
}

async function stands(made: Made): Promise<boolean> {
  try {
    await access(made.path);
    for (const [input, hash] of Object.entries(made.inputs))
      if (sha256(await readFile(join(root, input))) !== hash) return false;
    return true;
  } catch {
    return false;
  }
}

async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
