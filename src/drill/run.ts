import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engines } from '../cluster/observe.ts';
import type { DrillClient, DrillFinal, Drills, DrillTarget } from '../engines/drill.ts';
import { StepFailed } from '../engines/engine.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { type Bundle, keepVerdict, lastVerdict, newBundle } from './bundle.ts';
import { compare } from './comparison.ts';
import type { Aimed, Scene } from './faults.ts';
import { leastBaseline } from './gaps.ts';
import { Load } from './load.ts';
import { untilPaced } from './pace.ts';
import { Random } from './random.ts';
import { Recorder } from './recorder.ts';
import type { DrillRun } from './report/run.ts';
import { forget, healAll, remember } from './standing.ts';
import { troublesNow, unwhole } from './steady.ts';
import { analyse } from './verdict.ts';

/** The cluster that is drilled and the way to it. */
export interface World {
  cluster: Cluster;
  engines: Engines;
  reach: Reach;
  /** Folder that evidence is kept in. */
  base: string;
  /** Of Phalanx and Node. */
  versions: Record<string, string>;
  say(line: string): void;
  /** Real machines that may be struck. */
  meant: string[];
  /** Ends the drill early; what was made is healed. */
  signal: AbortSignal;
}

export interface DrillOrder {
  /** Whose clients, promise and history these are. */
  service: Service;
  drills: Drills;
  /** Whom the fault strikes, where that is another one: clients of the whole shop, a fault in its database. */
  target?: { service: Service; drills: Drills };
  aimed: Aimed;
  forMs: number;
  seed: number;
  /** What was not as it should be before, and is accepted. */
  accepted: string[];
  /** After this the drill stops waiting for the cluster to be whole, milliseconds; a minute unless it is said. */
  wholeMs?: number;
}

/** Traffic before the fault: at least 100 gaps of the slowest group (gaps.ts), with a margin. Milliseconds. */
const baselineMs = (rate: number): number => Math.max(3_000, (1.25 * leastBaseline * 1_000) / rate);
/** Traffic after the cluster was seen whole again. */
const tailMs = 2_000;
/** Clients that were not turned away for this long are served again: whoever watches the members looks less often than a process takes to come back. */
const servedMs = 1_000;
/** How long somebody is looked for who plays the role. */
const aimMs = 5_000;

/** One fault under load, from a steady cluster to a whole one, and what it proves. Rejects only when nothing could be recorded at all: StepFailed where its clients cannot connect. */
export async function runDrill(world: World, order: DrillOrder): Promise<DrillRun & { bundle: Bundle }> {
  const { cluster } = world;
  const { service, drills } = order;
  const now = new Date();
  const name = `phalanx-drill-${randomBytes(4).toString('hex')}`;
  const client = await drills.open(name).catch((error: Error) => {
    throw new StepFailed(`the drill's clients cannot connect to ${service.name}: ${error.message}`);
  });
  try {
    const bundle = newBundle(world.base, service.name, labelOf(order), cluster.file, now);
    return await drilled(world, order, client, bundle, now);
  } finally {
    await client
      .close()
      .catch((error: Error) =>
        world.say(
          `${service.name} still holds what the drill wrote, all of it named ${name}...; it is yours to remove: ${error.message}`,
        ),
      );
  }
}

async function drilled(
  world: World,
  order: DrillOrder,
  client: DrillClient,
  bundle: Bundle,
  now: Date,
): Promise<DrillRun & { bundle: Bundle }> {
  const { cluster } = world;
  const { service, drills, aimed, forMs, seed } = order;
  const name = labelOf(order);
  const before = lastVerdict(world.base, service.name, name);
  const { rto, lostWrites } = service.promise ?? {};
  const recorder = new Recorder(bundle.history, {
    cluster: cluster.name,
    service: service.name,
    engine: service.type,
    versions: { ...world.versions, ...drills.versions },
    seed,
    file: createHash('sha256').update(readFileSync(cluster.file)).digest('hex'),
    client: drills.client,
    fault: { name, ...(aimed.fault.momentary && !aimed.fault.everyMs ? {} : { forMs }) },
    models: drills.models,
    replicas: drills.replicas,
    ...(service.promise === undefined
      ? {}
      : {
          promise: {
            ...(rto === undefined ? {} : { rtoMs: rto }),
            ...(lostWrites === undefined ? {} : { lostWrites }),
          },
        }),
    ...(drills.timing === undefined ? {} : { timing: drills.timing }),
    started: now.toISOString(),
  });
  const end = await recorded(world, order, client, recorder);
  recorder.close(end[0], end[1]);
  const { verdict, timeline } = analyse(bundle.history);
  keepVerdict(bundle, verdict);
  return { verdict, timeline, bundle, ...(before ? { comparison: compare(verdict, before) } : {}) };
}

