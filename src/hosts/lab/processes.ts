import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

/** What the kernel says about processes; everything here may be gone by the time it is used. */

/** Inode of a network namespace's name in /run/netns; undefined when there is no such namespace. */
export function namespaceInode(name: string): number | undefined {
  try {
    const at = statSync(`/run/netns/${name}`);
    // A name that no namespace is mounted on (a killed `ip netns add`) lies on the same device as its folder.
    return at.dev === statSync('/run/netns').dev ? undefined : at.ino;
  } catch {
    return undefined;
  }
}

/** Inode of the process's network namespace; undefined for a process that is gone or a zombie. */
export function networkOf(pid: number): number | undefined {
  return inodeOf(pid, 'net');
}

/** Inode of one of the process's namespaces, as /proc/PID/ns/KIND says it. */
export function inodeOf(pid: number, kind: 'net' | 'pid'): number | undefined {
  try {
    const match = /\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/ns/${kind}`));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** Every process of the machine. */
export function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** True for process 1 of a pid namespace below this one (NSpid lists its number in each, outermost first). */
export function isInit(pid: number): boolean {
  try {
    return /^NSpid:\s.*\s1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** The process's state letter (proc(5)): T stopped, Z zombie, ...; undefined when it is gone. */
export function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2];
  } catch {
    return undefined;
  }
}

/** Its children, of all its threads; empty when it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** The command line's words; empty for kernel threads and processes that are gone. */
export function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** NAME=value of the environment that it was started with; empty when it is gone. */
export function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** Whether a file whose path has this in it is mapped into its memory: a library that it has loaded. */
export function maps(pid: number, part: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8').includes(part);
  } catch {
    return false;
  }
}

/** The host's process 1 as the machine sees it, by its pid file and proven by its namespace; undefined when the host is down. */
export function initOf(root: string, namespace: string): number | undefined {
  let pid: number;
  try {
    pid = Number(readFileSync(`${root}/init.pid`, 'utf8'));
  } catch {
    return undefined;
  }
  const inode = namespaceInode(namespace);
  if (!Number.isInteger(pid) || pid <= 1 || inode === undefined) return undefined;
  return networkOf(pid) === inode && isInit(pid) ? pid : undefined;
}
