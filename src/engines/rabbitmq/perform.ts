import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner } from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import { admission, leftBehindText } from './admission.ts';
import { apiOf } from './api.ts';
import { peersConf } from './configuration.ts';
import { type Change, differences } from './definitions.ts';
import { atom, binary, evaluate } from './erlang.ts';
import { againstBlindly, servingAs } from './gate.ts';
import { type RabbitLive, running, type View } from './live.ts';
import { entryOf, hostOfNode, memberName, nodeOf, nodeText, type RabbitService } from './names.ts';
import { observeRabbit, placesOf } from './observe.ts';
import { againstLeaving, againstStopping, lacking, type QueueName, queueText } from './queues.ts';
import { admittedFile, peersFile } from './start.ts';

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
  if (action.name === 'hold') throw new StepHeld(String(args['why']));
  if (action.name === 'gate') return gate(context, String(args['host']), timeoutMs);
  if (action.name === 'rejoin') return rejoin(context, String(args['host']), timeoutMs);
  if (action.name === 'release')
    return release(context, String(args['node']), (args['lost'] ?? []) as QueueName[], timeoutMs);
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

/** Why it is not done, of what is done bit by bit: how much is left. */
export class Left {
  count: number;
  why: string;
  constructor(count: number, why: string) {
    this.count = count;
    this.why = why;
  }
}

/**
 * Looks until `done` gives a value; a string says why not yet. When its time is over the last reasons are thrown, by `late`. The time begins anew whenever
 * less is left than ever.
 */
export async function until<T>(
  context: Context,
  timeoutMs: number,
  done: (live: RabbitLive) => T | string | Left | Promise<T | string | Left>,
  late: (why: string) => Error,
): Promise<T> {
  let deadline = performance.now() + timeoutMs;
  let said = '';
  let least = Number.POSITIVE_INFINITY;
  for (;;) {
    const answer = await done(await look(context));
    if (typeof answer !== 'string' && !(answer instanceof Left)) return answer;
    if (answer instanceof Left && answer.count < least) {
      least = answer.count;
      deadline = performance.now() + timeoutMs;
    }
    const why = typeof answer === 'string' ? answer : answer.why;
    if (why !== said) context.say(why);
    said = why;
    if (performance.now() > deadline) throw late(why);
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
  const found = admission(service, cluster, await placesOf(service, cluster, reach), hosts);
  if (found === undefined) return;
  if (found.how === 'refuse') throw new StepFailed(found.why);
  if (found.how === 'begin') {
    say(`a new cluster begins on ${found.seed}`);
    await mark(context, found.seed, 'seed', []);
    await Promise.all(found.join.map((host) => mark(context, host, 'join', [])));
    return;
  }
  say(`waiting for the nodes that have data: ${found.full.join(', ')}`);
  const behind = leftBehindText(service, cluster, found.full);
  const view = await until(
    context,
    timeoutMs,
    (live) => {
      if (live.view) return live.view;
      if (behind !== undefined && found.full.every((host) => live.hosts[host]?.idle))
        throw new StepFailed(behind);
      return silent(live);
    },
    (why) => new StepFailed(behind ?? `${why}. See phalanx logs ${service.name}`),
  );
  for (const host of found.hosts) {
    const node = nodeOf(service, cluster, host);
    if (view.nodes.some((one) => one.name === node)) await forgetThrough(context, view, node);
    await mark(context, host, 'join', running(view.nodes));
  }
}

/** Lets the node on, which finds the cluster by these nodes besides the file's. */
async function mark(
  { service, cluster, reach }: Context,
  host: string,
  how: 'seed' | 'join',
  peers: string[],
): Promise<void> {
  const { root } = entryOf(cluster, host);
  const name = memberName(service, host);
  const folder = `${root}/members/${name}`;
  const write = (path: string, text: string): string => {
    const file = quote(`${folder}/${path}`);
    return `printf %s ${quote(text)} >${file}.new && mv ${file}.new ${file}`;
  };
  const script = `umask 077; mkdir -p "$(dirname ${quote(`${folder}/${admittedFile}`)})" && ${write(peersFile, peersConf(service, cluster, peers))} && ${write(admittedFile, how)}`;
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
      return problems.length === 0 ? true : new Left(problems.length, problems.join('; '));
    },
    (why) => new StepFailed(`queues without all their members: ${why}. Mend it and run up again`),
  );
}

