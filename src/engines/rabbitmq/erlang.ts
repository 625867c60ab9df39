import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner } from '../../hosts/supervise.ts';
import { StepFailed } from '../engine.ts';
import { distributionPort, entryOf, memberName, type RabbitService } from './names.ts';

/** A binary of Erlang that holds the text, whatever is in it. */
export const binary = (text: string): string => `<<${[...Buffer.from(text)].join(',')}>>`;

/** An atom of Erlang: names of nodes, which need no more than the quotes. */
export const atom = (name: string): string => {
  if (!/^[\w@.-]+$/.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a node`);
  return `'${name}'`;
};

/**
 * Evaluates Erlang in a running node and gives its value as text. Only for what RabbitMQ 3.10's management API cannot do
 * (members of quorum queues, forgetting a node): erl_call(1) takes 10 ms where rabbitmqctl takes seconds, finds the node by its address
 * without epmd, and reads the cookie from HOME. Throws StepFailed when the node does not answer or the code fails.
 */
export async function evaluate(
  code: string,
  { service, cluster, host, reach }: { service: RabbitService; cluster: Cluster; host: string; reach: Reach },
  timeoutMs = 60_000,
): Promise<string> {
  const { root, address } = entryOf(cluster, host);
  const name = memberName(service, host);
  const folder = `${root}/members/${name}`;
  const script = `HOME=${quote(folder)} exec erl_call -address ${address}:${distributionPort(service.spec)} -e <<'PHALANX_ERLANG'
${code}.
PHALANX_ERLANG`;
  const { exit, text, stderr } = await reach.host(host).run(asOwner({ name }, root, script), { timeoutMs });
  const said = text.trim();
  const value = /^\{ok, ([\s\S]*)\}$/.exec(said)?.[1];
  if (exit !== 0 || value === undefined || /^\{'EXIT',|^\{badrpc,/.test(value))
    throw new StepFailed(
      `${memberName(service, host)} could not carry out ${code.slice(0, 120)}: ${(said || stderr.trim()).slice(0, 500)}`,
    );
  return value;
}
