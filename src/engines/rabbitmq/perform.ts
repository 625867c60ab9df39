import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner } from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import { ApiRefused, apiOf } from './api.ts';
import { type Change, differences } from './definitions.ts';
import { atom, binary, evaluate } from './erlang.ts';
import { type RabbitLive, running, type View } from './live.ts';
import { entryOf, memberName, nodeOf, nodeText, type RabbitService } from './names.ts';
import { observeRabbit, placesOf } from './observe.ts';
import { againstLeaving, againstStopping, lacking, queueText } from './queues.ts';
import { admittedFile } from './start.ts';

interface Context {
  service: RabbitService;
  cluster: Cluster;
  reach: Reach;
  say: (line: string) => void;
}

/** Carries out the engine's steps. Each looks at the cluster anew and does what is still missing, so that it may be repeated. */
export async function performRabbit(
  action: EngineAction,
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  const context: Context = { service, cluster, reach, say };
  const { args } = action;
  const timeoutMs = Number(args['timeoutMs']);
  if (action.name === 'admit') return admit(context, args['hosts'] as string[], timeoutMs);
  if (action.name === 'define') return define(context, (change) => !change.destroys);
  if (action.name === 'replace') {
    await define(context, (change) => change.what === args['what']);
    // Its bindings went with it.
    return define(context, (change) => !change.destroys);
  }
  if (action.name === 'spread') return spread(context, timeoutMs);
  if (action.name === 'gate') return gate(context, String(args['host']), timeoutMs);
  if (action.name === 'rejoin') return rejoin(context, String(args['host']), timeoutMs);
  if (action.name === 'release') return release(context, String(args['node']), timeoutMs);
  if (action.name === 'forget') return forget(context, String(args['node']));
  throw new StepFailed(`rabbitmq has no step ${action.name}`);
}

/**
 * Nodes that join while the first one is still new may leave the cluster with a feature off that each would have had on by itself (3.10; what
 * a new node has: rabbitmq.com/feature-flags.html). One that the file needs is then turned on, which takes all nodes.
 */
const featuresMs = 60_000;

const look = ({ service, cluster, reach }: Context): Promise<RabbitLive> =>
  observeRabbit(service, cluster, reach);

/** Looks until `done` gives a value. When its time is over the last reasons are thrown, by `late`. */
async function until<T>(
  context: Context,
  timeoutMs: number,
  done: (live: RabbitLive) => T | string | Promise<T | string>,
  late: (why: string) => Error,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let said = '';
  for (;;) {
    const answer = await done(await look(context));
    if (typeof answer !== 'string') return answer;
    if (answer !== said) context.say(answer);
    said = answer;
    if (performance.now() > deadline) throw late(answer);
    await wait(250);
  }
}

const silent = (live: RabbitLive): string =>
  `no node answers (${Object.entries(live.hosts)
    .map(([host, { why }]) => `${host}: ${why ?? 'no answer'}`)
    .join('; ')})`;

async function viewNow(context: Context, timeoutMs = 60_000): Promise<View> {
  return until(
    context,
    timeoutMs,
    (live) => live.view ?? silent(live),
    (why) => new StepFailed(`${why}. See phalanx logs ${context.service.name}`),
  );
}

/**
 * Lets nodes without data start: as the seed of a new cluster when no host of the service has data, else as new members, after
 * the cluster has forgotten what they were before.
 */
async function admit(context: Context, hosts: string[], timeoutMs: number): Promise<void> {
  const { service, cluster, reach, say } = context;
  const places = await placesOf(service, cluster, reach);
  const blank = hosts.filter((host) => places[host]?.blank === true && !places[host].admitted);
  if (blank.length === 0) return;
  // One that was let in before, and has no data yet, is part of it too: perhaps it is the one that begins it.
  const full = Object.keys(places).filter((host) => places[host]!.blank === false || places[host]!.admitted);
  const unknown = Object.keys(places).filter((host) => places[host]!.blank === undefined);
  if (full.length > 0) {
    say(`waiting for the nodes that have data: ${full.join(', ')}`);
    const view = await viewNow(context, timeoutMs);
    for (const host of blank) {
      const node = nodeOf(service, cluster, host);
      if (view.nodes.some((one) => one.name === node)) await forgetThrough(context, view, node);
      await mark(context, host, 'join');
    }
    return;
  }
  if (unknown.length > 0)
    throw new StepFailed(
      `${unknown.join(', ')} cannot be asked whether the cluster's data is there, and no other host has any: bring ${unknown.length === 1 ? 'it' : 'them'} back and run up again`,
    );
  const seed = service.hosts.find((host) => blank.includes(host) && !service.spec.ram.includes(host));
  if (!seed) throw new StepFailed('no disk node is there to begin the cluster');
  say(`a new cluster begins on ${seed}`);
  await mark(context, seed, 'seed');
  await Promise.all(blank.filter((host) => host !== seed).map((host) => mark(context, host, 'join')));
}

