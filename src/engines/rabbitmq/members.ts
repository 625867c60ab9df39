import type { Check } from '../../check/check.ts';
import type { Cluster } from '../../file/cluster.ts';
import type { Member } from '../engine.ts';
import { advancedConfig, joinConf, rabbitmqConf, tickArguments } from './configuration.ts';
import { distributionPort, managementPort, memberName, type RabbitService } from './names.ts';
import { environment, startScript } from './start.ts';
import { watch, watchFile } from './watch.ts';

/** Asked often: a node that is up is used at once. */
const readiness: Check = { kind: 'amqp', intervalMs: 100, timeoutMs: 2000, rise: 1, fall: 1 };
const pageCheck: Check = {
  kind: 'http',
  path: '/',
  status: [200, 399],
  intervalMs: 1000,
  timeoutMs: 2000,
  rise: 1,
  fall: 2,
};

/** One node on each of the service's hosts. Pure. */
export function rabbitMembers(service: RabbitService, cluster: Cluster): Member[] {
  const { spec } = service;
  return service.hosts.map((hostName): Member => {
    const host = cluster.hosts[hostName]!;
    const name = memberName(service, hostName);
    return {
      name,
      service: service.name,
      host: hostName,
      kind: spec.ram.includes(hostName) ? 'ram node' : 'disk node',
      command: 'sh start.sh',
      env: environment(
        service.name,
        spec,
        host.address,
        `${host.root}/members/${name}`,
        tickArguments(service),
      ),
      files: [
        file('rabbitmq.conf', rabbitmqConf(service, cluster, hostName), 'restart', true),
        // Only a node that has no data yet reads it: a new neighbour is no reason to restart.
        file('join.conf', joinConf(service, cluster, hostName), 'nothing'),
        file('advanced.config', advancedConfig(service), 'restart'),
        file('enabled_plugins', '[rabbitmq_management].\n', 'restart'),
        file('.erlang.cookie', cluster.secrets[`${service.name}/cookie`] ?? '', 'restart', true),
        file('start.sh', startScript(service.name, host.address), 'restart'),
        file(watchFile, watch, 'restart'),
      ],
      // As many files as the host gives, see start.sh.
      limits: {},
      ports: [
        { proto: 'tcp', port: spec.port },
        { proto: 'tcp', port: managementPort(spec), name: 'management', check: pageCheck },
        { proto: 'tcp', port: distributionPort(spec), name: 'nodes' },
      ],
      stop: { signal: 'TERM', timeoutMs: 60_000 },
      ready: { check: readiness, port: spec.port, timeoutMs: spec.start },
      data: ['data'],
    };
  });
}

const file = (
  path: string,
  content: string,
  onChange: 'restart' | 'nothing',
  secret = false,
): Member['files'][number] => ({
  path,
  content,
  mode: secret ? 0o600 : 0o644,
  onChange,
  ...(secret ? { secret } : {}),
});
