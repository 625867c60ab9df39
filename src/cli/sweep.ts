import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Journal } from '../cluster/journal.ts';
import type { Aimed } from '../drill/faults.ts';
import { runDrill, type World } from '../drill/run.ts';
import { steady } from '../drill/steady.ts';
import { choose, renderSweep, renderSweepHtml, type Sweep, type Tried } from '../drill/sweep.ts';
import { countOf } from '../drill/verdict.ts';
import type { Drills } from '../engines/drill.ts';
import { engines } from '../engines/index.ts';
import type { Service } from '../file/cluster.ts';
import { withValue } from '../file/edit.ts';
import { keysAt } from '../file/shape.ts';
import { killGroup } from '../hosts/shell.ts';
import { UserError } from './error.ts';
import { openSession, packReleases, type Session } from './session.ts';
import { carryOut, planNow } from './up.ts';

/** Runs of each value, unless it is said. */
const usualRuns = 3;
/** How long roles are watched with every core busy, unless it is said; milliseconds. */
const usualWatch = 20_000;
/** How long a change of the setting may take to settle, milliseconds. */
const settledMs = 60_000;

export interface SweepOrder {
  /** KEY=VALUE,VALUE,... */
  sweep: string;
  file: string | undefined;
  service: Service;
  aimed: Aimed;
  world(session: Session): World;
  forMs: number | undefined;
  /** How often each value is struck. */
  repeat: number | undefined;
  watchMs: number | undefined;
  seed: number;
  html: string | undefined;
  json: boolean;
}

/**
 * Tries each value of a setting on the running cluster: applied as `up` would, struck, then watched with every core busy.
 * In the end, also after Ctrl-C, the file's own value is put back. Exit status: 0 there is a value that we would take, 5 there is none.
 */
export async function sweepSetting(order: SweepOrder): Promise<number> {
  const { service, aimed } = order;
  const { setting, path, values } = parseSweep(order.sweep, service);
  const sweep: Sweep = {
    cluster: (await openSession(order.file)).cluster.name,
    service: service.name,
    setting,
    fault: aimed.name,
    tried: [],
  };
  const variant = (value: string): Promise<Session> =>
    openSession(order.file, { edit: (text) => withValue(text, service.name, path, value) });
  // All are read before the first is tried: a mistake in the last would else be found after minutes.
  for (const value of values) await variant(value);
  let interrupted = false;
  try {
    for (const value of values) {
      const session = await variant(value);
      const world = order.world(session);
      interrupted = world.signal.aborted;
      if (interrupted) break;
      console.error(`${setting} ${value}`);
      const tried = await tryValue(order, session, world, `${setting}=${value}`).catch((error: Error) => {
        if (!world.signal.aborted) throw error;
        return undefined;
      });
      interrupted = world.signal.aborted;
      if (interrupted || tried === undefined) break;
      sweep.tried.push({ value, ...tried });
    }
  } finally {
    const session = await openSession(order.file);
    console.error(`${setting}: back to what the file says`);
    await carriedOut(session);
  }
  // Of values that were not all tried none is the best.
  const choice = interrupted ? undefined : choose(sweep);
  process.stdout.write(
    order.json
      ? `${JSON.stringify({ ...sweep, choice: choice?.value ?? null })}\n`
      : renderSweep(sweep, interrupted),
  );
  if (order.html) writeFileSync(order.html, renderSweepHtml(sweep, interrupted));
  return choice === undefined ? 5 : 0;
}

/** `node-timeout=200ms,1s` and the setting's path in the service: the one key of that name, however it is spelt. */
function parseSweep(text: string, service: Service): { setting: string; path: string[]; values: string[] } {
  const [setting, list] = text.split('=', 2) as [string, string | undefined];
  const values = (list ?? '').split(',').filter(Boolean);
  if (setting === '' || values.length < 2)
    throw new UserError(
      `--sweep ${text}: a setting and two values or more`,
      'as in --sweep advert=20ms,50ms,1s',
    );
  const schema = engines[service.type]!.schema;
  const plain = (key: string): string => key.replaceAll('-', '').toLowerCase();
  const top = keysAt(schema, []);
  const paths = [
    ...top.map((key) => [key]),
    ...top.flatMap((key) => keysAt(schema, [key]).map((inner) => [key, inner])),
  ];
  const found = paths.filter(
    (path) => plain(path.at(-1)!) === plain(setting) || path.map(plain).join('.') === plain(setting),
  );
  if (found.length !== 1)
    throw new UserError(
      found.length === 0
        ? `a service of type ${service.type} has no setting "${setting}"`
        : `"${setting}" may be ${found.map((path) => path.join('.')).join(' or ')}`,
      found.length === 0 ? `it has ${top.join(', ')}` : 'write it with the key that it is in',
    );
  return { setting, path: found[0]!, values };
}

