import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { StepHeld } from '../../engine.ts';
import { type Range, showRanges, slotCount, slotsIn } from '../slots.ts';
import { checkDump } from './check-dump.ts';

/** The file that makes a folder a backup. */
export const manifestName = 'manifest.json';

const shard = z.strictObject({
  file: z.string().regex(/^shard-\d+\.rdb$/),
  /** Inclusive; empty where there are no slots. */
  slots: z.array(z.tuple([z.int().min(0), z.int().max(slotCount - 1)])),
  from: z.string(),
  role: z.enum(['replica', 'master']),
  master: z.string(),
  /** The place in the history of writes that the file ends at. */
  replid: z.string(),
  offset: z.number(),
  bytes: z.number(),
  sha256: z.string(),
  keys: z.number(),
  /** Databases that hold keys. */
  databases: z.array(z.int()),
  /** Bytes that the member used for it. */
  memory: z.number(),
});

const body = z.strictObject({
  backup: z.literal(1),
  cluster: z.string(),
  service: z.string(),
  mode: z.enum(['replication', 'sentinel', 'cluster']),
  /** Version of the redis-server that wrote the files. */
  redis: z.string(),
  /** When the files were taken, ISO 8601, UTC. */
  taken: z.string(),
  shards: z.array(shard).min(1),
});

/** The seal is the SHA-256 of everything else. */
const manifest = z.strictObject({ ...body.shape, seal: z.string() });

/** What a backup says of itself. */
export type Manifest = z.output<typeof manifest>;
export type ManifestShard = z.output<typeof shard>;

/** Over the keys in the schema's order, whatever their order is here. */
const sealOf = (content: z.input<typeof body>): string =>
  createHash('sha256')
    .update(JSON.stringify(body.parse(content)))
    .digest('hex');

/** The manifest's text. */
export function sealed(content: z.input<typeof body>): string {
  return `${JSON.stringify({ ...content, seal: sealOf(content) }, null, 2)}\n`;
}

/** A backup that cannot be used: what is wrong with it. */
export class BadBackup extends StepHeld {
  override name = 'BadBackup';
}

/** Reads a manifest. Throws BadBackup when it is none, was changed after it was written, or is not whole. */
export function parseManifest(text: string): Manifest {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw new BadBackup(`its ${manifestName} is damaged: it is no JSON`);
  }
  const version = (given as { backup?: unknown } | null)?.backup;
  if (typeof version === 'number' && version !== 1)
    throw new BadBackup(`it has format ${version}, and this version of Phalanx reads format 1`);
  const parsed = manifest.safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new BadBackup(
      `its ${manifestName} is damaged: ${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'no manifest'}`,
    );
  }
  const { seal, ...content } = parsed.data;
  if (seal !== sealOf(content)) throw new BadBackup(`its ${manifestName} was changed after it was written`);
  const gap = uncovered(parsed.data);
  if (gap !== undefined) throw new BadBackup(gap);
  return parsed.data;
}

/** What is missing of the slots, or held twice. */
function uncovered({ mode, shards }: Manifest): string | undefined {
  if (mode !== 'cluster')
    return shards.length === 1 ? undefined : `it holds ${shards.length} files and mode ${mode} has one`;
  const all = shards.flatMap(({ slots }) => slotsIn(slots as Range[]));
  if (new Set(all).size !== all.length) return 'slots are in two of its files';
  return all.length === slotCount ? undefined : `it holds ${all.length} of ${slotCount} slots`;
}

/**
 * Reads a backup and proves it: every file is there, has its size and its checksum, and is a dump that Redis can
 * read to its end. Throws BadBackup with what is wrong; changes nothing.
 */
export async function readBackup(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, manifestName), 'utf8').catch(() => {
    throw new BadBackup(`${folder} has no ${manifestName}: it is no backup, or one that was not ended`);
  });
  const found = parseManifest(text);
  for (const one of found.shards) {
    const path = join(folder, one.file);
    const size = await stat(path).catch(() => undefined);
    const slots = one.slots.length > 0 ? `, slots ${showRanges(one.slots as Range[])}` : '';
    if (!size) throw new BadBackup(`${one.file} is missing (${one.keys} keys${slots})`);
    if (size.size !== one.bytes)
      throw new BadBackup(`${one.file} is damaged: ${size.size} bytes, the manifest says ${one.bytes}`);
    if ((await sha256Of(path)) !== one.sha256)
      throw new BadBackup(`${one.file} is damaged: its checksum is not the manifest's`);
    const dump = await checkDump(path);
    if ('wrong' in dump) throw new BadBackup(`${one.file} cannot be read: ${dump.wrong}`);
    if (dump.keys !== one.keys)
      throw new BadBackup(`${one.file} holds ${dump.keys} keys, the manifest says ${one.keys}`);
  }
  return found;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}
