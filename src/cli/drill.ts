import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { canonicalJson } from '../drill/canonical.ts';
import { type Aimed, faultNamed } from '../drill/faults.ts';
import { HistoryBroken } from '../drill/history.ts';
import { renderRepeated } from '../drill/repeated.ts';
import { renderHtml } from '../drill/report/html.ts';
import { renderJson } from '../drill/report/json.ts';
import { renderJunit } from '../drill/report/junit.ts';
import { awayOf, blameOf, type DrillRun, duration, lostOf, outcomeOf } from '../drill/report/run.ts';
import { renderTerminal } from '../drill/report/terminal.ts';
import { runDrill, type World } from '../drill/run.ts';
import { healAll, healLeftOver, leftOver, standingFault, standingText } from '../drill/standing.ts';
import { steady } from '../drill/steady.ts';
import { exitOf, verify } from '../drill/verdict.ts';
import { hostsOf, StepFailed } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import { parseDuration } from '../file/units.ts';
import { HostUnreachable } from '../hosts/host.ts';
import { UserError } from './error.ts';
import { dim, green, red, yellow } from './paint.ts';
import { lockAndKeep, openSession, type Session } from './session.ts';
import { sweepSetting } from './sweep.ts';

export interface DrillOptions {
  file?: string;
  json?: boolean;
  fault?: string[];
  endToEnd?: boolean;
  for?: string;
  seed?: string;
  html?: string;
  junit?: string;
  verify?: string;
  out?: string;
  degraded?: boolean;
  sweep?: string;
  repeat?: string;
  watch?: string;
  iMeanIt?: string[];
}

/** `phalanx drill`: faults under client load. Exit status 0 every promise kept, 4 one broken, 5 unknown. */
export async function drill(named: string | undefined, options: DrillOptions): Promise<number> {
  refuseCombinations(named, options);
  if (options.verify !== undefined) return verifyHistory(options.verify);
  const session = await openSession(options.file);
  const { cluster } = session;
  const meant = options.iMeanIt ?? [];
  const stranger = meant.find((host) => !(host in cluster.hosts));
  if (stranger !== undefined)
    throw new UserError(
      `--i-mean-it ${stranger}: ${cluster.file} has no such host`,
      `it has ${Object.keys(cluster.hosts).join(', ')}`,
    );
  const strokes: Stroke[] = options.endToEnd
    ? endToEnd(cluster, named, options.fault)
    : chosen(session, named).map((service) => ({ service, struck: service, named: options.fault }));
  refuseRealHosts(
    cluster,
    strokes.map(({ struck }) => struck),
    meant,
  );
  const seed = wholeNumber('--seed', options.seed, 0) ?? Math.floor(Math.random() * 2 ** 31);
  const forMs = milliseconds('--for', options.for);
  const repeat = wholeNumber('--repeat', options.repeat, 1);
  const watchMs = milliseconds('--watch', options.watch);
  for (const path of [options.html, options.junit]) refuseUnwritable(path);
  const lock = await lockAndKeep(session);
  const stop = new AbortController();
  const end = (error: Error): void => {
    if (!stop.signal.aborted) console.error(`\n${error.message}: healing what was made, then stopping`);
    stop.abort(error);
  };
  const onSignal = (): void => end(new Error('interrupted'));
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  // Whatever goes wrong anywhere in this process, the fault does not outlive it.
  const unforeseen = ['uncaughtException', 'unhandledRejection'] as const;
  for (const event of unforeseen) process.on(event, end);
  const runs: DrillRun[] = [];
  let exit = 0;
  try {
    const healed = await healLeftOver(cluster, session.reach);
    if (leftOver(cluster)) throw new UserError(healed!, 'one fault at a time: phalanx heal when it answers');
    if (healed !== undefined) console.error(yellow(healed));
    const worldOf = (of: Session): World => ({
      cluster: of.cluster,
      engines,
      reach: of.reach,
      base: resolve(options.out ?? join(cluster.home, 'drills')),
      versions: { phalanx: ownVersion(), node: process.versions.node },
      say: (line) => console.error(dim(`  ${line}`)),
      meant,
      signal: stop.signal,
    });
    const world = worldOf(session);
    if (options.sweep !== undefined) {
      const [stroke, another] = strokes;
      if (stroke === undefined || another !== undefined)
        throw new UserError(
          '--sweep tries a setting of one service',
          'name it: phalanx drill cart --sweep ...',
        );
      const [aimed] = await faultsOf(world, stroke.struck, stroke.named);
      return await sweepSetting({
        sweep: options.sweep,
        file: options.file,
        service: stroke.service,
        aimed: aimed!,
        world: worldOf,
        forMs,
        repeat,
        watchMs,
        seed,
        html: options.html,
        json: options.json === true,
      });
    }
    // Every mistake in what was asked for is said before the first fault, not when its turn comes.
    const planned = await plannedDrills(world, strokes, named === undefined && !options.endToEnd);
    if (forMs !== undefined && planned.every(({ aimed }) => aimed.every(isMomentary)))
      throw new UserError('--for says how long a fault stands, and these are over at once');
    for (const { service, struck, aimed: faults } of planned)
      for (const { aimed, round } of rounds(faults, repeat)) {
        if (stop.signal.aborted) break;
        console.error(
          `${struck.name}: ${aimed.name}${repeat === undefined ? '' : `, ${round + 1} of ${repeat}`}`,
        );
        await healLast(session);
        // What a round leaves behind may take longer to settle than the drill waited for.
        const patience = options.degraded ? 0 : round > 0 ? settledMs : settlingMs;
        const { drills: own, before } = await steady(world, struck, patience);
        if (stop.signal.aborted) break;
        if (own === undefined || (before.length > 0 && !options.degraded)) {
          const leave = own === undefined ? '' : ' (--degraded drills it nevertheless)';
          console.error(`${yellow('not drilled')}: the cluster is not steady before any fault${leave}`);
          for (const trouble of before) console.error(`  ${trouble}`);
          exit = worse(exit, 5);
          break;
        }
        const target = { service: struck, drills: own };
        const drills = options.endToEnd ? engines[service.type]!.transactions!(service, cluster)! : own;
        const run = await runDrill(world, {
          service,
          drills,
          ...(options.endToEnd ? { target } : {}),
          aimed,
          forMs: forMs ?? target.drills.forMs,
          seed: seed + round,
          accepted: before,
        }).catch((error: Error) => {
          if (error instanceof StepFailed) return error;
          throw error;
        });
        if (run instanceof StepFailed) {
          console.error(`${yellow('not drilled')}: ${run.message} (phalanx status says more)`);
          exit = worse(exit, 5);
          break;
        }
        runs.push(run);
        // What was cut short proves nothing, however long the last answers were waited for.
        exit = worse(exit, stop.signal.aborted ? 5 : exitOf(run.verdict));
        console.error(`  ${summary(run)}`);
        console.error(dim(`  evidence: ${run.bundle.folder}`));
      }
  } finally {
    // What was found is told, also when something else went wrong after it.
    if (runs.length > 0) report(runs, options, repeat);
    for (const signal of signals) process.off(signal, onSignal);
    for (const event of unforeseen) process.off(event, end);
    await lock.release();
  }
  if (options.json && runs.length === 0) process.stdout.write(renderJson(runs));
  return stop.signal.aborted ? worse(exit, 5) : exit;
}

