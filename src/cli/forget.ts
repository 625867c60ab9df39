import { UserError } from './error.ts';
import { bold, green } from './paint.ts';
import { forget, lockAndKeep, openSession } from './session.ts';

/**
 * `phalanx forget HOST`: a real machine that left the file and is gone for good is not asked any more. Changes nothing but what this
 * machine knows. Throws UserError for a host that the file has, or that nobody knows.
 */
export async function forgetCommand(
  name: string,
  { file, json }: { file?: string; json?: boolean },
): Promise<number> {
  const session = await openSession(file, { forgetting: true });
  const { cluster, kept } = session;
  if (name in cluster.hosts)
    throw new UserError(`${name} is a host of ${cluster.file}`, 'take it out of the file first, then up');
  if (!(name in kept.machines)) {
    const known = Object.keys(kept.machines).filter((one) => !(one in cluster.hosts));
    throw new UserError(
      `cluster ${cluster.name} knows no machine ${name} that left its file`,
      known.length === 0 ? 'it knows none at all' : `it knows: ${known.join(', ')}`,
    );
  }
  const lock = await lockAndKeep(session);
  forget(session, [name]);
  await lock.release();
  if (json) console.log(JSON.stringify({ cluster: cluster.name, forgotten: name }));
  else console.log(`${green('forgotten')}: ${bold(name)}; whatever is on it stays there`);
  return 0;
}
