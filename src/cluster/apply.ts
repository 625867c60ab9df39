import { setTimeout as wait } from 'node:timers/promises';
import { probe } from '../check/probe.ts';
import { type Step, StepFailed, StepHeld } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { machine } from '../hosts/machine.ts';
import { logFragment, stepScript } from '../hosts/supervise.ts';
import type { Journal } from './journal.ts';
import type { Engines } from './observe.ts';

export type StepState = 'start' | 'done' | 'failed' | 'held' | 'skipped';

export interface Progress {
  step: Step;
  state: StepState | 'say';
  /** Why it failed, is held or was skipped; or a line of progress. */
  detail?: string;
  /** Milliseconds it took, when it ended. */
  ms?: number;
}

export interface Outcome {
  done: Step[];
  failed: { step: Step; why: string }[];
  held: { step: Step; why: string }[];
  skipped: { step: Step; why: string }[];
  /** Stopped by the signal before all was tried. */
  stopped: boolean;
}

export interface Apply {
  cluster: Cluster;
  engines: Engines;
  reach: Reach;
  journal: Journal;
  onProgress: (progress: Progress) => void;
  /** Hosts that are known not to answer, and why: what is to be done on them waits. */
  away?: Record<string, string>;
  /** When aborted nothing new is begun; what runs is let finish. */
  signal: AbortSignal;
}

/** A step that ended because of the signal, before it was known what becomes of it. */
class StepStopped extends StepHeld {
  override name = 'StepStopped';
}

/**
 * Carries out a plan's steps, each as soon as what it needs is done, side by side where they are independent. All
 * that is ready on one host, and all on the same host that waits only for that, goes there as one script.
 */