/** `cart.kill-master` where the fault strikes another service than the one whose clients are watched. */
const labelOf = ({ aimed, target }: DrillOrder): string =>
  target === undefined ? aimed.name : `${target.service.name}.${aimed.name}`;

/** How it ended, and why: that it was aborted, or, where it came to its end, why the cluster was not whole by then. */
type Ending = ['complete', string?] | ['aborted', string];

async function recorded(
  world: World,
  order: DrillOrder,
  client: DrillClient,
  recorder: Recorder,
): Promise<Ending> {
  const { drills, seed } = order;
  const load = new Load(client, recorder, { seed, ...drills.load });
  let ending: Ending = ['complete'];
  load.start();
  try {
    const stretchMs = baselineMs(drills.load.rate);
    // Where trouble was accepted, clients may be turned away for as long as it lasts.
    if (order.accepted.length === 0) await untilPaced(load, recorder, stretchMs, world);
    else await sleep(stretchMs, undefined, { signal: world.signal });
    if (load.acknowledged < load.unanswered)
      throw new Stopped(`clients are not served before any fault: ${load.lastError}`);
    const notWhole = await strike(world, order, recorder, load);
    if (notWhole !== undefined) ending = ['complete', notWhole];
    await sleep(tailMs, undefined, { signal: world.signal });
  } catch (error) {
    ending = ['aborted', (world.signal.aborted ? (world.signal.reason as Error) : (error as Error)).message];
    world.say(`${ending[1]}; healing`);
    await healAll(world.cluster, world.reach).catch((failed: Error) =>
      world.say(`${failed.message}: the fault still stands; phalanx heal ends it`),
    );
  }
  await load.stop();
  if (ending[0] === 'aborted') return ending;
  const read = await unlessAborted(world.signal, finals(drills, client));
  if (read === undefined) return ['aborted', (world.signal.reason as Error).message];
  for (const { member, model, role, group, holds } of read)
    recorder.final(member, { model, role, group, ...holds });
  return ending;
}

/** What it comes to; undefined once the signal is given. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  const aborted = Promise.withResolvers<undefined>();
  const abort = (): void => aborted.resolve(undefined);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return Promise.race([work, aborted.promise]).finally(() => signal.removeEventListener('abort', abort));
}

/** What every member holds; where that cannot be asked, that no member could be read: the history is whole, and proves nothing of what is stored. */
async function finals({ models, replicas }: Drills, client: DrillClient): Promise<DrillFinal[]> {
  try {
    return await client.finals();
  } catch (error) {
    const [model] = Object.keys(models) as DrillFinal['model'][];
    const { message } = error as Error;
    return replicas.map((member) => ({
      member,
      model: model!,
      role: 'replica',
      group: '',
      holds: { failed: message },
    }));
  }
}

/** The drill must not go on; what it made is healed by whoever catches this. */
class Stopped extends Error {}

/**
 * Injects, shows the evidence, lets it stand, heals, and waits until the cluster is whole: the reason where it is not, which is what the drill
 * has found out. Other services are watched throughout: one that breaks while the fault stands ends the drill, one that does after it is the reason.
 */
