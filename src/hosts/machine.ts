import type { Host, RunOptions, RunResult } from './host.ts';
import { HostUnreachable } from './host.ts';
import { runShell, ShellTimeout } from './shell.ts';

/** The control machine itself: where steps of kind `machine` run (building the lab). */
export const machine: Host = {
  name: 'this machine',
  async run(script: string, options?: RunOptions): Promise<RunResult> {
    try {
      return await runShell(['sh', '-s'], script, options);
    } catch (error) {
      if (error instanceof ShellTimeout) throw new HostUnreachable('this machine', error.message);
      throw error;
    }
  },
};
