import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner, memberFolder } from '../../hosts/supervise.ts';
import { type Remedy, type Step, StepFailed } from '../engine.ts';
import { type Copy, copyOf, unheard } from './copies.ts';
import { type Damage, damageFile, damageText } from './damage.ts';
import { at, type LiveMember, type RedisLive } from './live.ts';
import { move, stepOf } from './move.ts';
import { observeRedis } from './observe.ts';
import { entryOf, type RedisService } from './seats.ts';

export const ways = ['copy', 'shorten', 'empty'] as const;
export type Way = (typeof ways)[number];

/** What is wrong with a member's data and what mends it, seen now. Changes nothing. */
export async function repairRedis(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  name: string,
  way?: string,
): Promise<Remedy | undefined> {
  if (way !== undefined && !ways.includes(way as Way))
    throw new StepFailed(`there is no way "${way}": ${ways.join(', ')}`);
  const live = await observeRedis(service, cluster, reach);
  const member = live.members.find((one) => one.name === name);
  if (!member)
    throw new StepFailed(
      `${name} is no member of ${service.name}: ${live.members.map((one) => one.name).join(', ')}`,
    );
  if (!member.damage) return undefined;
  return remedy(service, cluster, live, member, way as Way | undefined, new Date());
}

/**
 * How a damaged member is mended, by the way that is named, else by the one that loses least: a copy that is at least as new
 * is taken instead of the file; a log without one is shortened to what can be read, on a copy of it. The damaged files
 * are kept in every case. Without steps where a person has to decide. Pure.
 */
export function remedy(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  member: LiveMember,
  way: Way | undefined,
  now: Date,
): Remedy {
  const damage = member.damage!;
  const copy = copyOf(service, live, member.name, damage);
  const silent = unheard(service, live, member.name, damage);
  const shortens = damage.kind === 'aof' && damage.last;
  const found = [
    `${member.name}: ${damageText(damage)}`,
    ...(damage.kind === 'list' ? [] : [`Redis says: ${damage.why}`]),
    copy
      ? `${copy.why}${copy.newer ? ', so nothing is lost with the damaged file' : ': that may be older than the damaged file'}`
      : 'no other member that answers has its data',
    ...silent.map(
      ({ name, loading, why }) =>
        `${name} ${loading ? 'is still reading its data' : `does not answer (${why})`}, and may have all of it`,
    ),
  ];
  const { root } = entryOf(cluster, member.host);
  const keep = `damaged-${now.toISOString().replace(/\.\d+|[-:]/g, '')}`;
  // A copy that may be older, and a file that lost something: which of them counts is for a person to say. So it is where a
  // member that may have everything is not there yet: it would become a copy of what is left here.
  const by = way ?? (copy?.newer ? 'copy' : shortens && !copy && silent.length === 0 ? 'shorten' : undefined);
  if (by === 'copy' && !copy) return { found: [...found, 'there is nothing to copy from'], steps: [] };
  if (by === 'shorten' && !shortens)
    return {
      found: [...found, 'only the last file of a log can be shortened; the others and snapshots cannot'],
      steps: [],
    };
  if (by === undefined)
    return { found: [...found, ...decisions(service, member, damage, copy, shortens, silent)], steps: [] };
  const steps = { copy: fromCopy, shorten, empty };
  return { found, steps: steps[by](service, member, damage, copy, { root, keep }, silent) };
}

/** What a person can do where Phalanx does not choose. */
function decisions(
  service: RedisService,
  { name }: LiveMember,
  { file, sound, size }: Damage,
  copy: Copy | undefined,
  shortens: boolean,
  silent: LiveMember[],
): string[] {
  const allowed = `--allow-data-loss ${service.name}`;
  return [
    `nothing is done by itself; what can be, and the damaged file is kept in each case:`,
    ...(silent.length > 0
      ? [`  once ${silent.map((one) => one.name).join(', ')} can be asked: phalanx repair ${name} again`]
      : []),
    ...(copy
      ? [
          `  phalanx repair ${name} --way copy ${allowed}: the data of ${copy.member.name}, which may be older`,
        ]
      : []),
    ...(shortens
      ? [`  phalanx repair ${name} --way shorten ${allowed}: the first ${sound} of ${size} bytes of the log`]
      : []),
    `  a sound ${file} in its place on ${name.slice(name.indexOf('@') + 1)}, and ${damageFile} removed in the same data folder: it starts`,
    `  phalanx repair ${name} --way empty ${allowed}: it starts with nothing; phalanx restore then brings a backup`,
  ];
}

