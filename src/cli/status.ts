import { observe } from '../cluster/observe.ts';
import { wantedMembers } from '../cluster/plan.ts';
import { leftOver } from '../drill/standing.ts';
import type { MemberState, StatusRow } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import type { Cluster } from '../file/cluster.ts';
import { bold, columns, dim, green, red, yellow } from './paint.ts';
import { doubts, openSession } from './session.ts';

const shades = { ok: green, degraded: yellow, down: red, unknown: yellow };

/** `phalanx status`: every member's live role and health. Exit status 0 healthy, 3 degraded. */
export async function status(file: string | undefined, options: { json?: boolean }): Promise<number> {
  const session = await openSession(file);
  const { cluster, reach } = session;
  for (const { message, next } of doubts(session)) console.error(`${yellow(message)}\n  ${next}`);
  const observed = await observe(cluster, engines, reach);
  const rows = wantedMembers(cluster, engines).map((member): StatusRow => {
    const state = observed.members.get(member.name);
    const host = observed.unreachable[member.host];
    return {
      service: member.service,
      name: member.name,
      host: member.host,
      role: member.kind,
      ...processHealth(state, host),
      facts: state?.running && state.since !== undefined ? { up: ageText(state.since) } : {},
    };
  });
  const live = Object.values(cluster.services).flatMap(
    (service) => engines[service.type]!.status?.(service, cluster, observed.live[service.name]) ?? [],
  );
  const merged = merge(rows, live);
  const fault = leftOver(cluster);
  const health = fault === undefined && merged.every((row) => row.health === 'ok') ? 'healthy' : 'degraded';
  if (options.json)
    console.log(JSON.stringify({ cluster: cluster.name, health, ...(fault ? { fault } : {}), rows: merged }));
  else console.log(statusLines(cluster, merged, health).join('\n'));
  if (fault && !options.json) console.log(`\n${yellow(fault)}: phalanx heal`);
  return health === 'healthy' ? 0 : 3;
}

function processHealth(
  state: MemberState | undefined,
  unreachable: string | undefined,
): { health: StatusRow['health']; why?: string } {
  if (unreachable !== undefined) return { health: 'down', why: `host ${unreachable}` };
  if (!state?.present) return { health: 'down', why: 'not set up: phalanx up' };
  if (!state.running) return { health: 'down', why: 'not running' };
  return { health: 'ok' };
}

/** What an engine says of a member goes before what its supervisor says; what it says of other things stands by itself. */
function merge(processes: StatusRow[], live: StatusRow[]): StatusRow[] {
  const said = new Map(live.map((row) => [`${row.service} ${row.name}`, row]));
  const merged = processes.map((row) => {
    const engine = said.get(`${row.service} ${row.name}`);
    if (!engine) return row;
    said.delete(`${row.service} ${row.name}`);
    return row.health === 'ok'
      ? { ...engine, facts: { ...engine.facts, ...row.facts } }
      : { ...engine, ...row };
  });
  return [...merged, ...said.values()];
}

function statusLines(cluster: Cluster, rows: StatusRow[], health: 'healthy' | 'degraded'): string[] {
  const lines = [
    `cluster ${bold(cluster.name)}  ${health === 'healthy' ? green(health) : yellow(health)}  ${dim(`${cluster.network.cidr}  ${cluster.file}`)}`,
  ];
  for (const service of Object.values(cluster.services)) {
    lines.push('', `${bold(service.name)} ${dim(service.type)}`);
    const own = rows.filter((row) => row.service === service.name);
    lines.push(
      ...columns(
        own.map((row) => [
          `  ${shades[row.health](row.health)}`,
          row.name,
          row.role,
          [
            ...Object.entries(row.facts).map(([key, value]) => `${dim(key)} ${value}`),
            ...(row.why ? [yellow(row.why)] : []),
          ].join('  '),
        ]),
      ),
    );
  }
  return lines;
}

/** Seconds as `5s`, `3m`, `2h`, `9d`. */
function ageText(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
