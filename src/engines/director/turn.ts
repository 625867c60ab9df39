import type { Cluster, Service } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { hupFragment } from '../../hosts/supervise.ts';
import type { Step } from '../engine.ts';
import { agentFolder, agentName } from './members.ts';
import type { DirectorSpec } from './schema.ts';

/** Longest that a director is given to take in an override, or to find a server healthy again. */
const answerMs = 15_000;

/** Sh: waits until `condition` holds, looking 20 times a second; false when `ms` have passed. */
export const until = (condition: string, ms: number): string =>
  `i=0; while ! { ${condition}; }; do i=$((i+1)); [ $i -gt ${Math.ceil(ms / 50)} ] && break; sleep 0.05; done; ${condition}`;

/** The member whose folder it is, and its host's root: agentFolder backwards. */
function memberAt(folder: string): [{ name: string }, string] {
  const [root, name] = folder.split('/members/') as [string, string];
  return [{ name }, root];
}

/** Sh: writes (or removes, where `line`, a word of sh, is undefined) a server's override and has the agent read it. */
export function overrideScript(folder: string, server: string, line: string | undefined): string {
  const file = quote(`${folder}/overrides/${server}`);
  const draft = quote(`${folder}/overrides/.${server}.tmp`);
  const change =
    line === undefined
      ? `rm -f ${file}`
      : `mkdir -p ${quote(`${folder}/overrides`)} && echo ${line} > ${draft} && mv ${draft} ${file}`;
  return `${change} && (
${hupFragment(...memberAt(folder))}
)`;
}

/** Whether a rolling change has its turn at the server, by the override in the status of an agent. */
export const inTurn = (override: string | undefined): boolean => /^turn\b/.test(override ?? '');

/** Sh: puts a rolling change's turn before what was said by hand of the server, or takes it away again. */
function turnScript(folder: string, server: string, begin: boolean): string {
  const file = quote(`${folder}/overrides/${server}`);
  return `said=$(sed 's/^turn *//' ${file} 2>/dev/null)
${begin ? `said="turn\${said:+ $said}"\n` : ''}if [ -n "$said" ]; then
${overrideScript(folder, server, '"$said"')}
else
${overrideScript(folder, server, undefined)}
fi`;
}

/**
 * Sh condition: the agent's status has lines for the server, and all of them hold `text` (or none does, with `lack`).
 * One process a look: several of these run side by side on a busy machine.
 */
function shown(server: string, text: string, lack = false): string {
  const awk = `index($0, s) { n++; if (index($0, t)) m++ } END { exit !(n > 0 && m + 0 == ${lack ? '0' : 'n'}) }`;
  return `awk -v s=${quote(`"server":"${server}"`)} -v t=${quote(text)} ${quote(awk)} status.jsonl 2>/dev/null`;
}

const turnShown = (server: string, lack = false): string => shown(server, '"override":"turn', lack);

/** Sh condition: the agent shows the override (or none) for the server in every virtual service. */
export const overrideShown = (server: string, line: string | undefined): string =>
  line === undefined ? shown(server, '"override":', true) : shown(server, `"override":"${line}"`);

/** A step about a server, in the folder of the agent on `host`. */
function agentStep(
  verb: string,
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  server: string,
  why: string,
  work: (folder: string) => string,
  timeoutMs: number,
): Step {
  const folder = agentFolder(cluster.hosts[host]!.root, service.name, host);
  return {
    id: `${verb} ${server} at ${service.name}@${host}`,
    verb,
    target: server,
    host,
    service: service.name,
    why,
    needs: [],
    do: { kind: 'script', script: `cd ${quote(folder)} || exit 1\n${work(folder)}`, timeoutMs },
  };
}

/** Sh: where this host owns the VIP, waits for `ended`, at most `drainMs`; true in any case. */
const whereOwned = (ended: string, drainMs: number): string =>
  `if head -n 1 status.jsonl | grep -q '"vips":{[^}]*:true'; then ${until(ended, drainMs)}; fi\ntrue`;

/**
 * Takes a real server out of this director's traffic: no new connection from now on; where this host owns the VIP,
 * wait for its connections to end, at most `drainMs`. What has not ended by then is the member's own to end well.
 */
export function drainStep(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  server: string,
  drainMs: number,
): Step {
  const why = `no new connection; up to ${drainMs / 1000} s for those that it has`;
  const work = (folder: string): string => `${turnScript(folder, server, true)} || exit 1
${until(turnShown(server), answerMs)} || { echo ${quote(`the agent ${agentName(service.name, host)} did not take the server out within ${answerMs / 1000} s; nothing was stopped: phalanx logs ${agentName(service.name, host)}`)} >&2; exit 1; }
${whereOwned(shown(server, '"active":0,'), drainMs)}`;
  const timeoutMs = answerMs + drainMs + 5_000;
  return {
    ...agentStep('drain', service, cluster, host, server, why, work, timeoutMs),
    // What an earlier change left out is back first: the roll takes one out at a time.
    after: [putBackId(service.name, server, host)],
  };
}

/**
 * Waits until this director sends nothing new to a server that the file no longer has, which its agent sees to (agent/leavers.ts); where this
 * host owns the VIP also for its connections to end, at most `drainMs`. Fails, and the server is not stopped, while none could take its place.
 */
export function dismissStep(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  server: string,
  drainMs: number,
): Step {
  // Also of an agent that has no such server, or none at all yet.
  const all = (text: string): string =>
    `awk -v s=${quote(`"server":"${server}"`)} -v t=${quote(text)} ${quote('index($0, s) { if (index($0, t) == 0) m = 1 } END { exit m }')} status.jsonl 2>/dev/null`;
  const why = `until it gets no new connection; up to ${drainMs / 1000} s for those that it has`;
  const work = (): string => `[ -f status.jsonl ] || exit 0
${until(all('"effective":0,'), answerMs)} || { echo ${quote(`${agentName(service.name, host)} still sends to ${server}, since it does not find healthy what is to take its place; it was not stopped: phalanx status`)} >&2; exit 1; }
${whereOwned(all('"active":0,'), drainMs)}`;
  return agentStep('dismiss', service, cluster, host, server, why, work, answerMs + drainMs + 5_000);
}

/** Id of the step that puts a server back which a change that was cut short had left out; not the id of a roll's own step, which that roll waits for. */
export const putBackId = (service: string, server: string, host: string): string =>
  `put back ${server} at ${service}@${host}`;

/** Puts a real server back and waits until the director's own checks have found it healthy. */
export function undrainStep(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  server: string,
  why: string,
): Step {
  const work = (folder: string): string => `${turnScript(folder, server, false)} || exit 1
${until(`${turnShown(server, true)} && ${shown(server, '"up":true')}`, answerMs)} || { echo ${quote(`${agentName(service.name, host)} does not find ${server} healthy after ${answerMs / 1000} s: phalanx status`)} >&2; exit 1; }`;
  return agentStep('undrain', service, cluster, host, server, why, work, answerMs + 5_000);
}