/** Opens when the node may stop without any queue losing its majority or its last copy. */
async function gate(context: Context, host: string, timeoutMs: number): Promise<void> {
  const { service, cluster } = context;
  await until<true>(
    context,
    timeoutMs,
    async (live) => {
      if (!live.view) {
        const reasons = againstBlindly(live);
        return reasons.length === 0
          ? true
          : `no node can say whether it may, and not all are known to serve nothing: ${reasons.join('; ')}. Bring them back, or all down with phalanx down`;
      }
      const node = servingAs(service, cluster, live, host);
      if (node === undefined) return true;
      const critical = await criticalAt(context, live.view, host);
      if (typeof critical === 'string') return critical;
      const reasons = againstStopping(service, cluster, live.view, node, critical);
      return reasons.length === 0 ? true : reasons.join('; ');
    },
    (why) => new StepHeld(`${memberName(service, host)} is not restarted: ${why}`),
  );
}

/**
 * The quorum queues that would stop without this host's node, as RabbitMQ's own health check node-is-quorum-critical finds them, or why it cannot
 * be asked. Not through the management API, which is where the running configuration has it and not the file.
 */
async function criticalAt(
  context: Context,
  view: View,
  host: string,
): Promise<{ name: string; virtual_host: string }[] | string> {
  // As the check has it: alone a node is always the majority.
  if (view.nodes.length < 2) return [];
  try {
    const answer = await evaluate(
      `binary_to_list(base64:encode(rabbit_json:encode([#{name => Name, virtual_host => VHost} ||
        Q <- lists:sublist(rabbit_quorum_queue:list_with_minimum_quorum(), 50), {resource, VHost, queue, Name} <- [amqqueue:get_name(Q)]])))`,
      { ...context, host },
      5_000,
    );
    // As Erlang prints it: in quotes.
    const text = Buffer.from(answer.replaceAll('"', ''), 'base64').toString('utf8');
    return JSON.parse(text) as { name: string; virtual_host: string }[];
  } catch (error) {
    if (!(error instanceof StepFailed || error instanceof HostUnreachable || error instanceof SyntaxError))
      throw error;
    return `${host} cannot say which queues need it: ${error.message}`;
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

/**
 * Takes the node out of every quorum queue, each first given a member elsewhere; refuses while anything would be lost but `lost`, which the plan named for a
 * node that was down.
 */
async function release(context: Context, node: string, lost: QueueName[], timeoutMs: number): Promise<void> {
  const { service, cluster, say } = context;
  const text = nodeText(cluster, node);
  const held = (why: string): Error => new StepHeld(`${text} stays in the cluster: ${why}`);
  const view = await until(
    context,
    timeoutMs,
    (live) => {
      if (!live.view) return silent(live);
      const against = againstLeaving(service, cluster, live.view, node, lost);
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
      const against = againstLeaving(service, cluster, live.view, node, lost);
      if (against.length > 0) return against.join('; ');
      const queues = live.view.queues.filter(
        (queue) => queue.type === 'quorum' && queue.members?.includes(node),
      );
      if (queues.length === 0) return true;
      // One after the other, looked at anew after each: a member that just left may have made another queue critical.
      const [queue] = queues;
      say(`${queueText(service, queue!)} goes on without ${text}`);
      const answer = await evaluate(
        `rabbit_quorum_queue:delete_member(${binary(queue!.vhost)}, ${binary(queue!.name)}, ${atom(node)})`,
        { ...context, host: other(context, live.view, node) },
      );
      if (answer !== 'ok') return `queue ${queueText(service, queue!)}: ${answer}`;
      const left = queues.length - 1;
      return left === 0 ? true : new Left(left, `${left} queues are still on ${text}`);
    },
    held,
  );
}

/** The host of a running node that is not this one: of the file where one is, else of those that leave. */
function other({ service, cluster }: Context, view: View, node: string): string {
  const up = running(view.nodes).filter((name) => name !== node);
  const hosts = up.flatMap((name) => hostOfNode(cluster, name) ?? []);
  const found = service.hosts.find((host) => hosts.includes(host)) ?? hosts[0];
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
