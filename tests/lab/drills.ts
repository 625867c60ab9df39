import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Verdict } from '../../src/drill/verdict.ts';
import type { TestCluster } from './cluster.ts';

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

/** Starts a drill without waiting for its end. */
export function startDrill(
  cluster: TestCluster,
  ...args: string[]
): { child: ChildProcess; ended: Promise<number> } {
  const phalanx = resolve(import.meta.dirname, '../../phalanx');
  const child = spawn(phalanx, ['drill', ...args, '-f', cluster.file], { stdio: 'ignore' });
  const ended = new Promise<number>((done) => child.once('close', (exit) => done(exit ?? -1)));
  return { child, ended };
}
