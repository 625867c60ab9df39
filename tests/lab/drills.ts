import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Verdict } from '../../src/drill/verdict.ts';
import { type TestCluster, until } from './cluster.ts';

export interface Drilled {
  exit: number;
  out: string;
  /** The evidence of the drill; empty where none was recorded. */
  bundle: string;
  verdict: Verdict;
}

/** Runs `phalanx drill` and gives what its evidence says. */
export async function drill(
  cluster: TestCluster,
  service: string,
  fault: string,
  ...more: string[]
): Promise<Drilled> {
  const base = join(cluster.folder, 'drills');
  const { exit, out } = await cluster.run(['drill', service, '--fault', fault, '--out', base, ...more]);
  const runs = join(base, service, fault);
  const last = existsSync(runs) ? readdirSync(runs).sort().at(-1) : undefined;
  if (last === undefined) throw new Error(`no evidence was kept; exit ${exit}:\n${out}`);
  const bundle = join(runs, last);
  const verdict = JSON.parse(readFileSync(join(bundle, 'verdict.json'), 'utf8')) as Verdict;
  return { exit, out, bundle, verdict };
}

/** Starts a drill and gives what `stands` says once its fault does. Fails with what a drill said that ended before. */
export async function startDrill<T>(
  cluster: TestCluster,
  options: string[],
  stands: () => Promise<T | undefined | false>,
): Promise<{ child: ChildProcess; ended: Promise<number>; struck: T }> {
  const phalanx = resolve(import.meta.dirname, '../../phalanx');
  const child = spawn(phalanx, ['drill', ...options, '-f', cluster.file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<number>((done) => child.once('close', (exit) => done(exit ?? -1)));
  const early = ended.then((exit) => {
    throw new Error(`the drill ended with ${exit} before its fault stood:\n${said}`);
  });
  return { child, ended, struck: await Promise.race([until('a fault stands', stands, 60_000), early]) };
}
