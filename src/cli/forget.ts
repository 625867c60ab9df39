import { UserError } from './error.ts';
import { bold, green } from './paint.ts';
import { forget, lockAndKeep, openSession } from './session.ts';

/**
 * `phalanx forget HOST`: a real machine that left the file, or has another in its place there, and is gone for good is not asked any
 * more. Changes nothing but what this machine knows. Throws UserError for a host that the file has where it was, or that nobody knows.
 */
export async function forgetCommand(
  name: string,
  { file, json }: { file?: string; json?: boolean },
): Promise<number> {
  const session = await openSession(file, { forgetting: true });
  const { cluster, kept, learnt } = session;
  const gone = (one: string): boolean => !(one in cluster.hosts) || one in learnt.exchanged;
  if (!gone(name))
    throw new UserError(`${name} is a host of ${cluster.file}`, 'take it out of the file first, then up');
  if (!(name in kept.machines)) {
    const known = Object.keys(kept.machines).filter(gone);
    throw new UserError(
      `cluster ${cluster.name} knows no machine ${name} that left its file`,
      known.length === 0 ? 'it knows none at all' : `it knows: ${known.join(', ')}`,
    );
  }
  const lock = await lockAndKeep(session);
  forget(session, [name]);
  await lock.release();
  if (json) console.log(JSON.stringify({ cluster: cluster.name, forgotten: name }));
  else {
    const was = learnt.exchanged[name]?.was.ssh;
    const old = was === undefined ? '' : ` that was ${was}`;
    console.log(`${green('forgotten')}: ${bold(name)}${old}; whatever is on it stays there`);
  }
  return 0;
}
