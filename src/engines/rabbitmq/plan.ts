import type { Cluster } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner, startFragment, stopFragment } from '../../hosts/supervise.ts';
import type { BasePlan, EngineAction, Member, Step } from '../engine.ts';
import { restartStep } from '../restart.ts';
import { rolling } from '../rolling.ts';
import { renamedText } from './admission.ts';
import { differences } from './definitions.ts';
import { type RabbitLive, running, type View } from './live.ts';
import {
  distributionPort,
  entryOf,
  hostOfNode,
  memberName,
  nodeOf,
  nodeText,
  type RabbitService,
} from './names.ts';
import { againstLeaving, goneWith, lacking, type QueueName, queueText } from './queues.ts';

/**
 * Bring nodes up, admit those without data, give quorum queues their members, restart one at a time where a majority stays, make the
 * definitions so, and let nodes go that the file no longer has. Starts from what the cluster says of itself: nothing
 * here depends on who leads what. Pure.
 */
export function planRabbit(
  service: RabbitService,
  cluster: Cluster,
  live: RabbitLive | undefined,
  base: BasePlan,
): Step[] {
  const plan = new Planner(service);
  const obstacle = live && obstacleTo(service, cluster, live);
  if (obstacle) {
    const hold: Step = { ...plan.hold(service.name, obstacle), refuses: true };
    const leaving = [...base.leaving.values()].flat();
    return [hold, ...leaving.map((step) => ({ ...step, needs: [...step.needs, hold.id] }))];
  }
  const view = live?.view;
  const strays = straysOf(service, cluster, live);
  const work = withStrays(service, cluster, withSplit(service, cluster, base, live), strays, live);
  const { fresh, turns } = inTurn(plan, service, work, live);

  const admit = plan.admit(service, live, base, strays, fresh);
  // A node that runs already, and waits to be admitted, is being let in or says that it does not serve, is waited for as well.
  const entering = service.hosts.filter((host) => {
    const found = live?.hosts[host];
    if (found === undefined || found.nodes !== undefined) return false;
    return found.admitted === true || (found.idle === true && found.port !== undefined && !found.blank);
  });
  for (const host of new Set([...(admit?.hosts ?? []), ...entering])) {
    const member = base.members.find((one) => one.host === host)!;
    if (![...fresh, ...turns].some((step) => step.id === `ready ${member.name}`))
      fresh.push(readyStep(member, cluster, []));
  }
  const waits = (step: Step): boolean =>
    step.verb === 'ready' && admit?.hosts.has(step.target.split('@')[1]!) === true;
  const admitted = (some: Step[]): Step[] =>
    some.map((step) => (waits(step) ? { ...step, needs: [...step.needs, admit!.step.id] } : step));
  const steps = admitted(fresh);
  const first = fresh.findIndex(waits);
  if (admit) steps.splice(first < 0 ? steps.length : first, 0, admit.step);

  // Before any node is restarted: a queue that is to have three members and has two stops with each of them.
  const forgotten = [...(admit?.hosts ?? [])].map((host) => nodeOf(service, cluster, host));
  const spread = view ? plan.spread(service, cluster, without(view, forgotten)) : undefined;
  if (spread) steps.push({ ...spread, after: steps.map((step) => step.id) });
  const [begin, ...rest] = admitted(turns);
  if (begin) steps.push({ ...begin, after: steps.map((step) => step.id) }, ...rest);
  const upIds = steps.map((step) => step.id);

  // A replaced disk took its classic queues along: forgotten, they are made again.
  const blank = forgotten.filter((node) => live?.hosts[hostOfNode(cluster, node)!]?.blank);
  const defined = plan.define(service, cluster, view && without(view, blank));
  // One after the other: what is made anew takes bindings with it, which are then made again.
  for (const [i, step] of defined.entries())
    steps.push({ ...step, after: [...upIds, ...defined.slice(0, i).map((earlier) => earlier.id)] });
  const grownIds = steps.map((step) => step.id);
  for (const [name, why] of retyped(service, cluster, view, forgotten)) steps.push(plan.hold(name, why));
  steps.push(...leavingSteps(plan, service, cluster, view, base, grownIds));
  return steps;
}

