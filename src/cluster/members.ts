import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Member, MemberFile, MemberState, Step } from '../engines/engine.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import {
  hupFragment,
  ownFiles,
  type ReleaseSource,
  releaseFragment,
  removeFragment,
  restartFragment,
  restartHash,
  startFragment,
  stopFragment,
  writeFragment,
} from '../hosts/supervise.ts';

const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');

/** The files of a member that differ from what is on its host. Files that the engine rewrites count only while they are missing. */
export function changedFiles(member: Member, state: MemberState | undefined): MemberFile[] {
  return member.files.filter((file) => {
    const found = state?.files[file.path];
    if (file.owned === 'engine') return found === undefined;
    return found !== sha256(file.content);
  });
}

/** Those that start and end the member and are not as they were written: somebody has edited them, or an older Phalanx wrote them. */
function edited(
  member: Member,
  state: MemberState | undefined,
  root: string,
  releaseHash: string | undefined,
): string[] {
  const own = state?.own;
  if (own === undefined) return [];
  return ownFiles(member, root, releaseHash)
    .filter(({ path, content }) => own[path] !== sha256(content))
    .map(({ path }) => path);
}

function whyWrite(
  changed: MemberFile[],
  own: string[],
  state: MemberState | undefined,
  stale: boolean,
): string {
  if (!state?.present) return 'not on the host';
  const names = [...changed.map((file) => file.path), ...(stale ? [] : own)];
  // What a process that was started after the edit runs with is known to nobody.
  const edited =
    state.running && !stale && own.length > 0 ? '; its process goes on with what it was started with' : '';
  if (names.length > 0)
    return `${names.join(', ')} differ${names.length === 1 ? 's' : ''} from the file${edited}`;
  return stale ? 'its command, environment, limits or release changed' : '';
}

/** A script that is rendered when it is first asked for: most plans are only looked at, and ten thousand members have tens of megabytes. */
function rendered(render: () => string): { readonly script: string } {
  let script: string | undefined;
  return {
    get script() {
      script ??= render();
      return script;
    },
  };
}

/**
 * Brings one member to what is rendered: write, then start, restart or signal, then wait until it serves.
 * Empty when nothing is to be done. Pure.
 */
export function memberSteps(member: Member, state: MemberState | undefined, cluster: Cluster): Step[] {
  const host = cluster.hosts[member.host]!;
  const release = member.release ? cluster.releases[member.release] : undefined;
  const changed = changedFiles(member, state);
  const running = state?.running === true;
  const stale = running && state?.runningHash !== restartHash(member, release?.hash);
  const own = edited(member, state, host.root, release?.hash);
  const steps: Step[] = [];
  const step = (verb: string, why: string, render: () => string, timeoutMs = 30_000): void => {
    steps.push({
      id: `${verb} ${member.name}`,
      verb,
      target: member.name,
      host: member.host,
      service: member.service,
      why,
      needs: steps.length > 0 ? [steps.at(-1)!.id] : [],
      do: Object.assign(rendered(render), { kind: 'script' as const, timeoutMs }),
    });
  };

  // A member that is to run again gets its service folder written too: the run script carries the hash.
  if (changed.length + own.length > 0 || stale || !running || !state?.present) {
    const why = whyWrite(changed, own, state, stale) || 'to be started';
    const travels = release && host.kind === 'ssh' && !state?.releases?.includes(release.hash);
    const render = (): string => {
      const unpack = release
        ? releaseFragment(member, host.root, release.hash, releaseSource(host, release, state))
        : '';
      return `${unpack}\n${writeFragment(member, host.root, changed, release?.hash)}`;
    };
    step('write', why, render, 30_000 + (travels ? travelMs(release.tar) : 0));
  }
  if (!running) {
    const why = state?.present ? 'not running' : 'new';
    step('start', why, () => startFragment(member, host.root), 30_000);
  } else if (stale) {
    step(
      'restart',
      'runs with what it was started with before',
      () => restartFragment(member, host.root),
      member.stop.timeoutMs + 30_000,
    );
  } else if (changed.some((file) => file.onChange === 'hup')) {
    const names = changed.filter((file) => file.onChange === 'hup').map((file) => file.path);
    step('reload', `to take in ${names.join(', ')}`, () => hupFragment(member, host.root));
  }
  const ready = !running || stale ? readyStep(member, cluster) : undefined;
  if (ready) steps.push({ ...ready, needs: [steps.at(-1)!.id] });
  return steps;
}

/** Waits until the member passes its check; undefined where it has none. */
export function readyStep({ name, service, host, ready }: Member, cluster: Cluster): Step | undefined {
  if (ready === undefined) return undefined;
  const { check, port, timeoutMs } = ready;
  return {
    id: `ready ${name}`,
    verb: 'ready',
    target: name,
    service,
    why: `until its ${check.kind} check passes`,
    needs: [],
    do: { kind: 'ready', member: name, address: cluster.hosts[host]!.address, port, check, timeoutMs },
  };
}

/** A lab host reads the tar where it lies; to a real machine it travels, unless it is there already. */
function releaseSource(
  host: HostEntry,
  release: { hash: string; tar: string },
  state: MemberState | undefined,
): ReleaseSource {
  if (host.kind === 'lab') return { path: release.tar };
  if (state?.releases?.includes(release.hash)) return 'there';
  return { base64: readFileSync(release.tar, 'base64') };
}

/** What a release may take to reach a real machine: as base64, on a line of half a megabit a second. One that is dead is noticed long before (ServerAliveInterval). */
function travelMs(tar: string): number {
  const bytes = statSync(tar, { throwIfNoEntry: false })?.size ?? 0;
  return Math.ceil((bytes * 4) / 3 / 64);
}

type Leaving = Pick<Member, 'name' | 'stop' | 'data'>;

/** What can be said of a member that the file no longer has: what looks like data stays. How long it may take to stop, its host knows. */
export const unknownMember = (name: string): Leaving => ({
  name,
  stop: { signal: 'TERM', timeoutMs: 10_000 },
  data: ['data'],
});

/**
 * Longest that a stop is waited for, milliseconds. The host has the last word, for the file may have another time by now than the one that the member was
 * started with: an hour is the most that a file can give. A connection that is dead is noticed long before (ServerAliveInterval).
 */
const longestStopMs = 3_600_000 + 60_000;

/** Stops a member and takes its files off its host; its data stays unless `purge`. */
export function removeSteps(
  member: Leaving,
  host: string,
  root: string,
  { why, purge }: { why: string; purge: boolean },
): Step[] {
  const step = (verb: string, script: string, timeoutMs: number, needs: string[]): Step => ({
    id: `${verb} ${member.name}`,
    verb,
    target: member.name,
    host,
    why,
    needs,
    do: { kind: 'script', script, timeoutMs },
  });
  const stop = step('stop', stopFragment(member, root), longestStopMs, []);
  return [stop, step('remove', removeFragment(member, root, { purge }), 30_000, [stop.id])];
}
