import type { BenchCluster } from '../cluster.ts';
import type { Stage } from '../stage.ts';

/**
 * Replaces the lab's bridge by as little as there can be: each port sends a frame straight to the port whose MAC address it
 * names. A switch of metal costs the hosts nothing; the lab's costs their own cores, twice on a path with a VIP and once on the
 * direct one. For every path alike; the rules go with the cluster.
 */
export async function wires(stage: Stage, cluster: BenchCluster, hosts: string[]): Promise<void> {
  const ports = await Promise.all(
    hosts.map(async (host) => {
      const [link] = JSON.parse(
        await stage.run('ip', ['-j', '-n', cluster.namespace(host), 'link', 'show', 'dev', 'eth0']),
      ) as { address: string }[];
      return { host, mac: link!.address };
    }),
  );
  const chains = ports.map(({ host }) => {
    const rules = ports
      .filter((other) => other.host !== host)
      .map((other) => `ether daddr ${other.mac} fwd to "${other.host}"`);
    return `chain ${host.replaceAll('-', '_')} {
type filter hook ingress device "${host}" priority 0;
${rules.join('\n')}
}`;
  });
  await stage.run('ip', [
    'netns',
    'exec',
    cluster.namespace(),
    'nft',
    `table netdev wires {\n${chains.join('\n')}\n}`,
  ]);
}
