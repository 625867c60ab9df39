import { StepFailed, StepHeld } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { UserError } from './error.ts';
import { bold, dim, tookText } from './paint.ts';
import { lockAndKeep, openSession } from './session.ts';

export interface SwitchoverCommand {
  file?: string;
  json?: boolean;
  to?: string;
  force?: boolean;
  allowDataLoss?: boolean;
}

/** `phalanx switchover SERVICE`: another member leads, as planned and without losing a write. Exit status 0; 1 when it was not done. */
export async function switchoverCommand(name: string, options: SwitchoverCommand): Promise<number> {
  const session = await openSession(options.file);
  const { cluster, reach } = session;
  const service = cluster.services[name];
  if (!service)
    throw new UserError(
      `${cluster.file} has no service "${name}"`,
      `its services are ${Object.keys(cluster.services).join(', ')}`,
    );
  const engine = engines[service.type]!;
  if (!engine.switchover) {
    const able = Object.values(cluster.services).filter((one) => engines[one.type]!.switchover);
    throw new UserError(
      `a service of type ${service.type} cannot be switched over`,
      able.length > 0
        ? `these can: ${able.map((one) => one.name).join(', ')}`
        : 'no service of this file can be',
    );
  }
  const lock = await lockAndKeep(session);
  try {
    const done = await engine.switchover(service, cluster, reach, {
      ...(options.to === undefined ? {} : { to: options.to }),
      ...(options.force ? { force: true } : {}),
      ...(options.allowDataLoss ? { allowDataLoss: true } : {}),
      say: (line) => console.error(dim(`  ${line}`)),
    });
    if (options.json)
      console.log(JSON.stringify({ cluster: cluster.name, service: name, ...done, ms: Math.round(done.ms) }));
    else if (done.from === done.to) console.log(`${bold(done.to)} leads already`);
    else
      console.log(
        `${bold(done.to)} leads instead of ${done.from}; writes were held for ${tookText(done.ms)}`,
      );
    return 0;
  } catch (error) {
    if (error instanceof StepHeld || error instanceof StepFailed)
      throw new UserError(error.message, 'phalanx status shows who leads');
    throw error;
  } finally {
    await lock.release();
  }
}
