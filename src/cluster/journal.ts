import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * What was done to a cluster, and when: JSON lines, appended before and after each step. Steps are planned from
 * what is observed, so nothing is decided from the journal; it tells a person that the last run was cut short and
 * is the record of who changed what. Nobody else's to read: why a member failed is told by the last lines of its log.
 */
export type JournalLine =
  | { at: string; run: string; event: 'begin'; command: string; steps: string[] }
  | {
      at: string;
      run: string;
      event: 'step';
      step: string;
      state: 'start' | 'done' | 'failed' | 'held';
      why?: string;
    }
  | { at: string; run: string; event: 'end'; outcome: 'done' | 'failed' | 'stopped' };

type Entry = JournalLine extends infer L ? (L extends unknown ? Omit<L, 'at' | 'run'> : never) : never;

export class Journal {
  private readonly path: string;
  private readonly run: string;
  private readonly tell: (sentence: string) => void;
  private told = false;
  private closed = false;

  /** `tell` is given a sentence when the journal cannot be written, once. */
  constructor(path: string, tell: (sentence: string) => void = console.error) {
    this.path = path;
    this.run = `${Date.now().toString(36)}-${process.pid}`;
    this.tell = tell;
  }

  /** Never throws: a cluster can be changed, and mended, from a machine whose disk is full. */
  write(entry: Entry): void {
    const line = { at: new Date().toISOString(), run: this.run, ...entry };
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      appendFileSync(this.path, `${JSON.stringify(line)}\n`, { mode: 0o600 });
      this.closeToOthers();
    } catch (error) {
      if (this.told) return;
      this.told = true;
      this.tell(`the journal cannot be written, and what is done goes on: ${(error as Error).message}`);
    }
  }

  /** One from before may be open. Where it is somebody else's file, that is theirs to change. */
  private closeToOthers(): void {
    if (this.closed) return;
    this.closed = true;
    try {
      chmodSync(this.path, 0o600);
    } catch {}
  }
}

export interface Interrupted {
  command: string;
  at: string;
  done: number;
  of: number;
}

/** The last run, when it never wrote its end: it was killed, or the machine went down. */
export function interrupted(path: string): Interrupted | undefined {
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((text): JournalLine[] => {
      try {
        return [JSON.parse(text)];
      } catch {
        return []; // the empty last line, or one torn by a kill
      }
    });
  const begin = lines.findLast((line) => line.event === 'begin');
  if (!begin || lines.some((line) => line.run === begin.run && line.event === 'end')) return undefined;
  const done = lines.filter(
    (line) => line.run === begin.run && line.event === 'step' && line.state === 'done',
  ).length;
  return { command: begin.command, at: begin.at, done, of: begin.steps.length };
}
