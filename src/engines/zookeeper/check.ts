import type { Cluster, Problem } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import { known, owned } from './config.ts';
import type { ZooKeeperService } from './seats.ts';

const spare = 128 * 2 ** 20;

/** Rules across keys and hosts that the schema cannot say. */
export function zooKeeperCheck(service: ZooKeeperService, cluster: Cluster): Problem[] {
  const { spec, hosts } = service;
  const problems: Problem[] = [];
  const problem = (key: (string | number)[], message: string, hint?: string, atKey = false): void => {
    problems.push({
      path: ['services', service.name, ...key],
      message,
      ...(hint ? { hint } : {}),
      ...(atKey ? { atKey } : {}),
    });
  };
  const voters = hosts.length;
  if (voters === 2)
    problem(['hosts'], 'two voters need each other: the loss of either stops both', 'name 3 hosts, or 1');
  else if (voters > 0 && voters % 2 === 0)
    problem(
      ['hosts'],
      `${voters} voters survive the loss of ${voters / 2 - 1}, as many as ${voters - 1} do, and each write takes one more`,
      `name ${voters - 1} or ${voters + 1} hosts; further ones may be observers`,
    );
  else if (voters > 7)
    problem(
      ['hosts'],
      `${voters} voters make every write wait for ${(voters + 1) / 2} of them`,
      'name 3 or 5 hosts and make the others observers',
    );
  for (const [i, host] of spec.observers.entries()) {
    if (!(host in cluster.hosts)) problem(['observers', i], `no host "${host}" is declared`);
    else if (hosts.includes(host))
      problem(['observers', i], `"${host}" has a vote already: it stands in hosts`);
    else if (spec.observers.indexOf(host) !== i)
      problem(['observers', i], `"${host}" stands in this list twice`);
  }
  const ports = { port: spec.port, peerPort: spec.peerPort, electionPort: spec.electionPort };
  const seen = new Map<number, string>();
  for (const [key, port] of Object.entries(ports)) {
    const other = seen.get(port);
    if (other) problem([key], `${port} is ${other} already`, 'each needs a port of its own');
    seen.set(port, key);
  }
  if (spec.memory !== undefined && spec.memory < (spec.heap ?? 256 * 2 ** 20) + spare)
    problem(
      ['memory'],
      `${sizeText(spec.memory)} hold no heap of ${sizeText(spec.heap ?? 256 * 2 ** 20)}: Java itself needs about ${sizeText(spare)}`,
      'lower heap or raise memory',
    );
  for (const name of Object.keys(spec.config)) {
    const key = owned[name];
    if (key !== undefined)
      problem(['config', name], `${name} is set by Phalanx`, key ? `use the key ${key}` : 'remove it', true);
    else if (/^(server|group|weight)\./.test(name))
      problem(['config', name], 'the members are what hosts and observers say', 'remove it', true);
    else if (!known.has(name))
      problem(['config', name], `zoo.cfg of ZooKeeper 3.8 has no key ${name}`, undefined, true);
  }
  return problems;
}
