/** A mistake in the user's file. Line and column count from 1, columns in UTF-16 units as editors do. */
export interface Mistake {
  file: string;
  line: number;
  column: number;
  /** How many columns of the line it covers, at least 1. */
  width: number;
  message: string;
  /** What to do next, when it can be said. */
  hint?: string;
}

/** Everything that is wrong with a file, at once, in the order of the file. The message is `render()`. */
export class FileErrors extends Error {
  override name = 'FileErrors';
  mistakes: Mistake[];
  /** `text` is the file's; of several files, each by its name. */
  constructor(mistakes: Mistake[], text: string | Record<string, string>) {
    super(render(mistakes, text));
    this.mistakes = mistakes;
  }

  /** Each mistake as `FILE:LINE:COLUMN: message: hint`, the line of the file and a caret under it. */
  render(): string {
    return this.message;
  }
}

/** More than this and nobody reads on; a file this wrong is not what was meant to be given. */
export const mostMistakes = 1000;
const widest = 100;

function render(mistakes: Mistake[], text: string | Record<string, string>): string {
  const files = new Map<string, string[]>();
  const linesOf = (file: string): string[] => {
    const lines = files.get(file) ?? (typeof text === 'string' ? text : (text[file] ?? '')).split('\n');
    files.set(file, lines);
    return lines;
  };
  const shown = mistakes.map((mistake) => {
    const hint = mistake.hint === undefined ? '' : `: ${mistake.hint}`;
    const first = `${mistake.file}:${mistake.line}:${mistake.column}: ${plain(mistake.message + hint)}`;
    const line = linesOf(mistake.file)[mistake.line - 1]?.replace(/\r$/, '');
    return line === undefined || line.trim() === '' ? first : `${first}\n${excerpt(line, mistake)}`;
  });
  if (mistakes.length >= mostMistakes) shown.push('There may be more: mend these first.');
  return shown.join('\n');
}

function excerpt(line: string, { line: number, column, width }: Mistake): string {
  const margin = `${String(number).padStart(5)} | `;
  const start = column > widest - 20 ? column - 40 : 0;
  const shown = plain(line.slice(start, start + widest));
  const at = column - 1 - start;
  const caret = '^'.repeat(Math.max(1, Math.min(width, shown.length - at)));
  return `${margin}${shown}\n${' '.repeat(5)} | ${' '.repeat(Math.max(0, at))}${caret}`;
}

/** One character for one, so that the caret stays under its word and the file cannot steer the terminal. */
function plain(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) =>
    char === '\t' ? ' ' : '?',
  );
}

/** A user's word inside a sentence: quoted, and cut when it is long. */
export function quote(word: unknown): string {
  const text = typeof word === 'string' ? word : String(word);
  return text.length > 60 ? `"${text.slice(0, 57)}..."` : `"${text}"`;
}