/** What the round before could not heal; one fault at a time. */
async function healLast({ cluster, reach }: Session): Promise<void> {
  const last = standingFault(cluster);
  if (last === undefined) return;
  await healAll(cluster, reach).catch((error: Error) => {
    throw new UserError(
      `${standingText(last.fault)} is not healed: ${error.message}`,
      'phalanx heal when it answers',
    );
  });
}

/** The table first: a file that cannot be written takes nothing of it away. */
function report(runs: DrillRun[], options: DrillOptions, repeat: number | undefined): void {
  if (options.json) process.stdout.write(renderJson(runs));
  else
    process.stdout.write(
      repeat === undefined ? renderTerminal(runs, process.stdout.columns ?? 120) : renderRepeated(runs),
    );
  if (options.html) writeFileSync(options.html, renderHtml(runs));
  if (options.junit) writeFileSync(options.junit, renderJunit(runs));
}

/** What says nothing together with something else that was asked for. */
function refuseCombinations(named: string | undefined, options: DrillOptions): void {
  const given = (keys: (keyof DrillOptions)[]): string[] =>
    keys
      .filter((key) => options[key] !== undefined && options[key] !== false)
      .map((key) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  const refuse = (what: string, others: string[]): void => {
    if (others.length > 0) throw new UserError(`${what} takes no ${others.join(', ')}`);
  };
  const drilling = given([
    'fault',
    'endToEnd',
    'for',
    'seed',
    'html',
    'junit',
    'out',
    'degraded',
    'sweep',
    'repeat',
    'watch',
    'iMeanIt',
  ]);
  if (options.verify !== undefined)
    refuse('--verify', [...(named === undefined ? [] : [named]), ...drilling]);
  if (options.sweep !== undefined) {
    refuse('--sweep', given(['endToEnd', 'junit', 'degraded']));
    if ((options.fault?.length ?? 1) > 1) throw new UserError('--sweep strikes each value by one --fault');
  } else refuse('a drill without --sweep', given(['watch']));
}

function refuseUnwritable(path: string | undefined): void {
  if (path === undefined) return;
  try {
    accessSync(existsSync(path) ? path : dirname(resolve(path)), constants.W_OK);
  } catch (error) {
    throw new UserError(`${path} cannot be written: ${(error as NodeJS.ErrnoException).code}`);
  }
}

const isMomentary = ({ fault }: Aimed): boolean => fault.momentary === true && fault.everyMs === undefined;

/**
 * The faults of every stroke. A fault that was named for no service in particular strikes those that have its role; where none has, the reason is
 * that of the first.
 */
async function plannedDrills(
  world: World,
  strokes: Stroke[],
  anywhere: boolean,
): Promise<(Stroke & { aimed: Aimed[] })[]> {
  const planned: (Stroke & { aimed: Aimed[] })[] = [];
  let why: unknown;
  for (const stroke of strokes)
    try {
      const aimed = (await faultsOf(world, stroke.struck, stroke.named)).slice(0, stroke.first);
      planned.push({ ...stroke, aimed });
    } catch (error) {
      if (!(anywhere && stroke.named !== undefined && error instanceof UserError)) throw error;
      why ??= error;
    }
  if (planned.length === 0 && why !== undefined) throw why;
  return planned;
}

/** `phalanx heal`: undoes every fault of the lab, whoever made it, and what a drill left on a real machine. */
export async function healCommand(file: string | undefined, options: { json?: boolean }): Promise<number> {
  const session = await openSession(file);
  const lock = await lockAndKeep(session);
  try {
    const left = standingFault(session.cluster);
    await healAll(session.cluster, session.reach).catch((error: Error) => {
      if (!(error instanceof HostUnreachable)) throw error;
      throw new UserError(
        `${error.message}, so this is not healed: ${standingText(left!.fault)}`,
        'once more when it does',
      );
    });
    if (options.json) console.log(JSON.stringify({ outcome: 'done', healed: left?.fault ?? null }));
    else
      console.log(
        `${green('healed')}: every cable is in, every host is on, nothing is cut off or frozen${left ? ` (${standingText(left.fault)})` : ''}`,
      );
    return 0;
  } finally {
    await lock.release();
  }
}

function chosen({ cluster }: Session, named: string | undefined): Service[] {
  const drillable = Object.values(cluster.services).filter((service) => engines[service.type]!.drills);
  if (named === undefined && drillable.length === 0)
    throw new UserError(
      `${cluster.file}: none of its services can be drilled`,
      `those can that are of type ${Object.keys(engines)
        .filter((type) => engines[type]!.drills)
        .join(', ')}`,
    );
  if (named === undefined) return drillable;
  const service = cluster.services[named];
  if (service === undefined)
    throw new UserError(
      `${cluster.file} has no service ${named}`,
      `it has ${Object.keys(cluster.services).join(', ')}`,
    );
  if (!drillable.includes(service))
    throw new UserError(`a service of type ${service.type} cannot be drilled yet`);
  return [service];
}

/** Whose clients are watched, what is struck, and by which faults: the named ones, or the first few of its standard faults. */
interface Stroke {
  service: Service;
  struck: Service;
  named: string[] | undefined;
  first?: number;
}

/** Customers of the app that says what they do; each service that a transaction goes through is struck in turn, the one before the app first. */
function endToEnd(cluster: Cluster, named: string | undefined, faults: string[] | undefined): Stroke[] {
  const all = Object.values(cluster.services);
  const apps = all.filter((service) => engines[service.type]!.transactions?.(service, cluster));
  const service = named === undefined ? apps[0] : apps.find((one) => one.name === named);
  if (service === undefined)
    throw new UserError(
      named === undefined
        ? `${cluster.file}: no app says what its customers do`
        : `${cluster.file}: ${named} does not say what its customers do`,
      'give the app a line such as `drill: { request: POST /order, read: "/order/{id}" }`',
    );
  const passed = all.filter(
    (one) =>
      engines[one.type]!.drills &&
      (one === service ||
        service.uses.includes(one.name) ||
        engines[one.type]!.follows?.(one).includes(service.name)),
  );
  if (faults === undefined) return passed.map((struck) => ({ service, struck, named: undefined, first: 1 }));
  return faults.map((fault) => {
    const [name, verbRole] = fault.split('.', 2) as [string, string | undefined];
    const struck = passed.find((one) => one.name === name);
    if (struck === undefined || verbRole === undefined)
      throw new UserError(
        `--fault ${fault}: end to end a fault is SERVICE.VERB-ROLE`,
        `its transactions go through ${passed.map((one) => one.name).join(', ')}`,
      );
    return { service, struck, named: [verbRole] };
  });
}

/** Faults go to lab hosts; to real machines only when each is named. */
function refuseRealHosts(cluster: Cluster, services: Service[], meant: string[]): void {
  const real = [...new Set(services.flatMap((service) => hostsOf(service, engines)))].filter(
    (host) => cluster.hosts[host]!.kind === 'ssh' && !meant.includes(host),
  );
  if (real.length > 0)
    throw new UserError(
      `${real.join(', ')}: real machines; a drill kills, freezes and cuts off what it is aimed at`,
      `if that is what you want: --i-mean-it ${real.join(' ')}`,
    );
}

async function faultsOf(world: World, service: Service, named: string[] | undefined): Promise<Aimed[]> {
  const { cluster, reach } = world;
  const engine = engines[service.type]!;
  const live = await engine.observe?.(service, cluster, reach);
  const { standard, roles } = await engine.drills!(service, cluster, reach, live).catch((error: Error) => {
    if (!(error instanceof StepFailed)) throw error;
    throw new UserError(`${service.name} cannot be drilled: ${error.message}`, 'phalanx status says more');
  });
  return (named ?? standard).map((name) => {
    const aimed = faultNamed(name, roles);
    if (typeof aimed === 'string') throw new UserError(`${service.name}: ${aimed}`);
    const hosts = hostsOf(service, engines);
    const real = hosts.filter((host) => cluster.hosts[host]!.kind === 'ssh');
    if (aimed.fault.lab && real.length > 0)
      throw new UserError(`${name} needs the switch of a lab, and ${real.join(', ')} is no lab host`);
    const { own } = aimed.fault;
    const sharing = hosts.filter((host) => {
      const entry = cluster.hosts[host]!;
      return own !== undefined && entry.kind === 'lab' && entry[own] === undefined;
    });
    if (own !== undefined && sharing.length > 0)
      throw new UserError(...ownParts[own](name, sharing.join(', '), sharing[0]!));
    return aimed;
  });
}

/** What is missing, and how a host gets it, for faults that need a part which nobody else uses. */
const ownParts: Record<'disk' | 'clock', (fault: string, hosts: string, first: string) => [string, string]> =
  {
    disk: (fault, hosts, first) => [
      `${fault} needs a disk that it may fill, and ${hosts} shares this machine's`,
      `give a new host one in the file: ${first}: { disk: 512mb }`,
    ],
    clock: (fault, hosts, first) => [
      `${fault} needs a clock that it may set, and ${hosts} has this machine's`,
      `give it one in the file, ${first}: { clock: own }, then phalanx down and up`,
    ],
  };

/** Before the first fault: servers that have just come back are not in every director's pool at once. Milliseconds. */
const settlingMs = 10_000;
/** Between the rounds of a fault, milliseconds. */
const settledMs = 60_000;

/** Every fault as often as is asked for, one after the other. */
const rounds = (faults: Aimed[], repeat = 1): { aimed: Aimed; round: number }[] =>
  faults.flatMap((aimed) => Array.from({ length: repeat }, (_, round) => ({ aimed, round })));

/** One line: what it came to, and how that compares with the last time. */
function summary(run: DrillRun): string {
  const outcome = outcomeOf(run);
  const paint = outcome === 'kept' || outcome === 'valid' ? green : outcome === 'unknown' ? yellow : red;
  const { comparison } = run;
  const last =
    comparison?.rto.changeMs === null || comparison === undefined
      ? ''
      : `; last time ${duration(comparison.rto.beforeMs!)}, ${comparison.outcome}`;
  const { rtoMs, baselineGapMs } = run.verdict.recovery;
  const exact = rtoMs === null || baselineGapMs === null ? '' : ` (known to ${duration(baselineGapMs)})`;
  const whose = blameOf(run);
  return `${paint(outcome)}: away ${awayOf(run)}${exact}${whose === '' ? '' : ` because of ${whose}`}, lost ${lostOf(run)}${last}`;
}

function verifyHistory(path: string): number {
  try {
    const verdict = verify(path);
    process.stdout.write(canonicalJson(verdict));
    return exitOf(verdict);
  } catch (error) {
    if (error instanceof HistoryBroken) throw new UserError(`${path}: ${error.message}`);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new UserError(`there is no history ${path}`);
    throw error;
  }
}

/** Broken outweighs unknown, unknown outweighs kept. */
const worse = (one: number, other: number): number => (one === 4 || other === 4 ? 4 : Math.max(one, other));

function wholeNumber(option: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least)
    throw new UserError(`${option} ${text}: a whole number, ${least} or more`);
  return value;
}

function milliseconds(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === undefined || ms <= 0) throw new UserError(`${option} ${text}: a duration such as 20s or 500ms`);
  return ms;
}

function ownVersion(): string {
  const file = join(import.meta.dirname, '../../package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
