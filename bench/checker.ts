import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatVersion, type Header, type Line } from '../src/drill/history.ts';
import { Analysis, type Verdict, verify } from '../src/drill/verdict.ts';

/**
 * How fast histories are judged and in how much memory. `node bench/checker.ts` judges the file of 100,000 operations
 * (promised: at most 1 s); `node bench/checker.ts MODEL COUNT` a generated stream, e.g. `set 10000000` (promised:
 * at most 512 MB). Prints JSON lines. Every run plants one loss, and fails when the checker does not find it.
 */
const [model = 'set', count = '0'] = process.argv.slice(2);
const most = { seconds: 1, megabytes: 512 };

if (Number(count) > 0) stream(model as 'set' | 'log' | 'queue', Number(count));
else for (const one of ['set', 'log', 'queue'] as const) file(one, 100_000);

function file(model: 'set' | 'log' | 'queue', operations: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-bench-'));
  const path = join(folder, 'history.jsonl');
  const fd = openSync(path, 'w');
  let text = '';
  for (const line of history(model, operations)) {
    text += `${JSON.stringify(line)}\n`;
    if (text.length > 1 << 20) {
      writeSync(fd, text);
      text = '';
    }
  }
  writeSync(fd, text);
  closeSync(fd);
  try {
    const times: number[] = [];
    for (let run = 0; run < 5; run++) {
      const start = performance.now();
      found(verify(path));
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    report(
      { model, operations, what: 'file', seconds: times[2]! / 1000, slowest: times[4]! / 1000 },
      times[4]! / 1000 <= most.seconds,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function stream(model: 'set' | 'log' | 'queue', operations: number): void {
  const start = performance.now();
  const analysis = new Analysis();
  // Through JSON, as the reader does it, so that its garbage counts.
  for (const line of history(model, operations)) analysis.feed(JSON.parse(JSON.stringify(line)));
  found(analysis.finish().verdict);
  const seconds = (performance.now() - start) / 1000;
  const megabytes = process.resourceUsage().maxRSS / 1024;
  report({ model, operations, what: 'stream', seconds, megabytes }, megabytes <= most.megabytes);
}

/** Eight operations in flight, everything acknowledged, element 17 lost, in memory that does not grow. */
function* history(model: 'set' | 'log' | 'queue', operations: number): Generator<Line> {
  const f = { set: 'add', log: 'append', queue: 'enqueue' } as const;
  const header: Header = {
    history: formatVersion,
    cluster: 'bench',
    service: 'bench',
    engine: 'none',
    versions: {},
    seed: 1,
    file: '',
    client: '',
    fault: null,
    models: { [model]: {} },
    replicas: ['one', 'two'],
  };
  yield header;
  const flying = 8;
  for (let i = 0; i < operations + flying; i++) {
    if (i < operations) yield { i, type: 'invoke', t: i * 100, p: i % flying, f: f[model], v: i };
    if (i >= flying) yield { i: i - flying, type: 'ok', t: i * 100 };
  }
  const t = (operations + flying) * 100;
  for (const [n, final] of ['one', 'two'].entries()) {
    if (model === 'queue' && n > 0) {
      yield { final, model, role: 'replica', group: '', t, done: true };
      continue;
    }
    for (let first = 0; first < operations; first += 5000) {
      const values: number[] = [];
      for (let v = first; v < Math.min(first + 5000, operations); v++) if (v !== 17) values.push(v);
      yield { final, model, role: n === 0 ? 'authority' : 'replica', group: '', t, values };
    }
    yield { final, model, role: n === 0 ? 'authority' : 'replica', group: '', t, done: true };
  }
  yield { end: 'complete', t };
}

function found(verdict: Verdict): void {
  if (verdict.lost !== 1)
    throw new Error(`planted one loss, the checker found ${verdict.lost}: ${verdict.why}`);
}

function report(numbers: Record<string, unknown>, kept: boolean): void {
  console.log(JSON.stringify({ bench: 'checker', ...numbers, promise: kept ? 'kept' : 'broken' }));
  if (!kept) process.exitCode = 4;
}
