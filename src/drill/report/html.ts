import { renderChart } from './chart.ts';
import { text } from './escape.ts';
import {
  awayOf,
  count,
  type DrillRun,
  duration,
  faultOf,
  headline,
  lastingOf,
  lostOf,
  outcomeOf,
  survivedOf,
} from './run.ts';

/** A page that stands alone: no script, nothing fetched, light and dark after the reader's system. Pure: the same runs give the same bytes. */
export function renderHtml(runs: DrillRun[]): string {
  const cluster = runs[0]?.verdict.drill.cluster ?? '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Drill of ${text(cluster)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<p class="over">phalanx drill</p>
<h1>${text(cluster)}: how long was it away, and what was lost</h1>
</header>
${summary(runs)}
${runs.map(section).join('\n')}
</main>
</body>
</html>
`;
}

function summary(runs: DrillRun[]): string {
  const lasting = runs.some((run) => survivedOf(run) !== '');
  const head = [
    'Service',
    'Fault',
    'Away',
    'Promised',
    'Lost',
    'Duplicated',
    'Stale',
    'Errors',
    'p99',
    ...(lasting ? ['Survived'] : []),
    'Result',
  ];
  const rows = runs.map((run, n) => {
    const { verdict } = run;
    const { recovery, promise } = verdict;
    const figures = [
      awayOf(run),
      promise.rto === undefined ? '–' : duration(promise.rto.promisedMs),
      lostOf(run),
      count(verdict.duplicated),
      count(verdict.stale),
      count(recovery.errorsOutsideGap),
      recovery.p99OutsideGapMs === null ? '–' : duration(recovery.p99OutsideGapMs),
      ...(lasting ? [survivedOf(run) || '–'] : []),
    ];
    return `<tr><th scope="row"><a href="#drill-${n}">${text(verdict.drill.service)}</a></th><td>${text(faultOf(run))}</td>${figures
      .map((figure) => `<td class="figure">${text(figure)}</td>`)
      .join('')}<td>${badge(run)}</td></tr>`;
  });
  return `<div class="scroll"><table>
<thead><tr>${head.map((cell, n) => `<th scope="col"${n > 1 && n < head.length - 1 ? ' class="figure"' : ''}>${cell}</th>`).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table></div>
<p class="small">Away: longest time without an acknowledged write around the fault, less the 99th percentile of such times before it. Lost: acknowledged, and absent from the final read. Errors and p99: outside that time.${lasting ? ' Survived: connections that last and were open then.' : ''}</p>`;
}

function section(run: DrillRun, n: number): string {
  const { verdict, timeline } = run;
  const { service, engine } = verdict.drill;
  return `<section id="drill-${n}">
<h2>${text(service)} <span class="quiet">${text(engine)} · ${text(faultOf(run))}</span> ${badge(run)}</h2>
<p class="lead">${text(headline(run))}</p>
${list('why', verdict.why)}
<figure>${renderChart(timeline, `Operations per second and latency of ${service} during ${faultOf(run)}`)}</figure>
${list('small', verdict.notes)}
<div class="columns">
${evidence(run)}
${models(run)}
${details(run)}
</div>
</section>`;
}

function evidence({ verdict }: DrillRun): string {
  if (verdict.faults.length === 0) return '';
  const rows = verdict.faults.flatMap((fault) => [
    ...moment(
      fault.plannedMs,
      `${fault.fault}${fault.target === undefined ? '' : ` on ${fault.target}`} begins`,
    ),
    ...moment(fault.injectedMs, 'injected'),
    ...fault.evidence.flatMap(({ ms, detail }) =>
      moment(
        ms,
        `evidence${detail === undefined ? '' : `: ${typeof detail === 'string' ? detail : JSON.stringify(detail)}`}`,
      ),
    ),
    ...moment(fault.healedMs, 'healed'),
    ...moment(fault.wholeMs, 'whole again'),
  ]);
  return `<div><h3>What was done</h3><dl>${rows.join('')}</dl></div>`;
}

function moment(ms: number | undefined, what: string): string[] {
  return ms === undefined
    ? []
    : [`<dt class="figure">${(ms / 1000).toFixed(2)} s</dt><dd>${text(what)}</dd>`];
}

function models({ verdict }: DrillRun): string {
  const tables = Object.entries(verdict.models).map(([model, counts]) => {
    const wrong = new Set(
      verdict.anomalies.filter((one) => one.model === model).map((one) => one.anomaly as string),
    );
    const rows = Object.entries(counts).map(([name, value]) => {
      const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      const kind = wrong.has(words) ? ' class="bad"' : value === 0 ? ' class="zero"' : '';
      return `<div${kind}><dt class="figure">${value === null ? '?' : count(value)}</dt><dd>${text(words)}</dd></div>`;
    });
    return `<div><h4>${model}</h4><dl class="counts">${rows.join('')}</dl></div>`;
  });
  return `<div><h3>What became of it</h3><div class="models">${tables.join('')}</div></div>`;
}

function details(run: DrillRun): string {
  const { verdict, comparison } = run;
  const { drill, recovery, history, operations } = verdict;
  const rows: [string, string][] = [
    [
      'operations',
      `${count(operations.attempted)}: ${count(operations.acknowledged)} acknowledged, ${count(operations.failed)} failed, ${count(operations.unknown)} unknown`,
    ],
    ['gap known to', recovery.baselineGapMs === null ? '–' : duration(recovery.baselineGapMs)],
    ['reads away', recovery.readRtoMs === null ? '–' : duration(recovery.readRtoMs)],
    [
      'slowest client',
      recovery.longestStallMs === null ? '–' : `${duration(recovery.longestStallMs)} without an answer`,
    ],
    ['errors in the gap', count(recovery.errorsInGap)],
    ...lastingOf(run).map((sentence): [string, string] => ['connections', sentence]),
    ['client', drill.client],
    [
      'versions',
      Object.entries(drill.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    ['seed', String(drill.seed)],
    ...(drill.timing === undefined ? [] : ([['timing', drill.timing]] as [string, string][])),
    ['file', drill.file],
    ...(history.sha256 === undefined ? [] : ([['history', history.sha256]] as [string, string][])),
    ...(drill.started === undefined ? [] : ([['started', drill.started]] as [string, string][])),
  ];
  if (comparison?.sameDrill) {
    const { beforeMs, changeMs } = comparison.rto;
    rows.push([
      'last run',
      `${comparison.outcome}${beforeMs === null || changeMs === null ? '' : `: away ${duration(beforeMs)} then, ${changeMs < 0 ? '−' : '+'}${duration(Math.abs(changeMs))} now`}${comparison.differs.length === 0 ? '' : `; also changed: ${comparison.differs.join(', ')}`}`,
    ]);
  }
  return `<div class="wide"><h3>The run</h3><dl class="details">${rows
    .map(([name, value]) => `<dt>${name}</dt><dd>${text(value)}</dd>`)
    .join('')}</dl></div>`;
}

function badge(run: DrillRun): string {
  const outcome = outcomeOf(run);
  const kind = { kept: 'good', valid: 'good', broken: 'bad', invalid: 'bad', unknown: 'doubt' }[outcome];
  const words = {
    kept: 'promise kept',
    broken: 'promise broken',
    valid: 'valid',
    invalid: 'invalid',
    unknown: 'unknown',
  };
  return `<span class="badge ${kind}">${words[outcome]}</span>`;
}

function list(kind: string, sentences: string[]): string {
  if (sentences.length === 0) return '';
  return `<ul class="${kind}">${sentences.map((sentence) => `<li>${text(sentence)}</li>`).join('')}</ul>`;
}

const style = `
:root {
  --page: #fbfbfa; --card: #fff; --ink: #1b1f24; --quiet: #5c6570; --line: #e3e5e8;
  --ok: #2f6fb3; --ok-fill: #cfe0f2; --errors: #c7372f; --p99: #8a5a00; --fault: #f3d9a4; --good: #1d7a46; --bad: #b3261e; --doubt: #85620b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f24; --ink: #e8eaed; --quiet: #9aa4af; --line: #333a42;
    --ok: #7db4ec; --ok-fill: #27455f; --errors: #ff7b70; --p99: #e3b04b; --fault: #5a4620; --good: #63c68c; --bad: #ff8a80; --doubt: #e3b04b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 32px 20px 64px; }
.over { margin: 0; color: var(--quiet); font-size: 13px; letter-spacing: .04em; }
h1 { margin: 0 0 20px; font-size: 24px; line-height: 1.25; font-weight: 650; }
h2 { margin: 0 0 8px; font-size: 19px; display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: baseline; }
h3 { margin: 0 0 6px; font-size: 13px; color: var(--quiet); font-weight: 600; }
h4 { margin: 0 0 2px; font-size: 14px; }
a { color: inherit; text-underline-offset: 3px; }
.quiet { color: var(--quiet); font-weight: 400; font-size: 15px; }
.small { color: var(--quiet); font-size: 13px; }
.lead { margin: 0 0 12px; font-size: 17px; }
.why { margin: 0 0 12px; padding-left: 20px; color: var(--bad); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { padding: 8px 10px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; font-weight: 400; }
thead th { color: var(--quiet); font-size: 13px; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
.badge { font-size: 13px; font-weight: 600; white-space: nowrap; }
.badge::before { content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 6px; border-radius: 50%; background: currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); } .doubt { color: var(--doubt); }
section { margin-top: 32px; padding: 20px; background: var(--card); border: 1px solid var(--line); }
figure { margin: 0 0 16px; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 640px; height: auto; }
svg text { font-size: 12px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
svg .title { fill: var(--ink); font-weight: 600; }
svg .axis { stroke: var(--quiet); } svg .grid { stroke: var(--line); }
svg .fault { fill: var(--fault); opacity: .75; } svg .healing { fill: var(--fault); opacity: .35; }
svg .mark { stroke: var(--p99); stroke-width: 1; stroke-dasharray: 2 3; } svg .mark-label { fill: var(--ink); }
svg path.ok { fill: var(--ok-fill); stroke: var(--ok); stroke-width: 1; }
svg path.errors { fill: var(--errors); opacity: .55; }
svg path.p50, svg path.p99 { fill: none; stroke: var(--ok); stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }
svg path.p99 { stroke: var(--p99); }
svg .key.ok, svg .key.p50 { fill: var(--ok); } svg .key.errors { fill: var(--errors); } svg .key.p99 { fill: var(--p99); }
svg .gap { fill: var(--bad); opacity: .12; } svg .gap-line { stroke: var(--bad); stroke-width: 1.5; }
svg .gap-label { fill: var(--bad); font-weight: 600; }
.columns { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 20px 32px; border-top: 1px solid var(--line); padding-top: 16px; }
.wide { grid-column: 1 / -1; }
.models { display: flex; flex-wrap: wrap; gap: 12px 28px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 10px; margin: 0; font-size: 14px; }
dd { margin: 0; overflow-wrap: anywhere; }
.counts > div { display: contents; } .zero > * { color: var(--quiet); } .counts .bad > * { font-weight: 650; }
.details dt { color: var(--quiet); }
@media (max-width: 720px) { .columns { grid-template-columns: minmax(0, 1fr); } main { padding: 20px 12px 40px; } section { padding: 14px; } .scroll table { font-size: 14px; } }
@media print { section { break-inside: avoid; } }
`;