/** Why nothing of the service may be touched as the file is, and what to do; undefined: nothing is in the way. */
function obstacleTo(service: RabbitService, cluster: Cluster, live: RabbitLive): string | undefined {
  const renamed = renamedText(service, cluster, live.hosts);
  if (renamed) return renamed;
  const wanted = distributionPort(service.spec);
  const other = Object.entries(live.hosts).filter(([, { port }]) => port !== undefined && port !== wanted);
  if (other.length === 0) return undefined;
  const ports = [...new Set(other.map(([, { port }]) => port! - distributionPort({ port: 0 })))].join(', ');
  return `${other.map(([host]) => memberName(service, host)).join(', ')} ${other.length === 1 ? 'runs' : 'run'} with port ${ports}, and the file says ${service.spec.port}: nodes find each other by that port, so one that had another would be alone. Change it while none runs: phalanx down, then phalanx up; or put ${ports} back`;
}

/** Nodes whose type the file has changed, and what to do. RabbitMQ changes it by emptying the node, and an empty log must not vote in a queue. */
function retyped(
  service: RabbitService,
  cluster: Cluster,
  view: View | undefined,
  forgotten: string[],
): [string, string][] {
  return service.hosts.flatMap((host): [string, string][] => {
    const node = nodeOf(service, cluster, host);
    const found = view?.nodes.find(({ name }) => name === node);
    const type = service.spec.ram.includes(host) ? 'ram' : 'disc';
    if (!found || found.type === type || forgotten.includes(node)) return [];
    const text = { ram: 'RAM', disc: 'disk' };
    return [
      [
        memberName(service, host),
        `it is a ${text[found.type]} node, and by \`ram\` a ${text[type]} node, which it becomes only when it joins: take ${host} out of the service's \`hosts\`, phalanx up, put it back, phalanx up; or put \`ram\` back`,
      ],
    ];
  });
}

/** Steps that serve nobody yet or no more, side by side; then those that restart what serves, one node after the other. */
function inTurn(
  plan: Planner,
  service: RabbitService,
  work: BasePlan,
  live: RabbitLive | undefined,
): { fresh: Step[]; turns: Step[] } {
  const own = (member: Member): Step[] => work.byMember.get(member.name) ?? [];
  // Without data and not let in: nobody is served by it, and queues are to have it back before another is restarted.
  const waits = ({ host }: Member): boolean =>
    live?.hosts[host]?.blank === true && live.hosts[host].idle === true;
  const restarts = (member: Member): boolean =>
    !waits(member) && own(member).some((step) => step.verb === 'restart');
  const fresh = work.members.filter((member) => !restarts(member)).flatMap(own);
  const turning = work.members.filter(restarts);
  const turns = rolling({
    ...work,
    members: turning,
    byMember: new Map(turning.map((member) => [member.name, own(member)])),
    around: (member) => {
      const { before, after } = work.around(member);
      // A side of a split that only a person may end is not drained for that in vain; nobody counts it, so nothing gates it.
      const split = own(member).some((step) => step.verb === 'restart' && step.destroys === service.name);
      return {
        before: split ? [] : [plan.gate(member), ...before],
        after: [plan.rejoin(member), ...after],
      };
    },
  });
  return { fresh, turns };
}

/** Makes the engine's own steps. */
class Planner {
  readonly #service: string;

  constructor(service: RabbitService) {
    this.#service = service.name;
  }

