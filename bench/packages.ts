import { machine } from '../src/hosts/machine.ts';
import { installScript, missingPackages } from '../src/hosts/packages.ts';
import type { Stage } from './stage.ts';

/** Makes sure of Debian packages that only benches need; none of their services is started. */
export async function packages(stage: Stage, names: string[]): Promise<void> {
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  stage.say(`installing ${missing.join(', ')}`);
  const { exit, stderr } = await machine.run(installScript(missing), { timeoutMs: 600_000 });
  if (exit !== 0) throw new Error(`${missing.join(', ')} could not be installed: ${stderr.trim()}`);
}
