import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeWhole } from '../cluster/state.ts';
import type { RestoreDone, RestoreOptions } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { bold, dim, green, tookText } from './paint.ts';
import { namedService, refused } from './service.ts';
import { lockAndKeep, openSession } from './session.ts';

/** `phalanx restore SERVICE FROM`: a backup's data into an empty service. Exit status 0 done, 1 refused or failed. */
export async function restore(
  file: string | undefined,
  name: string,
  from: string,
  options: { foreign?: boolean; json?: boolean },
): Promise<number> {
  const began = performance.now();
  const session = await openSession(file);
  const { cluster, reach } = session;
  const service = namedService(cluster, name);
  const put = engines[service.type]!.restore;
  if (!put) throw refused(`a service of type ${service.type} has no backup in this version`);
  const lock = await lockAndKeep(session);
  try {
    const done = await restored(
      (how) => put(service, cluster, reach, how),
      name,
      join(cluster.home, `restore-${name}`),
      {
        from: resolve(from),
        foreign: options.foreign === true,
        say: (line) => {
          if (!options.json) console.log(dim(`  ${line}`));
        },
      },
    );
    if (options.json) console.log(JSON.stringify({ cluster: cluster.name, service: name, ...done }));
    else {
      const gone = done.expired > 0 ? `, and ${done.expired} whose time has come are not` : '';
      console.log(
        `${green('restored')} ${bold(name)} after ${tookText(performance.now() - began)}: ${done.keys} keys of ${done.taken} are there${gone}`,
      );
    }
    return 0;
  } finally {
    await lock.release();
  }
}

/**
 * Does a restore. What began and did not end is kept in the file `record`: the service is not empty then, and only the same backup may go on. The error of
 * one that fails says whether anything was changed, by it or by those before it.
 */
export async function restored(
  put: (options: RestoreOptions) => Promise<RestoreDone>,
  name: string,
  record: string,
  options: Pick<RestoreOptions, 'from' | 'foreign' | 'say'>,
): Promise<RestoreDone> {
  const unfinished = existsSync(record) ? readFileSync(record, 'utf8').trim() : undefined;
  let begun = unfinished !== undefined;
  const begin = (backup: string): void => {
    begun = true;
    writeWhole(record, `${backup}\n`);
  };
  const done = await put({ ...options, unfinished, begin }).catch((error: Error) => {
    throw refused(error, begun ? `the restore of ${name} is not ended` : `nothing of ${name} was changed`);
  });
  rmSync(record, { force: true });
  return done;
}