async function mark({ service, cluster, reach }: Context, host: string, how: 'seed' | 'join'): Promise<void> {
  const { root } = entryOf(cluster, host);
  const name = memberName(service, host);
  const file = `${root}/members/${name}/${admittedFile}`;
  const script = `umask 077; mkdir -p "$(dirname ${quote(file)})" && printf ${how} >${quote(`${file}.new`)} && mv ${quote(`${file}.new`)} ${quote(file)}`;
  const { exit, stderr } = await reach.host(host).run(asOwner({ name }, root, script), { timeoutMs: 5_000 });
  if (exit !== 0) throw new StepFailed(`${host}: ${stderr.trim()}`);
}

/** Makes the chosen changes, then looks again: what RabbitMQ did not take is an error, never a silence. */
async function define(context: Context, chosen: (change: Change) => boolean): Promise<void> {
  const { service, cluster, reach, say } = context;
  const view = await viewNow(context);
  const api = apiOf(service, cluster, view.from, reach, 15_000);
  for (const change of differences(service, cluster, view.definitions).filter(chosen)) {
    say(`${change.what} ${change.why}`);
    const deadline = performance.now() + featuresMs;
    for (let told = ''; ; await wait(250)) {
      try {
        for (const call of change.calls) await api.call(call.method, call.path, call.body);
        break;
      } catch (error) {
        const why = (error as Error).message;
        const [, feature] = /of type 'rabbit_(\w+)'.*feature flag is disabled/s.exec(why) ?? [];
        if (feature === undefined || performance.now() > deadline)
          throw new StepFailed(`${change.what}: ${why}`);
        if (why !== told) say(why);
        told = why;
        await api
          .call('PUT', `/api/feature-flags/${feature}/enable`, {})
          .catch((refused: Error) => say(refused.message));
      }
    }
  }
  const left = differences(service, cluster, (await viewNow(context)).definitions).filter(chosen);
  if (left.length > 0)
    throw new StepFailed(
      `still not as the file says: ${left.map(({ what, why }) => `${what} ${why}`).join('; ')}`,
    );
}

async function spread(context: Context, timeoutMs: number): Promise<void> {
  const { service, cluster, say } = context;
  await until<true>(
    context,
    timeoutMs,
    async (live) => {
      if (!live.view) return silent(live);
      const additions = lacking(service, cluster, live.view);
      if (additions.length === 0) return true;
      const up = new Set(running(live.view.nodes));
      const problems: string[] = [];
      for (const { queue, node } of additions) {
        const text = `${queueText(service, queue)} on ${nodeText(cluster, node)}`;
        if (!up.has(node)) {
          problems.push(`${text}: the node does not run`);
          continue;
        }
        say(text);
        const answer = await evaluate(
          `rabbit_quorum_queue:add_member(${binary(queue.vhost)}, ${binary(queue.name)}, ${atom(node)}, 10000)`,
          { ...context, host: live.view.from },
        );
        if (answer !== 'ok') problems.push(`${text}: ${answer}`);
      }
      return problems.length === 0 ? true : problems.join('; ');
    },
    (why) => new StepFailed(`queues without all their members: ${why}. Mend it and run up again`),
  );
}

/** Opens when the node may stop without any queue losing its majority or its last copy. */
async function gate(context: Context, host: string, timeoutMs: number): Promise<void> {
  const { service, cluster, reach } = context;
  const node = nodeOf(service, cluster, host);
  await until<true>(
    context,
    timeoutMs,
    async (live) => {
      // Nothing serves: a restart can only mend.
      if (!live.view) return Object.values(live.hosts).some((one) => one.nodes) ? silent(live) : true;
      if (!running(live.view.nodes).includes(node)) return true;
      const critical = await criticalAt(context, host);
      if (typeof critical === 'string') return critical;
      const reasons = againstStopping(service, cluster, live.view, node, critical);
      return reasons.length === 0 ? true : reasons.join('; ');
    },
    (why) => new StepHeld(`${memberName(service, host)} is not restarted: ${why}`),
  );

  /** The queues that RabbitMQ's own check names, or why it cannot be asked. */
  async function criticalAt(
    at: Context,
    on: string,
  ): Promise<{ name: string; virtual_host: string }[] | string> {
    try {
      await apiOf(at.service, at.cluster, on, reach, 5_000).call(
        'GET',
        '/api/health/checks/node-is-quorum-critical',
      );
      return [];
    } catch (error) {
      if (error instanceof ApiRefused && error.status === 503)
        return (error.body as { queues?: { name: string; virtual_host: string }[] }).queues ?? [];
      return `${on}: ${(error as Error).message}`;
    }
  }
}