async function strike(
  world: World,
  order: DrillOrder,
  recorder: Recorder,
  load: Load,
): Promise<string | undefined> {
  const already = order.accepted.length === 0 ? new Set<string>() : await unservedOthers(world, order);
  // Who was turned away before any fault cannot be waited for.
  const toServe = order.accepted.length === 0 || load.unanswered === 0;
  const over = new AbortController();
  const broken = new AbortController();
  const watched = AbortSignal.any([world.signal, over.signal]);
  const watching = watchOthers({ ...world, signal: watched }, order, already)
    // That somebody is no longer watched is no finding.
    .catch((error: Error) => watched.aborted || broken.abort(error));
  const watchful = { ...world, signal: AbortSignal.any([world.signal, broken.signal]) };
  let healed = false;
  try {
    const names = await struck(watchful, order, recorder);
    healed = true;
    const notWhole = await whole(watchful, order, toServe ? load : undefined);
    if (notWhole === undefined) for (const [id, target] of names) recorder.fault(id, 'whole', { target });
    else world.say(notWhole);
    return notWhole;
  } catch (error) {
    if (!broken.signal.aborted) throw error;
    const reason = broken.signal.reason as Error;
    if (!healed) throw reason;
    world.say(reason.message);
    return reason.message;
  } finally {
    over.abort();
    await watching;
  }
}

/** Until it is healed; gives the names under which it was recorded, and whom it struck. */
async function struck(world: World, order: DrillOrder, recorder: Recorder): Promise<[string, string][]> {
  const { cluster, reach } = world;
  const { aimed, forMs } = order;
  const { service } = order.target ?? order;
  const { fault } = aimed;
  const target = await aimedAt(world, order);
  const name = (fault.member && target.member) || target.host;
  if (fault.member && target.member === undefined)
    throw new Stopped(`${aimed.name} strikes a member, and ${aimed.role} is a host: ${target.host}`);
  if (cluster.hosts[target.host]!.kind === 'ssh' && !world.meant.includes(target.host))
    throw new Stopped(`${name} is on a real machine, ${target.host}, which --i-mean-it does not name`);
  remember(cluster, {
    service: service.name,
    fault: aimed.name,
    host: target.host,
    ...(fault.member && target.member ? { member: target.member } : {}),
  });
  world.say(`${aimed.name}: ${name} (${fault.does})`);
  const scene: Scene = { cluster, service, reach, target };
  const until = performance.now() + (fault.momentary && !fault.everyMs ? 0 : forMs);
  const names: string[] = [];
  do {
    const id = names.length === 0 ? aimed.name : `${aimed.name}#${names.length + 1}`;
    names.push(id);
    recorder.fault(id, 'planned', { target: name });
    const injected = await fault.inject(scene);
    recorder.fault(id, 'injected', { target: name });
    const since = performance.now();
    const standsUntil = fault.everyMs === undefined ? until : Math.min(until, since + fault.everyMs);
    // Who is no longer waited for must not write into a history that is closed.
    const over = new AbortController();
    const signal = AbortSignal.any([world.signal, over.signal]);
    await Promise.all([
      proof(signal, scene, aimed, injected, Math.max(standsUntil, since + 3_000)).then((detail) => {
        if (detail !== undefined && !signal.aborted) recorder.fault(id, 'evidence', { target: name, detail });
      }),
      sleep(Math.max(0, standsUntil - performance.now()), undefined, { signal }),
    ]).finally(() => over.abort());
  } while (performance.now() < until && fault.everyMs !== undefined);
  await fault.heal(scene);
  forget(cluster);
  for (const id of names) recorder.fault(id, 'healed', { target: name });
  world.say(`healed; waiting until the cluster is whole`);
  return names.map((id) => [id, name]);
}

/** Who plays the role now. One that was not heard just now, on a machine that is busy with the drill's own load, may be in a moment. */
async function aimedAt(world: World, order: DrillOrder): Promise<DrillTarget> {
  const { service, drills } = order.target ?? order;
  const random = new Random(order.seed);
  for (const until = performance.now() + aimMs; ; )
    try {
      return drills.aim(order.aimed.role, await liveOf(world, service), (below) => random.below(below));
    } catch (error) {
      if (!(error instanceof StepFailed) || performance.now() > until) throw error;
      await sleep(200, undefined, { signal: world.signal });
    }
}

