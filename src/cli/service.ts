import { StepFailed, StepHeld } from '../engines/engine.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import { UserError } from './error.ts';

/** The service that a command names. Throws UserError with the names that there are. */
export function namedService(cluster: Cluster, name: string): Service {
  const service = cluster.services[name];
  if (service) return service;
  throw new UserError(
    `${cluster.file} has no service "${name}"`,
    `its services are ${Object.keys(cluster.services).join(', ')}`,
  );
}

/** What an engine refused or could not do, as a message for a person; other errors stay what they are. `what` says what that means. */
export function refused(why: string | Error, what?: string): Error {
  if (typeof why === 'string') return new UserError(why);
  if (!(why instanceof StepHeld || why instanceof StepFailed)) return why;
  return new UserError(what === undefined ? why.message : `${what}: ${why.message}`);
}
