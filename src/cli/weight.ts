import { wantedMembers } from '../cluster/plan.ts';
import { agentFolder } from '../engines/director/members.ts';
import { overrideScript, overrideShown, until } from '../engines/director/turn.ts';
import { engines } from '../engines/index.ts';
import { HostUnreachable } from '../hosts/host.ts';
import { quote } from '../hosts/shell.ts';
import { UserError } from './error.ts';
import { bold, red } from './paint.ts';
import { openSession } from './session.ts';

/** How long an agent may take to make a weight live; it takes milliseconds. */
const takenInMs = 10_000;

/** What the person wrote, as the agent reads it; undefined: back to the file's weight. */
function lineOf(weight: string): string | undefined {
  if (weight === 'file') return undefined;
  if (weight === 'drain') return 'drain';
  if (/^\d{1,5}$/.test(weight) && Number(weight) <= 65_535) return `weight ${Number(weight)}`;
  throw new UserError(
    `"${weight}" is no weight`,
    "a weight is a whole number from 0 to 65535, or 'drain', or 'file'",
  );
}

/** `why`: it was not changed there. */
interface Tried {
  director: string;
  host: string;
  why?: string;
}

/** `phalanx weight SERVER N`: at run time, at every director that fronts the server; stays until `weight SERVER file`. */
export async function weightCommand(
  server: string,
  weight: string,
  { file, json }: { file?: string; json?: boolean },
): Promise<number> {
  const line = lineOf(weight);
  const { cluster, reach } = await openSession(file);
  const member = wantedMembers(cluster, engines).find((one) => one.name === server);
  if (!member)
    throw new UserError(`cluster ${cluster.name} has no member ${server}`, 'phalanx status lists them');
  const directors = Object.values(cluster.services).filter(
    (service) =>
      service.type === 'director' && engines['director']!.around!(service, cluster, member).before.length > 0,
  );
  if (directors.length === 0) throw new UserError(`no director stands in front of ${server}`);
  const places = directors.flatMap((service) => service.hosts.map((host) => ({ service, host })));
  const tried = await Promise.all(
    places.map(async ({ service, host }): Promise<Tried> => {
      const at = { director: service.name, host };
      const folder = agentFolder(cluster.hosts[host]!.root, service.name, host);
      const script = `cd ${quote(folder)} || exit 1
${overrideScript(folder, server, line && quote(line))} || exit 1
${until(overrideShown(server, line), takenInMs)} || { echo 'the agent did not take it in: phalanx status' >&2; exit 1; }`;
      try {
        const run = await reach.host(host).run(script, { timeoutMs: takenInMs + 5_000 });
        return run.exit === 0 ? at : { ...at, why: run.stderr.trim() };
      } catch (error) {
        if (error instanceof HostUnreachable) return { ...at, why: error.why };
        throw error;
      }
    }),
  );
  const failed = tried.filter(({ why }) => why !== undefined);
  const live = tried.length - failed.length;
  if (json)
    console.log(JSON.stringify({ cluster: cluster.name, server, weight: line ?? 'file', directors: tried }));
  else {
    for (const { director, host, why } of failed)
      console.error(`${red('not changed')} by ${director} at ${host}: ${why}`);
    if (live > 0)
      console.log(
        `${bold(server)}: ${line ?? 'weight as in the file'}, live at ${live} of ${tried.length} directors`,
      );
  }
  return failed.length === 0 ? 0 : 1;
}