/** Asks for evidence until there is some or the time is over. */
async function proof(
  signal: AbortSignal,
  scene: Scene,
  { fault }: Aimed,
  injected: unknown,
  until: number,
): Promise<unknown> {
  for (;;) {
    const detail = await fault.evidence(scene, injected).catch(() => undefined);
    if (detail !== undefined || performance.now() > until) return detail;
    await sleep(50, undefined, { signal });
  }
}

/** Services that this drill is not about, and that may have to be protected from it. */
function othersOf({ cluster, engines }: World, { service, target }: DrillOrder): Service[] {
  return Object.values(cluster.services).filter(
    (one) =>
      one.name !== service.name &&
      one.name !== target?.service.name &&
      engines[one.type]!.drills !== undefined &&
      // A director in front of the target is dark where the target is.
      !engines[one.type]!.follows?.(one).includes(service.name),
  );
}

/** Why clients of the service are not served now; undefined: they are. */
async function unservedBecause(
  { cluster, engines, reach }: World,
  service: Service,
): Promise<string | undefined> {
  const engine = engines[service.type]!;
  const live = await engine.observe?.(service, cluster, reach);
  return (await engine.drills!(service, cluster, reach, live)).unserved(live)[0];
}

/** Those of the others that were not served before any fault, which was accepted. */
async function unservedOthers(world: World, order: DrillOrder): Promise<Set<string>> {
  const found = await Promise.all(
    othersOf(world, order).map(async (other) => ((await unservedBecause(world, other)) ? [other.name] : [])),
  );
  return new Set(found.flat());
}

/**
 * Looks each second whether services other than the drilled one serve their clients, until the signal. Shared
 * hosts may make another one fail over; one that is away for longer than it promises (10 s where it promises nothing)
 * does not come back by itself: rejects, and the drill ends.
 */
async function watchOthers(world: World, order: DrillOrder, already: Set<string>): Promise<void> {
  const others = othersOf(world, order).filter(({ name }) => !already.has(name));
  const awaySince = new Map<string, number>();
  for (;;) {
    await sleep(1_000, undefined, { signal: world.signal });
    await Promise.all(
      others.map(async (other) => {
        const why = await unservedBecause(world, other);
        if (why === undefined) {
          awaySince.delete(other.name);
          return;
        }
        const since = awaySince.get(other.name) ?? performance.now();
        awaySince.set(other.name, since);
        const allowed = other.promise?.rto ?? 10_000;
        if (performance.now() - since > allowed)
          throw new Stopped(`${other.name}, which was not the target, is broken: ${why}`);
      }),
    );
  }
}

/** Waits until the cluster is whole and clients of the load, where there is one, are served: undefined, or why it is not in time. */
async function whole(world: World, order: DrillOrder, load: Load | undefined): Promise<string | undefined> {
  const { cluster, engines, reach } = world;
  const { accepted, wholeMs = 60_000 } = order;
  const { service, drills } = order.target ?? order;
  const began = performance.now();
  const unexpected = (reason: string): boolean => !accepted.includes(reason);
  let reasons: string[] = [];
  do {
    await sleep(200, undefined, { signal: world.signal });
    const live = await liveOf(world, service);
    reasons = unwhole(drills, live).filter(unexpected);
    if (reasons.length === 0)
      reasons = (await troublesNow(cluster, engines, reach)).troubles.filter(unexpected);
    if (reasons.length === 0 && load !== undefined && !served(load, began))
      reasons = [`clients are not served: ${load.lastError ?? 'no answer'}`];
    if (reasons.length === 0) return undefined;
  } while (performance.now() < began + wholeMs);
  return `not whole again within ${wholeMs / 1000} s of healing: ${reasons.join('; ')}`;
}

/** Nobody has been turned away of late, and somebody was served since: who waits for an answer is neither yet. */
const served = ({ lastAcknowledged, lastUnanswered }: Load, since: number): boolean =>
  performance.now() - lastUnanswered > servedMs && lastAcknowledged > Math.max(lastUnanswered, since);

const liveOf = async ({ cluster, engines, reach }: World, service: Service): Promise<unknown> =>
  engines[service.type]!.observe?.(service, cluster, reach);
