import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stage } from '../stage.ts';

/** Where the kernel keeps processor time by group (cgroups(7), version 1). */
const hierarchy = '/sys/fs/cgroup/cpuacct';

export type End = 'control' | 'hosts';

/**
 * Processor time of the two ends, whatever processes come and go there: what is started inside a group stays in it, masters of ssh in the
 * background and sessions of sshd as well. Others on the machine do not count.
 */
export class Accounts {
  readonly #folder: string;

  constructor(stage: Stage, name: string) {
    if (!existsSync(join(hierarchy, 'cpuacct.usage')))
      throw new Error(`${hierarchy} is not there: processor time of many hosts cannot be told apart here`);
    this.#folder = join(hierarchy, `phalanx-${name}`);
    for (const end of ['control', 'hosts'] satisfies End[])
      mkdirSync(join(this.#folder, end), { recursive: true });
    stage.after(() => {
      for (const path of ['control', 'hosts', '']) rmdirSync(join(this.#folder, path));
    });
  }

  /** Puts this process, and whatever it starts from now on, to the end's account; undefined: to nobody's. */
  enter(end: End | undefined): void {
    const folder = end === undefined ? hierarchy : join(this.#folder, end);
    writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
  }

  /** Processor time of an end so far, in milliseconds. */
  used(end: End): number {
    return Number(readFileSync(join(this.#folder, end, 'cpuacct.usage'), 'utf8')) / 1e6;
  }
}
