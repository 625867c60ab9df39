import type { Progress } from '../cluster/apply.ts';
import { dim, green, red, tookText, yellow } from './paint.ts';

export interface ProgressView {
  on(progress: Progress): void;
  close(): void;
}

/** How progress is shown: live on a terminal, a line a finished step in a pipe, JSON lines with --json. */
export async function progressView(total: number, json: boolean): Promise<ProgressView> {
  if (json) return jsonLines();
  return process.stdout.isTTY ? live(total) : plainLines(total);
}

const marks = { done: green('done'), failed: red('FAILED'), held: yellow('HELD') };

/** Steps behind a failed one are counted at the end rather than listed: the failure is what a person must see. */
const quiet = (progress: Progress): boolean => progress.state === 'start' || progress.state === 'skipped';

function endLine(progress: Progress, count: string): string {
  const mark = marks[progress.state as keyof typeof marks];
  const took = progress.ms === undefined ? '' : dim(`  ${tookText(progress.ms)}`);
  const detail = progress.detail && progress.state !== 'done' ? `: ${progress.detail}` : '';
  return `${dim(count)} ${mark} ${progress.step.id}${detail}${took}`;
}

function counter(total: number): () => string {
  let ended = 0;
  const width = String(total).length;
  return () => `${String(++ended).padStart(width)}/${total}`;
}

function plainLines(total: number): ProgressView {
  const next = counter(total);
  return {
    on(progress) {
      if (quiet(progress)) return;
      if (progress.state === 'say') console.log(`      ${progress.step.id}: ${progress.detail}`);
      else console.log(endLine(progress, next()));
    },
    close() {},
  };
}

async function live(total: number): Promise<ProgressView> {
  // Loaded only where it draws: it would be a tenth of a command that has nothing to do.
  const { createLogUpdate } = await import('log-update');
  const next = counter(total);
  const region = createLogUpdate(process.stdout);
  const running = new Map<string, { since: number; said: string }>();
  const draw = (): void => {
    const rows = Math.max(3, (process.stdout.rows ?? 24) - 4);
    const lines = [...running].map(([id, { since, said }]) => {
      const took = tookText(performance.now() - since);
      return `${yellow('...')} ${id} ${dim(said ? `${took}  ${said}` : took)}`;
    });
    const more = lines.length > rows ? [dim(`... and ${lines.length - rows} more`)] : [];
    region([...lines.slice(0, rows), ...more].join('\n'));
  };
  const tick = setInterval(draw, 100);
  return {
    on(progress) {
      if (progress.state === 'start') running.set(progress.step.id, { since: performance.now(), said: '' });
      else if (progress.state === 'say') {
        const one = running.get(progress.step.id);
        if (one) one.said = progress.detail ?? '';
      } else {
        running.delete(progress.step.id);
        if (quiet(progress)) return;
        region.clear();
        console.log(endLine(progress, next()));
      }
      draw();
    },
    close() {
      clearInterval(tick);
      region.clear();
      region.done();
    },
  };
}

function jsonLines(): ProgressView {
  return {
    on({ step, state, detail, ms }) {
      console.log(JSON.stringify({ step: step.id, verb: step.verb, target: step.target, state, detail, ms }));
    },
    close() {},
  };
}
