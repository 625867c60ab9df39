import { join, resolve } from 'node:path';
import { engines } from '../engines/index.ts';
import type { Cluster } from '../file/cluster.ts';
import { bold, columns, dim, green, tookText } from './paint.ts';
import { namedService, refused } from './service.ts';
import { openSession } from './session.ts';

/** Where backups are kept for which nobody named another place. `down --purge` leaves them. */
export const backupsOf = ({ home }: Cluster): string => join(home, 'backups');

/** `phalanx backup SERVICE`: a folder with a file a shard and a manifest. Exit status 0 done, 1 refused or failed. */
export async function backup(
  file: string | undefined,
  name: string,
  options: { to?: string; json?: boolean },
): Promise<number> {
  const began = performance.now();
  const { cluster, reach } = await openSession(file);
  const service = namedService(cluster, name);
  const take = engines[service.type]!.backup;
  if (!take) throw refused(`a service of type ${service.type} has no backup in this version`);
  const to = resolve(options.to ?? backupsOf(cluster));
  const say = (line: string): void => {
    if (!options.json) console.log(dim(`  ${line}`));
  };
  const done = await take(service, cluster, reach, { to, say }).catch((error: Error) => {
    throw refused(error, `no backup of ${name} was made`);
  });
  if (options.json) {
    console.log(JSON.stringify({ cluster: cluster.name, service: name, ...done }));
    return 0;
  }
  const heads = [...new Set(done.rows.flatMap((row) => Object.keys(row)))];
  const rows = done.rows.map((row) => heads.map((head) => String(row[head] ?? '')));
  console.log(
    `${green('backup')} of ${bold(name)} after ${tookText(performance.now() - began)}: ${done.path}`,
  );
  for (const line of columns([heads.map(dim), ...rows])) console.log(`  ${line}`);
  return 0;
}
