import type { Cluster, Problem } from '../../file/cluster.ts';
import { suggestion } from '../../file/nearest.ts';
import { reservedKeys } from './configuration.ts';
import { adminUser, appUser, type RabbitService } from './names.ts';

/** Rules across keys and hosts that the schema cannot say. Parts of the spec that broke the schema are undefined. */
export function rabbitRules(service: RabbitService, _cluster: Cluster): Problem[] {
  const spec = service.spec as Partial<RabbitService['spec']>;
  const root = ['services', service.name];
  const problems: Problem[] = [];
  const say = (path: (string | number)[], message: string, hint?: string): void => {
    problems.push({ path: [...root, ...path], message, ...(hint === undefined ? {} : { hint }) });
  };

  if ([adminUser, 'guest'].includes(appUser(service)))
    say(
      [],
      `the application's user would be called "${appUser(service)}", which is ${appUser(service) === adminUser ? "Phalanx's own" : "RabbitMQ's own, and deleted"}`,
      'give the service another name',
    );
  for (const [index, host] of (spec.ram ?? []).entries())
    if (host !== undefined && !service.hosts.includes(host))
      say(['ram', index], `"${host}" is not one of the service's hosts`, suggestion(host, service.hosts));
  if (service.hosts.length > 0 && service.hosts.every((host) => spec.ram?.includes(host)))
    say(['ram'], 'every host is a RAM node: after a power cut nothing would be left', 'leave one host out');

  for (const [name, queue] of Object.entries(spec.queues ?? {})) {
    if (!queue) continue;
    const at = ['queues', name];
    if (name.startsWith('amq.')) say(at, "names that begin with amq. are RabbitMQ's own", 'use another name');
    if (queue.type === 'quorum' && queue.durable === false)
      say([...at, 'durable'], 'a quorum queue is always durable', 'use type classic');
    if (queue.type === 'quorum' && queue.mirrored !== undefined)
      say([...at, 'mirrored'], 'a quorum queue has members, not mirrors', 'use members, or type classic');
    if (queue.type === 'classic' && queue.members !== undefined)
      say([...at, 'members'], 'a classic queue has mirrors, not members', 'use mirrored, or type quorum');
    if (queue.members !== undefined && queue.members > service.hosts.length)
      say([...at, 'members'], `the service has ${service.hosts.length} hosts only`);
    if (queue.arguments && 'x-queue-type' in queue.arguments)
      say([...at, 'arguments', 'x-queue-type'], 'the type is said by `type`', 'remove it here');
    if (queue.arguments && 'x-quorum-initial-group-size' in queue.arguments)
      say([...at, 'arguments', 'x-quorum-initial-group-size'], 'said by `members`', 'remove it here');
  }
  const exchanges = Object.keys(spec.exchanges ?? {});
  for (const name of exchanges)
    if (name.startsWith('amq.'))
      say(['exchanges', name], "names that begin with amq. are RabbitMQ's own", 'use another name');
  const known = (exchange: string): boolean => exchange.startsWith('amq.') || exchanges.includes(exchange);
  for (const [index, binding] of (spec.bindings ?? []).entries()) {
    if (!binding) continue;
    const at = ['bindings', index];
    if ((binding.to === undefined) === (binding.toExchange === undefined))
      say(at, 'a binding goes to one queue (to) or one exchange (toExchange)');
    if (!known(binding.from))
      say([...at, 'from'], `no exchange "${binding.from}" is declared`, suggestion(binding.from, exchanges));
    if (binding.toExchange !== undefined && !known(binding.toExchange))
      say(
        [...at, 'toExchange'],
        `no exchange "${binding.toExchange}" is declared`,
        suggestion(binding.toExchange, exchanges),
      );
    const queues = Object.keys(spec.queues ?? {});
    if (binding.to !== undefined && !queues.includes(binding.to))
      say([...at, 'to'], `no queue "${binding.to}" is declared`, suggestion(binding.to, queues));
  }
  for (const [name, policy] of Object.entries(spec.policies ?? {})) {
    if (!policy?.pattern) continue;
    try {
      new RegExp(policy.pattern);
    } catch {
      say(['policies', name, 'pattern'], 'not a regular expression');
    }
  }
  for (const name of Object.keys(spec.users ?? {}))
    if ([adminUser, appUser(service), 'guest'].includes(name))
      say(['users', name], `the user "${name}" is not the file's to make`, 'use another name');
  for (const key of Object.keys(spec.config ?? {})) {
    const word = reservedKeys.find(([prefix]) => key === prefix || key.startsWith(`${prefix}.`))?.[1];
    if (word !== undefined) say(['config', key], `${key} is Phalanx's to set`, word);
  }
  return problems;
}