/** Done when the node runs in everyone's eyes, and each of its quorum queues has it online. */
async function rejoin(context: Context, host: string, timeoutMs: number): Promise<void> {
  const { service, cluster } = context;
  const node = nodeOf(service, cluster, host);
  await until<true>(
    context,
    timeoutMs,
    (live) => {
      if (!live.view) return silent(live);
      if (!running(live.view.nodes).includes(node)) return `${host} is not seen running by ${live.view.from}`;
      const behind = live.view.queues.filter(
        (queue) => queue.type === 'quorum' && queue.members?.includes(node) && !queue.online?.includes(node),
      );
      if (behind.length > 0)
        return `${host} is not online in ${behind.map((queue) => queueText(service, queue)).join(', ')}`;
      const unsynced = live.view.queues.filter(
        (queue) => queue.slave_nodes?.includes(node) && !queue.synchronised_slave_nodes?.includes(node),
      );
      if (unsynced.length > 0)
        return `${host} is not in step in ${unsynced.map((queue) => queueText(service, queue)).join(', ')}`;
      return true;
    },
    (why) =>
      new StepFailed(
        `${why} after its restart; the others go on without it. See phalanx logs ${memberName(service, host)}`,
      ),
  );
}

/** Takes the node out of every quorum queue, each first given a member elsewhere; refuses while anything would be lost. */
async function release(context: Context, node: string, timeoutMs: number): Promise<void> {
  const { service, cluster, say } = context;
  const text = nodeText(cluster, node);
  const held = (why: string): Error => new StepHeld(`${text} stays in the cluster: ${why}`);
  const view = await until(
    context,
    timeoutMs,
    (live) => {
      if (!live.view) return silent(live);
      const against = againstLeaving(service, cluster, live.view, node);
      return against.length === 0 ? live.view : against.join('; ');
    },
    held,
  );
  if (!view.nodes.some((one) => one.name === node)) return;
  if (lacking(service, cluster, view).length > 0) await spread(context, 60_000);
  await until<true>(
    context,
    60_000,
    async (live) => {
      if (!live.view) return silent(live);
      const against = againstLeaving(service, cluster, live.view, node);
      if (against.length > 0) return against.join('; ');
      const queues = live.view.queues.filter((queue) => queue.members?.includes(node));
      if (queues.length === 0) return true;
      // One after the other, looked at anew after each: a member that just left may have made another queue critical.
      const [queue] = queues;
      say(`${queueText(service, queue!)} goes on without ${text}`);
      const answer = await evaluate(
        `rabbit_quorum_queue:delete_member(${binary(queue!.vhost)}, ${binary(queue!.name)}, ${atom(node)})`,
        { ...context, host: other(context, live.view, node) },
      );
      if (answer !== 'ok') return `queue ${queueText(service, queue!)}: ${answer}`;
      return queues.length === 1 ? true : `${queues.length - 1} queues are still on ${text}`;
    },
    held,
  );
}

/** A running node of the file that is not this one. */
function other({ service, cluster }: Context, view: View, node: string): string {
  const up = new Set(running(view.nodes));
  const found = service.hosts.find((host) => {
    const name = nodeOf(service, cluster, host);
    return name !== node && up.has(name);
  });
  if (!found) throw new StepFailed(`no other node of ${service.name} runs: start one first`);
  return found;
}

async function forget(context: Context, node: string): Promise<void> {
  const view = await viewNow(context);
  if (view.nodes.some((one) => one.name === node)) await forgetThrough(context, view, node);
}

/** The node is out of every queue and of the cluster; it has to be stopped, or without data. */
async function forgetThrough(context: Context, view: View, node: string): Promise<void> {
  const { service, cluster, say } = context;
  const text = nodeText(cluster, node);
  const host = other(context, view, node);
  say(`the cluster forgets ${text}`);
  await until<true>(
    context,
    60_000,
    async (live) => {
      if (!live.view) return silent(live);
      if (!live.view.nodes.some((one) => one.name === node)) return true;
      if (running(live.view.nodes).includes(node)) return `${text} still runs`;
      const shrunk = await evaluate(`rabbit_quorum_queue:shrink_all(${atom(node)})`, { ...context, host });
      if (shrunk.includes('{error')) return `queues cannot let go of ${text}: ${shrunk.slice(0, 300)}`;
      const answer = await evaluate(`rabbit_mnesia:forget_cluster_node(${atom(node)}, false)`, {
        ...context,
        host,
      });
      return answer === 'ok'
        ? true
        : `${memberName(service, host)} cannot forget ${text}: ${answer.slice(0, 300)}`;
    },
    (why) => new StepHeld(why),
  );
}
