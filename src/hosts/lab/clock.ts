import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { machine } from '../machine.ts';
import { quote } from '../shell.ts';
import { hostNamespace, hostRoot } from './names.ts';
import { environmentOf, initOf, inodeOf, maps, processes } from './processes.ts';

/*
 * A wall clock of the host's own, for hosts whose file says `clock: own`. The kernel has one for all namespaces, so what the host's processes are told
 * of it is changed on the way: libfaketime answers in the C library's place (faketime(1)), by a difference in seconds that it reads from a file. Only
 * the wall clock: what time has passed (CLOCK_MONOTONIC) and when a file was written are the kernel's word, as they are on a machine whose clock is set.
 */

/** What a process has in its memory that asks the host's clock: a program that is linked statically never does. */
export const preloaded = 'libfaketime';

/** Debian's package of what stands between a process and the clock. */
export const clockPackage = preloaded;

/** By how many seconds the host's clock is ahead, as libfaketime reads it: +60. */
export const clockFile = (root: string): string => `${root}/clock`;

/** A process looks at the file again after this many seconds. */
const rereadS = 1;

/** For process 1 of the host, and so for everything that it starts. */
export function clockEnvironment({ root, clock }: HostEntry): Record<string, string> {
  if (clock === undefined) return {};
  return {
    // $LIB is the dynamic loader's: lib/x86_64-linux-gnu (ld.so(8)). The variant for processes with threads. Behind it the C library itself, so that
    // its malloc is found before jemalloc's: that asks for the time while libfaketime, which asks for memory, is not ready (Redis hung).
    LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1 libc.so.6',
    FAKETIME_TIMESTAMP_FILE: clockFile(root),
    FAKETIME_CACHE_DURATION: `${rereadS}`,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    // Left to itself, libfaketime 0.9.10 takes this glibc for one whose timed waits it has to mend, and then each of Java's returns at once: its threads spin.
    FAKETIME_FORCE_MONOTONIC_FIX: '0',
    NO_FAKE_STAT: '1',
  };
}

/** For the machine, before the host is booted: a host that is switched on has the right time. */
export const makeClock = ({ root, clock }: HostEntry): string =>
  clock === undefined ? '' : setClock(root, 0);

/** Sets the host's wall clock ahead of the machine's; its processes see it within a second. Rejects where it has none of its own. */
export async function stepClock(cluster: Cluster, host: string, seconds: number): Promise<void> {
  const root = hostRoot(cluster, host);
  if (!asksOwnClock(initOf(root, hostNamespace(cluster.name, host)), root))
    throw new Error(`${host} has no clock of its own`);
  const { exit, stderr } = await machine.run(setClock(root, seconds));
  if (exit !== 0) throw new Error(stderr.trim());
}

/** Whether what runs on the host with this process 1 asks a clock of its own; false where nothing runs. */
export const asksOwnClock = (init: number | undefined, root: string): boolean =>
  init !== undefined && environmentOf(init).includes(`FAKETIME_TIMESTAMP_FILE=${clockFile(root)}`);

/**
 * How far ahead of the machine's the clock is that a new process of the host sees, and how many of its processes have loaded what
 * answers for it; undefined for as long as it is less than `seconds`, or none has.
 */
export async function clockIsStepped(
  cluster: Cluster,
  host: string,
  seconds: number,
): Promise<{ aheadS: number; asking: number } | undefined> {
  const init = initOf(hostRoot(cluster, host), hostNamespace(cluster.name, host));
  const own = init === undefined ? undefined : inodeOf(init, 'pid');
  if (init === undefined || own === undefined) return undefined;
  const environment = environmentOf(init).filter((entry) => /^(LD_PRELOAD|FAKETIME)/.test(entry));
  const { text } = await machine.run(`env ${environment.map(quote).join(' ')} date +%s; date +%s`);
  const [there, here] = text.trim().split('\n').map(Number);
  const aheadS = there! - here!;
  const asking = processes().filter((pid) => inodeOf(pid, 'pid') === own && maps(pid, preloaded)).length;
  // Between the two a second may begin.
  return aheadS >= seconds - 1 && asking > 0 ? { aheadS, asking } : undefined;
}

/** Whole at once: a process that looks meanwhile sees the old or the new. */
function setClock(root: string, seconds: number): string {
  const file = clockFile(root);
  return `echo ${seconds < 0 ? '' : '+'}${seconds} >${quote(`${file}.new`)} && mv ${quote(`${file}.new`)} ${quote(file)}`;
}

/** Sh: the host's clock, where it has one of its own, tells the machine's time again. */
export const rightClock = (root: string): string =>
  `[ ! -e ${quote(clockFile(root))} ] || { ${setClock(root, 0)}; }`;
