import { styleText } from 'node:util';

/** Colours for a terminal; none in a pipe or with NO_COLOR (node:util looks at both). */
type Style = Parameters<typeof styleText>[0];
const paint =
  (style: Style) =>
  (text: string): string =>
    styleText(style, text, { stream: process.stdout });

export const bold = paint('bold');
export const dim = paint('dim');
export const green = paint('green');
export const red = paint('red');
export const yellow = paint('yellow');

/** Lines of equal columns, two spaces between; the last column is not padded. Cells may hold colours. */
export function columns(rows: string[][]): string[] {
  const width = (cell: string): number => stripped(cell).length;
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, width(cell));
    });
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! - width(cell))))
      .join('  ')
      .trimEnd(),
  );
}

const stripped = (text: string): string => text.replace(/\u001b\[[0-9;]*m/g, '');

/** 850 -> '850 ms', 12300 -> '12.3 s', 125000 -> '2 min 5 s'. */
export function tookText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}
