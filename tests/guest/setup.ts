import type { TestProject } from 'vitest/node';
import { Guest, type Reached } from './guest.ts';
import { image } from './image.ts';

declare module 'vitest' {
  interface ProvidedContext {
    guest: Reached;
  }
}

/** One guest for a run, whatever number of files it has. PHALANX_GUEST names the ssh_config of one that runs already (tests/guest/stay.ts). */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const running = process.env['PHALANX_GUEST'];
  if (running) {
    project.provide('guest', { config: running });
    return async () => {};
  }
  const say = (line: string): void => console.log(`guest: ${line}`);
  const guest = await Guest.boot(image(say), say);
  project.provide('guest', guest.reached);
  return () => guest.close();
}
