import type { Member } from '../engines/engine.ts';
import type { Problem } from './cluster.ts';

/**
 * Ports that two members would both listen on, one problem for each pair of services: only one process of a host can.
 * `line` gives the line of a service's port in the file, `portPath` the path to point at.
 */
export function clashes(
  members: Iterable<Member>,
  portPath: (service: string) => (string | number)[],
  line: (service: string) => number,
): Problem[] {
  const owner = new Map<string, Member>();
  const pairs = new Map<string, { first: Member; second: Member; what: string; hosts: Set<string> }>();
  for (const member of members) {
    for (const { proto, port } of member.ports) {
      const key = `${member.host} ${proto} ${port}`;
      const other = owner.get(key);
      if (other === undefined) {
        owner.set(key, member);
        continue;
      }
      const pair = `${other.service} ${member.service}`;
      const known = pairs.get(pair) ?? {
        first: other,
        second: member,
        what: `${proto} port ${port}`,
        hosts: new Set(),
      };
      known.hosts.add(member.host);
      pairs.set(pair, known);
    }
  }
  return [...pairs.values()].map(({ first, second, what, hosts }): Problem => {
    const [host, ...more] = hosts;
    const where = more.length === 0 ? host : `${host} and ${more.length} more`;
    if (first.service === second.service)
      return {
        path: portPath(second.service),
        atKey: true,
        message: `${first.name} and ${second.name} would both listen on ${what} of ${where}`,
      };
    return {
      path: portPath(second.service),
      atKey: true,
      message: `${what} of ${where} is taken twice: by "${first.service}" (line ${line(first.service)}) and by "${second.service}" (line ${line(second.service)})`,
      hint: 'give one another port or other hosts',
    };
  });
}