async function carriedOut(session: Session): Promise<void> {
  packReleases(session);
  const { steps, away } = await planNow(session);
  const destroying = steps.find((step) => step.destroys !== undefined);
  if (destroying)
    throw new UserError(
      `${destroying.id} would destroy data of ${destroying.destroys}: not a setting to be swept`,
    );
  if (steps.length === 0) return;
  const journal = new Journal(join(session.cluster.home, 'journal.jsonl'));
  const { failed, held } = await carryOut(session, steps, journal, 'drill', false, away);
  const [first] = [...failed, ...held];
  if (first) throw new UserError(`${first.step.id}: ${first.why}`);
}

/** Waits until the cluster is steady: after the change, and after each run. Gives how the service is drilled then. */
async function steadily(service: Service, world: World): Promise<Drills> {
  const { drills, before } = await steady(world, service, settledMs);
  world.signal.throwIfAborted();
  if (drills === undefined || before.length > 0)
    throw new UserError(`not steady within ${settledMs / 1000} s: ${before.join('; ')}`);
  return drills;
}

async function tryValue(
  { service: named, aimed, forMs, seed, repeat = usualRuns, watchMs = usualWatch }: SweepOrder,
  session: Session,
  world: World,
  label: string,
): Promise<Omit<Tried, 'value'>> {
  const { cluster, reach } = session;
  const service = cluster.services[named.name]!;
  const engine = engines[service.type]!;
  const drillsNow = async (): Promise<{ drills: Drills; live: unknown }> => {
    const live = await engine.observe?.(service, cluster, reach);
    return { drills: await engine.drills!(service, cluster, reach, live), live };
  };
  await carriedOut(session);
  const away: (number | null)[] = [];
  let lost: number | null = 0;
  let lostAtLeast = 0;
  let unsound = 0;
  for (let run = 0; run < repeat && !world.signal.aborted; run++) {
    const drills = await steadily(service, world);
    const { verdict } = await runDrill(world, {
      service,
      drills: { ...drills, timing: label },
      aimed,
      forMs: forMs ?? drills.forMs,
      seed: seed + run,
      accepted: [],
    });
    if (verdict.result !== 'valid') unsound++;
    away.push(verdict.recovery.atLeast ? null : verdict.recovery.rtoMs);
    lost = lost === null || verdict.lost === null ? null : lost + verdict.lost;
    lostAtLeast += countOf(verdict.anomalies, 'lost');
  }
  const moves = world.signal.aborted ? null : await busily(world, aimed.role, watchMs, drillsNow);
  return { away, lost, lostAtLeast, unsound, moves, watchedMs: watchMs };
}

/** How often the service failed over with every core busy and nothing broken; null: not known. Rejects once the signal is given. */
export async function busily(
  { signal }: Pick<World, 'signal'>,
  role: string,
  watchMs: number,
  drillsNow: () => Promise<{ drills: Pick<Drills, 'aim' | 'failovers'>; live: unknown }>,
): Promise<number | null> {
  let busy: ChildProcess[] = [];
  let counted: (() => Promise<number>) | undefined;
  try {
    const { drills } = await drillsNow();
    counted = await drills.failovers?.();
    busy = keepBusy(watchMs);
    if (counted === undefined) return await falseMoves(role, watchMs, drillsNow, signal);
    await wait(watchMs, undefined, { signal });
  } catch {
    signal.throwIfAborted();
    return null;
  } finally {
    for (const { pid } of busy) killGroup(pid);
  }
  return counted().catch(() => null);
}

/** Longer without knowing who plays the role, milliseconds, and what happened meanwhile is not known. */
const blindMs = 5_000;

/** How often the role changed hands within the time; null: nobody could say for too long. */
export async function falseMoves(
  role: string,
  watchMs: number,
  drillsNow: () => Promise<{ drills: Pick<Drills, 'aim'>; live: unknown }>,
  signal: AbortSignal,
  blind = blindMs,
): Promise<number | null> {
  const holders = async (): Promise<string | undefined> => {
    try {
      const { drills, live } = await drillsNow();
      // Every one that plays the role: what chance might pick.
      const all = Array.from({ length: 64 }, (_, n) => drills.aim(role, live, (below) => n % below));
      return [...new Set(all.map(({ host, member }) => member ?? host))].sort().join(' ');
    } catch {
      // Nobody plays it just now, or nobody can say.
      return undefined;
    }
  };
  let moves = 0;
  let before: string | undefined;
  let seen = performance.now();
  const until = seen + watchMs;
  while (performance.now() < until) {
    const now = await holders();
    if (performance.now() - seen > blind) return null;
    if (now !== undefined) {
      seen = performance.now();
      if (before !== undefined && now !== before) moves++;
      before = now;
    }
    await wait(200, undefined, { signal });
  }
  return before === undefined ? null : moves;
}

/**
 * One loop for each core, as long as its `timeout` lives: that ends even when this process is killed. Each is a process group, to be killed as one: a loop whose
 * `timeout` is gone before it begins would take init for that, and live for ever.
 */
function keepBusy(ms: number): ChildProcess[] {
  return cpus().map(() =>
    spawn('timeout', ['-s', 'KILL', String(ms / 1000 + 10), 'sh', '-c', 'while kill -0 $PPID; do :; done'], {
      stdio: 'ignore',
      detached: true,
    }),
  );
}
