import type { Result } from './bench.ts';
import { type Facts, factsLine, quietLoad } from './facts.ts';

export interface Report {
  name: string;
  what: string;
  command: string;
  facts: Facts;
  quick: boolean;
  seconds: number;
  results: Result[];
  /** What a bench that is a program of its own printed. */
  printed?: string[];
  /** Why there are no results. */
  failed?: string;
}

/** Figures of a quick run, or of a busy machine, are not to be believed, whatever they say. */
export function trusted(report: Report): boolean {
  return !report.quick && report.facts.load <= quietLoad;
}

export function doubt({ quick, facts }: Report): string | undefined {
  if (quick) return 'a quick run: it shows that the bench works, its figures mean nothing';
  if (facts.load > quietLoad)
    return `the load average was ${facts.load.toFixed(2)} at the start: others were at work, so no figure counts as good`;
  return undefined;
}

/** The report as a page in Markdown. */
export function markdown(report: Report): string {
  const because = doubt(report);
  const lines = [
    `# ${report.name}`,
    '',
    `${report.what}`,
    '',
    `\`${report.command}\`, ${report.facts.at.slice(0, 16).replace('T', ' ')} UTC, ${report.seconds.toFixed(0)} s: ${factsLine(report.facts)}.`,
    ...(because ? ['', `**Not to be believed:** ${because}.`] : []),
    ...(report.failed ? ['', `**Failed:** ${report.failed}`] : []),
    '',
  ];
  if (report.results.length > 0) lines.push(...table(report), '');
  if (report.printed?.length) lines.push('```', ...report.printed, '```', '');
  return lines.join('\n');
}

function table(report: Report): string[] {
  const cells = report.results.map((result) => [
    result.metric,
    `${figure(result.ours)} ${result.unit}`.trim(),
    Object.entries(result.peers)
      .map(([name, value]) => `${name} ${figure(value)}`)
      .join(', '),
    Object.entries(result.ratio)
      .map(([name, value]) => `${value.toFixed(2)} of ${name}`)
      .join(', '),
    result.target,
    verdict(result, trusted(report)),
  ]);
  const head = ['metric', 'ours', 'others', 'ratio', 'target', 'met'];
  const row = (words: string[]) => `| ${words.join(' | ')} |`;
  const notes = report.results.flatMap(({ metric, note }) => (note ? [`- ${metric}: ${note}`] : []));
  return [
    row(head),
    row(head.map(() => '---')),
    ...cells.map(row),
    ...(notes.length > 0 ? ['', ...notes] : []),
  ];
}

/** A miss is a miss on any machine that is slower than it should be; a success counts only where it is to be believed. */
function verdict({ met }: Result, believed: boolean): string {
  if (met === undefined) return '';
  if (!believed) return met ? '(yes)' : '(no)';
  return met ? 'yes' : 'no';
}

/** Three digits that count. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