export async function apply(steps: Step[], context: Apply): Promise<Outcome> {
  const states = new Map<string, StepState>();
  const outcome: Outcome = { done: [], failed: [], held: [], skipped: [], stopped: false };
  const startedAt = new Map<string, number>();
  const known = new Set(steps.map((step) => step.id));
  const busyHosts = new Set<string>();
  const running = new Set<Promise<void>>();
  let cutShort = false;

  const begin = (step: Step): void => {
    if (states.has(step.id)) return;
    states.set(step.id, 'start');
    startedAt.set(step.id, performance.now());
    context.journal.write({ event: 'step', step: step.id, state: 'start' });
    context.onProgress({ step, state: 'start' });
  };
  const end = (step: Step, state: 'done' | 'failed' | 'held' | 'skipped', why = ''): void => {
    const now = states.get(step.id);
    if (now !== undefined && now !== 'start') return;
    states.set(step.id, state);
    if (state !== 'skipped')
      context.journal.write({ event: 'step', step: step.id, state, ...(why ? { why } : {}) });
    if (state === 'done') outcome.done.push(step);
    else outcome[state].push({ step, why });
    const ms = startedAt.has(step.id) ? performance.now() - startedAt.get(step.id)! : undefined;
    context.onProgress({ step, state, ...(why ? { detail: why } : {}), ...(ms === undefined ? {} : { ms }) });
  };

  const needs = (step: Step): string[] => step.needs.filter((id) => known.has(id));
  const ended = (id: string): boolean => !known.has(id) || (states.get(id) ?? 'start') !== 'start';
  const pending = (): Step[] => steps.filter((step) => !states.has(step.id));
  /** Steps that no longer wait for what they only come after. */
  const outOfOrder = new Set<string>();
  const inTurn = (step: Step, passed: (id: string) => boolean): boolean =>
    outOfOrder.has(step.id) || (step.after ?? []).every(passed);

  /** Ready steps of a host, and those behind them that the same script can do. */
  const batch = (host: string): Step[] => {
    const chosen: Step[] = [];
    const inBatch = new Set<string>();
    let grew = true;
    while (grew) {
      grew = false;
      for (const step of pending()) {
        if (inBatch.has(step.id) || step.host !== host || step.do.kind !== 'script') continue;
        const open = needs(step).every((id) => states.get(id) === 'done' || inBatch.has(id));
        if (!open || !inTurn(step, (id) => ended(id) || inBatch.has(id))) continue;
        chosen.push(step);
        inBatch.add(step.id);
        grew = true;
      }
    }
    return chosen;
  };

  const runBatch = async (host: string, chosen: Step[]): Promise<void> => {
    const byId = new Map(chosen.map((step) => [step.id, step]));
    const fragments = chosen.map((step) => ({
      id: step.id,
      script: step.do.kind === 'script' ? step.do.script : '',
      needs: needs(step).filter((id) => byId.has(id)),
    }));
    const timeoutMs = chosen.reduce(
      (sum, step) => sum + (step.do.kind === 'script' ? step.do.timeoutMs : 0),
      0,
    );
    // Reserve the whole batch now; each step's own start comes from the host.
    for (const step of chosen) states.set(step.id, 'start');
    const onLine = (line: unknown): void => {
      const { step: id, state, stderr } = line as { step?: string; state?: string; stderr?: string };
      const step = id === undefined ? undefined : byId.get(id);
      if (!step) return;
      if (state === 'start') {
        states.delete(step.id);
        begin(step);
      } else if (state === 'done') end(step, 'done');
      else if (state === 'failed') end(step, 'failed', stderr?.trim() || 'failed without a word');
      else if (state === 'skipped')
        end(step, 'skipped', `waits for ${needs(step).find((need) => states.get(need) !== 'done')}`);
    };
    try {
      const result = await context.reach.host(host).run(stepScript(fragments), { timeoutMs, onLine });
      for (const step of chosen)
        end(
          step,
          'failed',
          `the host ended the script early (exit ${result.exit}): ${result.stderr.trim().slice(-300)}`,
        );
    } catch (error) {
      for (const step of chosen) end(step, 'failed', (error as Error).message);
    }
  };

  const runOne = async (step: Step): Promise<void> => {
    begin(step);
    try {
      if (step.do.kind === 'machine') await onMachine(step.do.script, step.do.timeoutMs);
      else if (step.do.kind === 'ready') await untilReady(step, context);
      else if (step.do.kind === 'engine') {
        const service = context.cluster.services[step.do.service]!;
        const perform = context.engines[service.type]!.perform;
        if (!perform) throw new StepFailed(`engine ${service.type} performs no steps`);
        const say = (detail: string): void => context.onProgress({ step, state: 'say', detail });
        await perform(step.do.action, service, context.cluster, context.reach, say);
      }
      end(step, 'done');
    } catch (error) {
      cutShort ||= error instanceof StepStopped;
      end(step, error instanceof StepHeld ? 'held' : 'failed', (error as Error).message);
    }
  };

  const launch = (): void => {
    for (const step of pending()) {
      const blocker = needs(step).find((id) => ['failed', 'held', 'skipped'].includes(states.get(id) ?? ''));
      if (blocker) end(step, 'skipped', `waits for: ${blocker}`);
    }
    if (context.signal.aborted) return;
    const track = (work: Promise<void>): void => {
      const tracked: Promise<void> = work.finally(() => running.delete(tracked));
      running.add(tracked);
    };
    for (const step of pending()) {
      if (states.has(step.id)) continue; // taken by a batch of this round
      if (!needs(step).every((id) => states.get(id) === 'done') || !inTurn(step, ended)) continue;
      if (step.do.kind !== 'script') track(runOne(step));
      else if (!busyHosts.has(step.host!)) {
        const host = step.host!;
        const chosen = batch(host);
        busyHosts.add(host);
        track(runBatch(host, chosen).finally(() => busyHosts.delete(host)));
      }
    }
  };

  /**
   * Nothing runs and nothing is ready: steps wait for each other. An order alone (`after`) is given up, one step at a time; one that needs itself fails and
   * says so, and what needs it is skipped. What a plan has is never left undone without a word.
   */
  const untangle = (): void => {
    const free = pending().find((step) => needs(step).every((id) => states.get(id) === 'done'));
    if (free) {
      outOfOrder.add(free.id);
      return;
    }
    const path: Step[] = [];
    let step = pending()[0]!;
    while (!path.includes(step)) {
      path.push(step);
      step = pending().find((one) => needs(path.at(-1)!).includes(one.id))!;
    }
    const circle = [...path.slice(path.indexOf(step)), step].map(({ id }) => id);
    end(step, 'failed', `waits for itself (${circle.join(' <- ')}): a mistake of Phalanx, not of the file`);
  };

  const away = context.away ?? {};
  for (const step of steps) {
    const hosts = step.do.kind === 'engine' ? (context.cluster.services[step.do.service]?.hosts ?? []) : [];
    if (hosts.length > 0 && hosts.every((host) => host in away))
      end(step, 'held', `waits for ${hosts.join(', ')}: none of them answers`);
    else if (step.host !== undefined && step.host in away)
      end(step, 'held', `waits for ${step.host}, which does not answer`);
  }
  for (;;) {
    const before = states.size;
    launch();
    if (running.size === 0) {
      if (context.signal.aborted || pending().length === 0) break;
      if (states.size === before) untangle();
      continue;
    }
    await Promise.race(running);
  }
  outcome.stopped = context.signal.aborted && (cutShort || pending().length > 0);
  return outcome;
}

