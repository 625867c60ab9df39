import type { Cluster, Service } from '../../file/cluster.ts';
import type { Checkup, Finding } from '../engine.ts';
import type { DirectorSpec } from './schema.ts';

/** What the file leaves without a second: one director, or one real server with nobody to answer in its place. Pure; what is live is said by `status`. */
export function directorDoctor(service: Service<DirectorSpec>, cluster: Cluster): Checkup {
  const at = (...path: (string | number)[]): (string | number)[] => ['services', service.name, ...path];
  const findings: Finding[] = [];
  if (service.hosts.length === 1)
    findings.push({
      rule: 'one-director',
      risk: 'service',
      service: service.name,
      where: service.hosts[0]!,
      what: `the VIP ${service.spec.vip.join(', ')} has one director`,
      why: 'When its host is lost nobody takes the VIP, and everything behind it is out of reach.',
      mend: 'hosts: name a second host',
      key: at('hosts'),
    });
  service.spec.listen.forEach((listen, i) => {
    const target = cluster.services[listen.to];
    if (!target || target.hosts.length > 1 || listen.sorry !== undefined) return;
    findings.push({
      rule: 'one-real-server',
      risk: 'service',
      service: service.name,
      what: `port ${listen.port[0]} goes to ${target.name}, which has one host (${target.hosts.join(', ')}), and there is no sorry server`,
      why: 'While that one is away, or is being changed by up, clients are refused.',
      mend: `name a second host for ${target.name}, or a service that answers in its place: sorry: NAME`,
      key: at('listen', i),
    });
  });
  return {
    findings,
    limits: [],
    looked: [`the file's ${service.spec.listen.length} virtual services; who is live: phalanx status`],
  };
}
