import { engines } from '../engines/index.ts';
import { UserError } from './error.ts';
import { bold, columns, dim } from './paint.ts';
import { namedService } from './service.ts';
import { openSession } from './session.ts';

/** `phalanx show SERVICE`: what the service holds, in the tables of its engine. */
export async function show(
  file: string | undefined,
  name: string,
  options: { json?: boolean },
): Promise<number> {
  const { cluster, reach } = await openSession(file);
  const service = namedService(cluster, name);
  const engine = engines[service.type]!;
  if (!engine.show)
    throw new UserError(
      `there is nothing to show of a service of type ${service.type}`,
      'phalanx status shows its members',
    );
  const tables = await engine.show(service, cluster, reach);
  if (options.json) {
    console.log(JSON.stringify({ cluster: cluster.name, service: name, tables }));
    return 0;
  }
  console.log(`${bold(name)} ${dim(`${service.type} of cluster ${cluster.name}`)}`);
  for (const { title, columns: heads, rows } of tables) {
    console.log(`\n${bold(title)}`);
    if (rows.length === 0) console.log(dim('  none'));
    else for (const line of columns([heads.map(dim), ...rows])) console.log(`  ${line}`);
  }
  return 0;
}
