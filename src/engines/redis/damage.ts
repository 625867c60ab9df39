import { type ClusterNode, parseNodes } from './nodes.ts';

/** A member's data as its start script found it (start.ts): it cannot be read, so the member waits instead of starting. */
export interface Damage {
  /** aof: a log of writes; rdb: a snapshot, or the base of a log; list: the list of the log's files, or a file that it names and that is not there. */
  kind: 'aof' | 'rdb' | 'list';
  /** Relative to the member's data folder. */
  file: string;
  /** In the words of Redis's tool. */
  why: string;
  /** Bytes of it. */
  size?: number;
  /** What is before this byte can be read. */
  sound?: number;
  /** Writes that begin behind it, at most. */
  writes?: number;
  /** Redis's tool can shorten it: only the last file of a log. */
  last: boolean;
  /** When anything of the member's data was written last; seconds since 1970. */
  writtenAt: number;
  /** cluster: the member's own line of its nodes.conf. */
  self?: ClusterNode;
}

/** Where the start script says what it found, in the member's data folder. */
export const damageFile = '.damage';

/** Prints what was found of each member, for `parseDamages`; `root` is the host's. */
export const damageScript = (root: string, members: string[]): string =>
  members
    .map(
      (member) =>
        `if [ -e '${root}/members/${member}/data/${damageFile}' ]; then echo '@ ${member}'; head -c 20000 '${root}/members/${member}/data/${damageFile}'; echo; fi`,
    )
    .join('\n');

/** By member. */
export function parseDamages(text: string): Map<string, Damage> {
  const found = new Map<string, Damage>();
  for (const part of text.split(/^@ /m).slice(1)) {
    const end = part.indexOf('\n');
    found.set(part.slice(0, end), parseDamage(part.slice(end + 1)));
  }
  return found;
}

/** Reads a damage file: `name value` lines, a line of dashes, and what redis-check-aof or redis-check-rdb of Redis 7.0 printed. */
export function parseDamage(text: string): Damage {
  const [head = '', said = ''] = text.split(/^---\n/m);
  const field = (name: string): string | undefined => new RegExp(`^${name} (.+)$`, 'm').exec(head)?.[1];
  const lines = said.split('\n').map((line) => line.trim());
  const self = field('self');
  const common = {
    writtenAt: Number(field('written') ?? 0),
    ...(self === undefined ? {} : { self: parseNodes(self)[0]! }),
  };
  const error = lines.findIndex((line) => line.includes('RDB ERROR DETECTED'));
  if (error >= 0) {
    const [, at = '0', why = 'cannot be read'] = /^\[offset (\d+)\] (.*)$/.exec(lines[error + 1] ?? '') ?? [];
    const name = /Checking RDB file (.*)$/m.exec(said)?.[1] ?? 'dump.rdb';
    const file = /\.base\.rdb$/.test(name) ? `appendonlydir/${basename(name)}` : basename(name);
    return { ...common, kind: 'rdb', file, why, sound: Number(at), last: false };
  }
  const analyzed = [
    ...said.matchAll(/^AOF analyzed: filename=(.*), size=(\d+), ok_up_to=(\d+),.*diff=(\d+)$/gm),
  ]
    .map(([, name = '', size, sound, diff]) => ({ name: basename(name), size, sound, diff }))
    .findLast(({ diff }) => diff !== '0');
  if (analyzed && !analyzed.name.endsWith('.manifest')) {
    const why = lines.find((line) => /^0x|format error/.test(line)) ?? 'it ends in the middle of a write';
    const writes = field('writes');
    return {
      ...common,
      kind: 'aof',
      file: `appendonlydir/${analyzed.name}`,
      why,
      size: Number(analyzed.size),
      sound: Number(analyzed.sound),
      ...(writes === undefined ? {} : { writes: Number(writes) }),
      last: field('last') === analyzed.name,
    };
  }
  const missing = /Cannot open file (\S+): (.*), aborting/.exec(said);
  return {
    ...common,
    kind: 'list',
    file: `appendonlydir/${missing ? basename(missing[1]!) : 'appendonly.aof.manifest'}`,
    why: missing?.[2] ?? lines.findLast((line) => line !== '') ?? 'cannot be read',
    last: false,
  };
}

const basename = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** What is damaged and what of it is lost, in a sentence without a full stop. */
export function damageText(damage: Damage): string {
  const { kind, file, why, size = 0, sound = 0, writes } = damage;
  if (kind === 'list') return `${file} cannot be read (${why})`;
  if (kind === 'rdb')
    return `${file} cannot be read from byte ${sound} on (${why}), and a snapshot is read whole or not at all`;
  const lost = writes === undefined ? '' : `, at most ${writes} write${writes === 1 ? '' : 's'}`;
  return `${file} cannot be read from byte ${sound} of ${size} on: ${size - sound} bytes${lost}`;
}