/** Runs sh on this machine; rejects with its standard error when it fails. */
async function onMachine(script: string, timeoutMs: number): Promise<void> {
  const { exit, stderr } = await machine.run(script, { timeoutMs });
  if (exit !== 0) throw new StepFailed(stderr.trim() || `ended with exit status ${exit}`);
}

async function untilReady(step: Step, context: Apply): Promise<void> {
  if (step.do.kind !== 'ready') return;
  const { member, address, port, check, timeoutMs } = step.do;
  const service = context.cluster.services[step.service!]!;
  const found = context.engines[service.type]!.members(service, context.cluster).find(
    (one) => one.name === member,
  );
  const host = context.cluster.hosts[found!.host]!;
  const deadline = performance.now() + timeoutMs;
  let why = 'no answer yet';
  while (performance.now() < deadline && !context.signal.aborted) {
    if (check.kind === 'script') {
      const run = await context.reach
        .host(host.name)
        .run(`ADDRESS='${address}' PORT='${port}'; export ADDRESS PORT\n${check.command}`, {
          timeoutMs: check.timeoutMs,
          alone: true,
        })
        .catch((error: Error) => ({ exit: 1, stderr: error.message, text: '' }));
      if (run.exit === 0) return;
      why = (run.stderr || run.text).trim() || `exit ${run.exit}`;
    } else if (check.kind === 'tcp') {
      // Not by an endpoint: a forwarded port takes connections also while nobody listens behind it.
      const told = await context.reach.connect(host.name, port, check.timeoutMs).then(
        (stream) => void stream.destroy(),
        (error: Error) => error.message,
      );
      if (told === undefined) return;
      why = told;
    } else {
      const at = await context.reach.endpoint(host.name, port);
      const result = await probe(check, at.host, at.port);
      if (result.healthy) return;
      why = result.why ?? why;
    }
    await wait(Math.min(50, check.intervalMs));
  }
  if (context.signal.aborted) throw new StepStopped('stopped before it served');
  const tail = await context.reach
    .host(host.name)
    .run(`( ${logFragment(found!, host.root, 20)} ) | cut -d ' ' -f 3-`, { timeoutMs: 3_000 })
    .then((run) => run.text.trim())
    .catch(() => '');
  const log = tail ? `\nlast lines of its log:\n${tail.replace(/^/gm, '    ')}` : '';
  throw new StepFailed(`not ready after ${timeoutMs / 1000} s: ${why} (${address}:${port})${log}`);
}