  step(verb: string, target: string, why: string, action: EngineAction, more: Partial<Step> = {}): Step {
    return {
      id: `${verb} ${target}`,
      verb,
      target,
      service: this.#service,
      why,
      needs: [],
      do: { kind: 'engine', service: this.#service, action },
      ...more,
    };
  }

  /** Says what has to be changed by hand, each time, until it is. */
  hold(target: string, why: string): Step {
    return this.step('hold', target, why, { name: 'hold', args: { why } });
  }

  gate(member: Member): Step {
    const args = { host: member.host, timeoutMs: 60_000 };
    return this.step('gate', member.name, 'until every queue keeps its majority without it', {
      name: 'gate',
      args,
    });
  }

  rejoin(member: Member): Step {
    const args = { host: member.host, timeoutMs: 60_000 };
    return this.step('rejoin', member.name, 'until the others see it and its queues have it online', {
      name: 'rejoin',
      args,
    });
  }

  /** Only where a node is known to have no data, or may have none and is to be started. */
  admit(
    service: RabbitService,
    live: RabbitLive | undefined,
    base: BasePlan,
    strays: string[],
    fresh: Step[],
  ): { step: Step; hosts: Set<string> } | undefined {
    const hosts = service.hosts.filter((host) => {
      const blank = live?.hosts[host]?.blank;
      const touched = (base.byMember.get(memberName(service, host)) ?? []).length > 0;
      const entering = live?.hosts[host]?.admitted === true;
      return (blank === true && !entering) || strays.includes(host) || (blank === undefined && touched);
    });
    if (hosts.length === 0) return undefined;
    const why = live?.view
      ? `${hosts.join(', ')} without data: forgotten where known before, then joined`
      : `${hosts.join(', ')} may have no data: a new cluster if none has, else joined to those that do`;
    // One that is restarted in its turn begins by what was admitted before; everything else is first written.
    const before = fresh
      .filter(
        (step) =>
          ['write', 'start', 'restart', 'set aside'].includes(step.verb) &&
          hosts.some((host) => step.host === host),
      )
      .map((step) => step.id);
    const action = { name: 'admit', args: { hosts, timeoutMs: 90_000 } };
    return { step: this.step('admit', service.name, why, action, { after: before }), hosts: new Set(hosts) };
  }

  define(service: RabbitService, cluster: Cluster, view: View | undefined): Step[] {
    const action = { name: 'define', args: {} };
    if (!view)
      return [
        this.step(
          'define',
          service.name,
          'whatever the file says and the cluster has not: users, queues, ...',
          action,
        ),
      ];
    const changes = differences(service, cluster, view.definitions);
    const gentle = changes.filter((change) => !change.destroys);
    const steps: Step[] = [];
    if (gentle.length > 0)
      steps.push(
        this.step('define', service.name, listed(gentle.map(({ what, why }) => `${what} ${why}`)), action),
      );
    for (const change of changes.filter((one) => one.destroys))
      steps.push(
        this.step(
          'replace',
          change.what,
          change.why,
          { name: 'replace', args: { what: change.what } },
          {
            id: `replace ${service.name} ${change.what}`,
            destroys: service.name,
          },
        ),
      );
    return steps;
  }

  spread(service: RabbitService, cluster: Cluster, view: View): Step | undefined {
    const additions = lacking(service, cluster, view);
    if (additions.length === 0) return undefined;
    const text = additions.map(
      ({ queue, node }) => `${queueText(service, queue)} on ${nodeText(cluster, node)}`,
    );
    return this.step('spread', service.name, `members that queues lack: ${listed(text)}`, {
      name: 'spread',
      args: { timeoutMs: 60_000 },
    });
  }
}

const listed = (all: string[], most = 8): string =>
  all.length <= most ? all.join('; ') : `${all.slice(0, most).join('; ')} and ${all.length - most} more`;

/** Hosts whose node has data and is in no list of the cluster's: it was forgotten while it was away, or stands alone. */
function straysOf(service: RabbitService, cluster: Cluster, live: RabbitLive | undefined): string[] {
  const view = live?.view;
  if (!view) return [];
  const members = new Set(view.nodes.map((node) => node.name));
  return service.hosts.filter((host) => {
    const found = live.hosts[host];
    if (found?.blank !== false || members.has(nodeOf(service, cluster, host))) return false;
    // One that is being let in is not in the list yet.
    return !found.admitted || found.nodes !== undefined;
  });
}

/**
 * A node that runs in its own eyes and not in those of the majority was split off, and RabbitMQ has not made up: pause_minority
 * overlooks a split whose nodes are back at once (a frozen machine that goes on), `ignore` leaves it to us. Restarted, it takes
 * what the majority has; but for pause_minority it may have taken messages of its own in between, also where it is to be restarted anyway.
 */
function withSplit(
  service: RabbitService,
  cluster: Cluster,
  base: BasePlan,
  live: RabbitLive | undefined,
): BasePlan {
  const byMember = new Map(base.byMember);
  const { partitions } = service.spec;
  const leave = partitions === 'pause_minority' ? {} : { destroys: service.name };
  for (const member of base.members) {
    const node = nodeOf(service, cluster, member.host);
    const seen = live?.view?.nodes.find((one) => one.name === node);
    const place = live?.hosts[member.host];
    if (place?.nodes === undefined || seen?.running !== false) continue;
    const own = byMember.get(member.name) ?? [];
    const planned = own.find((step) => step.verb === 'restart');
    const why = 'it was split from the others, who still count it as down: started again it joins them';
    if (planned) {
      const restart = { ...planned, why: `${planned.why}; ${why}`, ...leave };
      byMember.set(
        member.name,
        own.map((step) => (step === planned ? restart : step)),
      );
      continue;
    }
    // RabbitMQ chooses a side and restarts the other by itself once they reach each other, and not before.
    const reached = running(live!.view!.nodes).some((one) => place.connected?.includes(one));
    if (partitions === 'autoheal' && !reached) continue;
    const restart: Step = {
      ...restartStep(member, entryOf(cluster, member.host).root, why),
      needs: own.map((step) => step.id),
      ...leave,
    };
    byMember.set(member.name, [...own, restart, readyStep(member, cluster, [restart.id])]);
  }
  return { ...base, byMember };
}

/** The view once the cluster has forgotten these nodes, to be joined again without data. Classic queues that were there are forgotten with them. */
function without(view: View, nodes: string[]): View {
  const gone = view.queues.filter(
    (queue) => queue.type === 'classic' && queue.node !== undefined && nodes.includes(queue.node),
  );
  const stays = ({ name, vhost }: QueueName): boolean =>
    !gone.some((queue) => queue.name === name && queue.vhost === vhost);
  return {
    ...view,
    queues: view.queues.filter(stays).map((queue) => ({
      ...queue,
      ...(queue.members ? { members: queue.members.filter((node) => !nodes.includes(node)) } : {}),
    })),
    definitions: { ...view.definitions, queues: view.definitions.queues.filter(stays) },
  };
}

/** A stray's data is set aside, on its host, before it starts again as a node without data. */
function withStrays(
  service: RabbitService,
  cluster: Cluster,
  base: BasePlan,
  strays: string[],
  live: RabbitLive | undefined,
): BasePlan {
  if (strays.length === 0) return base;
  const byMember = new Map(base.byMember);
  for (const host of strays) {
    const member = base.members.find((one) => one.host === host)!;
    const { root } = entryOf(cluster, host);
    const data = quote(`${root}/members/${member.name}/data`);
    const move = `cd ${data} && mv mnesia "set-aside-$(date +%Y%m%d-%H%M%S)"`;
    const aside = `${stopFragment(member, root)}\n${asOwner(member, root, move)}`;
    const found = live?.hosts[host];
    // One that runs and is too slow to say anything may serve as well.
    const alive = found?.idle !== true && !found?.admitted;
    const first: Step = {
      id: `set aside ${member.name}`,
      verb: 'set aside',
      target: member.name,
      host,
      service: service.name,
      why: !alive
        ? 'its data is of a member that the cluster has forgotten'
        : found?.nodes
          ? 'it stands alone, as a cluster of its own'
          : `the cluster has forgotten it, and it may serve as a cluster of its own (${found?.why ?? 'it does not answer'})`,
      needs: [],
      ...(alive ? { destroys: service.name } : {}),
      do: { kind: 'script', script: aside, timeoutMs: member.stop.timeoutMs + 30_000 },
    };
    const own = (base.byMember.get(member.name) ?? []).filter((step) => step.verb !== 'restart');
    const begin: Step[] = own.some((step) => step.verb === 'start')
      ? []
      : [
          {
            ...first,
            id: `start ${member.name}`,
            verb: 'start',
            why: 'stopped to set its data aside',
            do: { kind: 'script', script: startFragment(member, root), timeoutMs: 30_000 },
          },
        ];
    const rest = own.filter((step) => step.verb !== 'ready');
    byMember.set(member.name, [
      ...rest.filter((step) => step.verb === 'write'),
      first,
      ...[...rest.filter((step) => step.verb === 'start'), ...begin].map((step) => {
        const { destroys: _, ...plain } = step;
        return { ...plain, needs: [...new Set([...step.needs, first.id])] };
      }),
      readyStep(member, cluster, [`start ${member.name}`]),
    ]);
  }
  return { ...base, byMember };
}

function readyStep(member: Member, cluster: Cluster, needs: string[]): Step {
  const { check, port, timeoutMs } = member.ready!;
  return {
    id: `ready ${member.name}`,
    verb: 'ready',
    target: member.name,
    service: member.service,
    why: `until its ${check.kind} check passes`,
    needs,
    do: {
      kind: 'ready',
      member: member.name,
      address: entryOf(cluster, member.host).address,
      port,
      check,
      timeoutMs,
    },
  };
}

/** Release what the node holds, stop it, forget it, remove it: in this order, one node after the other. */
function leavingSteps(
  plan: Planner,
  service: RabbitService,
  cluster: Cluster,
  view: View | undefined,
  base: BasePlan,
  before: string[],
): Step[] {
  const wanted = new Set(service.hosts.map((host) => nodeOf(service, cluster, host)));
  const leaving = new Map<string, { name: string; steps: Step[] }>();
  for (const [name, steps] of base.leaving)
    leaving.set(nodeOf(service, cluster, name.split('@')[1]!), { name, steps });
  for (const { name: node } of view?.nodes ?? []) {
    if (wanted.has(node) || leaving.has(node)) continue;
    const host = hostOfNode(cluster, node);
    leaving.set(node, { name: host ? memberName(service, host) : node, steps: [] });
  }
  const out: Step[] = [];
  let previous: string[] = [];
  for (const [node, { name, steps }] of leaving) {
    if (view && !view.nodes.some((one) => one.name === node)) {
      out.push(...steps);
      continue;
    }
    const gone = view ? goneWith(service, cluster, view, node) : [];
    const against = view ? againstLeaving(service, cluster, view, node, gone) : [];
    const because =
      gone.length > 0
        ? `the file no longer has it and it is down: what it alone has goes with it (${listed(gone.map((queue) => `queue ${queueText(service, queue)}`))})`
        : 'the file no longer has it';
    const why =
      against.length > 0
        ? `${because}; now against it: ${listed(against)}`
        : gone.length > 0
          ? because
          : `${because}: its queues first get along without it`;
    const lost = gone.map(({ name, vhost }) => ({ name, vhost }));
    const release = plan.step(
      'release',
      name,
      why,
      { name: 'release', args: { node, timeoutMs: 15_000, ...(lost.length > 0 ? { lost } : {}) } },
      {
        needs: previous,
        after: before,
        ...(lost.length > 0 ? { destroys: service.name } : {}),
      },
    );
    const forget = plan.step('forget', name, 'so that no majority counts it any more', {
      name: 'forget',
      args: { node },
    });
    const stop = steps.filter((step) => step.verb === 'stop');
    const rest = steps.filter((step) => step.verb !== 'stop');
    const [last] = stop;
    out.push(
      release,
      ...stop.map((step) => ({ ...step, needs: [...step.needs, release.id] })),
      { ...forget, needs: [last?.id ?? release.id] },
      ...rest.map((step) => ({ ...step, needs: [...step.needs, forget.id] })),
    );
    previous = [forget.id];
  }
  return out;
}
