import { existsSync, readdirSync } from 'node:fs';
import type { Cluster } from '../../file/cluster.ts';
import type { Host, RunOptions, RunResult } from '../host.ts';
import { HostUnreachable } from '../host.ts';
import { runShell, ShellTimeout } from '../shell.ts';
import { hostEnvironment } from './boot.ts';
import { diskImage } from './disk.ts';
import { hostNamespace, hostRoot } from './names.ts';
import { initOf, stateOf } from './processes.ts';

/** A host of the lab: scripts run inside all the namespaces of its process 1. */
export class LabHost implements Host {
  name: string;
  #root: string;
  #namespace: string;

  constructor(cluster: Cluster, name: string) {
    this.name = name;
    this.#root = hostRoot(cluster, name);
    this.#namespace = hostNamespace(cluster.name, name);
  }

  async run(script: string, options: RunOptions = {}): Promise<RunResult> {
    const init = this.init();
    if (init === undefined) throw new HostUnreachable(this.name, 'is down');
    // A new process in a frozen host would not be frozen: it must not answer where a real machine could not.
    if (stateOf(init) === 'T') throw new HostUnreachable(this.name, 'is frozen');
    const enter = ['nsenter', '-t', String(init), '-n', '-p', '-m', '-u', '-i', 'sh', '-s'];
    try {
      const result = await runShell(enter, script, options, hostEnvironment);
      if (result.exit !== 0 && this.init() !== init)
        throw new HostUnreachable(this.name, 'went down meanwhile');
      return result;
    } catch (error) {
      if (error instanceof ShellTimeout) throw new HostUnreachable(this.name, error.message);
      throw error;
    }
  }

  /** Process 1 of the host as the machine sees it; undefined when the host is down. */
  init(): number | undefined {
    return initOf(this.#root, this.#namespace);
  }
}

/** It is a lab's host that is off, and its files can be looked at on this machine all the same: it has no disk of its own. */
export const liesHere = (host: Host, root: string): boolean =>
  host instanceof LabHost && host.init() === undefined && !existsSync(diskImage(root));

/** Members that are written on a lab host's part of this machine's disk, whether it is on or off. */
export function writtenMembers(root: string): string[] {
  const members = `${root}/members`;
  if (!existsSync(members)) return [];
  // Either alone is of one whose removal was cut short.
  return readdirSync(members).filter((name) =>
    ['service', 'env'].some((own) => existsSync(`${members}/${name}/${own}`)),
  );
}