interface Places {
  /** Of the member's host. */
  root: string;
  /** Folder in `data` for what is damaged. */
  keep: string;
}

type Make = (
  service: RedisService,
  member: LiveMember,
  damage: Damage,
  copy: Copy | undefined,
  places: Places,
  silent: LiveMember[],
) => Step[];

const fromCopy: Make = (service, member, damage, copy, places) => {
  const { member: source, leads, newer, why } = copy!;
  const first = leads
    ? []
    : [
        stepOf(
          service.name,
          move('promote', source.name, `it leads instead of ${member.name}, which is down: ${why}`, {
            name: 'switchover',
            // What may be older is taken only where a person has allowed the loss.
            args: { to: source.name, force: true, ...(newer ? {} : { allowDataLoss: true }) },
          }),
        ),
      ];
  // Mode replication has nobody to ask: it follows whom it followed last (start.ts).
  const role = service.spec.mode === 'replication' ? `printf '%s\\n' ${quote(at(source))} >.role` : ':';
  const aside = script(
    service,
    member,
    places,
    'set aside',
    `${damage.file} and what belongs to it, to data/${places.keep}; it copies ${source.name} afterwards`,
    `${moveAway(places)}\n${role}\nrm -f ${damageFile}`,
    first,
  );
  if (!newer) aside.destroys = service.name;
  return [...first, aside, ready(service, member, aside)];
};

const shorten: Make = (service, member, damage, copy, places, silent) => {
  const name = damage.file.slice(damage.file.lastIndexOf('/') + 1);
  const kept = `${places.keep}/${name}`;
  const draft = `${places.keep}/repaired`;
  // The member waits while the damage file is there, and that goes last: wherever this is cut off, it can be done again.
  const one = script(
    service,
    member,
    places,
    'repair',
    `${damage.file} is shortened to ${damage.sound} of ${damage.size} bytes by redis-check-aof, on a copy; the original stays as data/${kept}`,
    `mkdir -p -m 700 ${places.keep}
ln -f ${quote(damage.file)} ${quote(kept)} 2>/dev/null || cp -p ${quote(damage.file)} ${quote(kept)}
cp -p ${quote(damage.file)} ${quote(draft)}
echo y | redis-check-aof --fix ${quote(draft)} >${quote(`${draft}.log`)} 2>&1 || :
if ! redis-check-aof ${quote(draft)} >>${quote(`${draft}.log`)} 2>&1 || [ "$(stat -c %s ${quote(draft)})" != ${damage.sound} ]; then
  { echo 'redis-check-aof could not repair the copy, and nothing was changed:'; tail -n 3 ${quote(`${draft}.log`)}; } >&2
  exit 1
fi
sync ${quote(draft)}
mv -f ${quote(draft)} ${quote(damage.file)}
rm -f ${quote(`${draft}.log`)} ${damageFile}`,
    [],
  );
  // Somebody may have more than will be left here, and become its copy.
  if (copy ? !copy.leads || !copy.newer : silent.length > 0) one.destroys = service.name;
  return [one, ready(service, member, one)];
};

const empty: Make = (service, member, damage, _copy, places) => {
  const one = script(
    service,
    member,
    places,
    'set aside',
    `${damage.file} and what belongs to it, to data/${places.keep}; it starts with nothing`,
    `${moveAway(places)}\nrm -f ${damageFile}`,
    [],
  );
  return [{ ...one, destroys: service.name }, ready(service, member, one)];
};

const moveAway = ({ keep }: Places): string => `mkdir -p -m 700 ${keep}
for one in appendonlydir dump.rdb; do
  [ ! -e "$one" ] || mv "$one" ${keep}/
done`;

function script(
  service: RedisService,
  member: LiveMember,
  { root }: Places,
  verb: string,
  why: string,
  text: string,
  after: Step[],
): Step {
  return {
    id: `${verb} ${member.name}`,
    verb,
    target: member.name,
    host: member.host,
    service: service.name,
    why,
    needs: after.map(({ id }) => id),
    do: {
      kind: 'script',
      script: asOwner(
        member,
        root,
        `set -eu\ncd ${quote(`${memberFolder(member, root)}/data`)}\n[ -e ${damageFile} ] || exit 0\n${text}`,
      ),
      timeoutMs: 600_000,
    },
  };
}

const ready = (service: RedisService, member: LiveMember, after: Step): Step =>
  stepOf(
    service.name,
    move(
      'ready',
      member.name,
      'until it answers',
      { name: 'ready', args: { member: member.name } },
      { needs: [after.id] },
    ),
  );
