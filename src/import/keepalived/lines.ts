import { dirname } from 'node:path';
import type { Note, Place } from '../model.ts';

/** A word of a line; a quoted one is never a brace, a parameter or a keyword of the grammar. */
export interface Word {
  text: string;
  quoted: boolean;
}

export interface Line {
  words: Word[];
  place: Place;
}

/** The files that an `include` of `folder` names, in the order of their names; none when there is none. */
export type Included = (pattern: string, folder: string) => { path: string; text: string }[];

export interface Reading {
  lines: Line[];
  /** Configuration ids that conditions (`@main`, `@^main`) ask for, in the order of the file. */
  ids: string[];
  notes: Note[];
}

/** More lines than this, after sequences and definitions, and the file multiplies itself. */
const mostLines = 100_000;
const deepest = 32;

/**
 * The lines of keepalived.conf as keepalived itself comes to them (keepalived.conf(5)): comments gone, includes in
 * their place, conditions decided for the configuration id, definitions replaced, sequences and lists unrolled. Throws when
 * the file would never end.
 */
export function readLines(
  entry: { path: string; text: string },
  included: Included,
  id: string | undefined,
): Reading {
  const reader = new Reader(included, id);
  reader.file(entry.path, entry.text, 0);
  return { lines: reader.lines, ids: [...reader.ids], notes: reader.notes };
}

interface Definition {
  lines: { text: string; place: Place }[];
}

class Reader {
  readonly lines: Line[] = [];
  readonly ids = new Set<string>();
  readonly notes: Note[] = [];
  readonly #included: Included;
  readonly #id: string | undefined;
  readonly #definitions = new Map<string, Definition>();
  #folder = '.';

  constructor(included: Included, id: string | undefined) {
    this.#included = included;
    this.#id = id;
  }

  file(path: string, text: string, depth: number): void {
    const before = this.#folder;
    this.#folder = dirname(path);
    const raw = text.split(/\r?\n/);
    for (let i = 0; i < raw.length; i++) {
      const place = { file: path, line: i + 1 };
      let line = bare(raw[i]!);
      const several = /^(\s*(?:@\S+\s+)*)\$(\w+)=\s*(.*)\\\s*$/.exec(line);
      if (!several) {
        this.#line(line, place, depth);
        continue;
      }
      // A definition of several lines: each but the last ends with a backslash.
      const lines = several[3]!.trim() === '' ? [] : [{ text: several[3]!, place }];
      for (let more = true; more && ++i < raw.length; ) {
        line = bare(raw[i]!);
        more = /\\\s*$/.test(line);
        lines.push({ text: line.replace(/\\\s*$/, ''), place: { file: path, line: i + 1 } });
      }
      if (this.#applies(several[1]!)) this.#definitions.set(several[2]!, { lines });
    }
    this.#folder = before;
  }

  /** One line of text, which may become none, or many. */
  #line(text: string, place: Place, depth: number): void {
    if (this.lines.length > mostLines)
      throw new Error(`${place.file}:${place.line}: more than ${mostLines} lines`);
    if (depth > deepest)
      throw new Error(`${place.file}:${place.line}: includes or definitions nest more than ${deepest} deep`);
    const condition = /^\s*(@\S+)\s*(.*)$/s.exec(text);
    if (condition) {
      if (this.#applies(condition[1]!)) this.#line(condition[2]!, place, depth);
      return;
    }
    const defined = /^\s*\$(\w+)=(.*)$/s.exec(text);
    if (defined) {
      this.#definitions.set(defined[1]!, { lines: [{ text: defined[2]!.trim(), place }] });
      return;
    }
    const block = /^\s*~(SEQx?|LST)\(/.exec(text);
    if (block) {
      this.#unroll(block[1] as 'SEQ' | 'SEQx' | 'LST', text.slice(block[0].length), place, depth);
      return;
    }
    const replaced = this.#replace(text, place, depth);
    if (replaced) {
      for (const one of replaced) this.#line(one.text, one.place, depth + 1);
      return;
    }
    const words = wordsOf(text);
    if (words.length === 0) return;
    if (!words[0]!.quoted && /^include[rmwba]?$/.test(words[0]!.text)) this.#include(words, place, depth);
    else this.lines.push({ words, place });
  }

  #applies(conditions: string): boolean {
    let applies = true;
    for (const condition of conditions.split(/\s+/).filter((word) => word !== '')) {
      const not = condition.startsWith('@^');
      const id = condition.slice(not ? 2 : 1);
      this.ids.add(id);
      if ((id === this.#id) === not) applies = false;
    }
    return applies;
  }

  /** The line with its first parameter replaced; undefined when it has none that is defined. */
  #replace(text: string, place: Place, depth: number): { text: string; place: Place }[] | undefined {
    for (const found of text.matchAll(/\$\{(\w+)(?:\s+[^}]*)?\}|\$(\w+)(?=\s|$)/g)) {
      const name = (found[1] ?? found[2])!;
      const before = text.slice(0, found.index);
      const after = text.slice(found.index + found[0].length);
      const given = this.#given(name);
      if (given !== undefined) return [{ text: `${before}${given}${after}`, place }];
      const definition = this.#definitions.get(name);
      if (!definition) continue;
      if (depth >= deepest) throw new Error(`${place.file}:${place.line}: $${name} is defined by itself`);
      const { lines } = definition;
      if (lines.length <= 1) return [{ text: `${before}${lines[0]?.text ?? ''}${after}`, place }];
      return lines.map((line, i) => ({
        text: `${i === 0 ? before : ''}${line.text}${i === lines.length - 1 ? after : ''}`,
        place: line.place,
      }));
    }
    return undefined;
  }

  /** What keepalived defines itself. The two that stand for comment signs are put in quoted, so that they stay what they are. */
  #given(name: string): string | undefined {
    if (name === '_PWD') return this.#folder;
    if (name === '_INSTANCE') return this.#id ?? 'instance';
    if (name === '_HASH') return '\\#';
    if (name === '_BANG') return '\\!';
    return undefined;
  }

  #unroll(kind: 'SEQ' | 'SEQx' | 'LST', text: string, place: Place, depth: number): void {
    const end = text.indexOf(')');
    if (end < 0) {
      this.notes.push({
        kind: 'lost',
        place,
        what: `~${kind}(${text}`,
        why: 'the parenthesis is not closed',
      });
      return;
    }
    const rest = text.slice(end + 1).trim();
    const rounds = kind === 'LST' ? listed(text.slice(0, end)) : counted(text.slice(0, end), kind === 'SEQx');
    if (typeof rounds === 'string') {
      this.notes.push({ kind: 'lost', place, what: `~${kind}(${text.slice(0, end)})`, why: rounds });
      return;
    }
    for (const round of rounds) {
      for (const [name, value] of round) this.#definitions.set(name, { lines: [{ text: value, place }] });
      this.#line(rest, place, depth + 1);
    }
  }

  #include(words: Word[], place: Place, depth: number): void {
    const pattern = words[1]?.text ?? '';
    const files = this.#included(pattern, this.#folder);
    if (files.length === 0)
      this.notes.push({
        kind: 'lost',
        place,
        what: words.map(({ text }) => text).join(' '),
        why: 'no such file could be read here: import on the machine that has it, or copy it beside this one',
      });
    for (const { path, text } of files) this.file(path, text, depth + 1);
  }
}

/** The line without its comment: from # or ! to its end, unless quoted or escaped. */
function bare(line: string): string {
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (char === '\\') i++;
    else if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '#' || char === '!') return line.slice(0, i);
  }
  return line;
}

const escapes: Record<string, string> = {
  a: '\x07',
  b: '\b',
  E: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Words by blanks; quotes hold blanks together and may be part of a word; escapes as in a shell's $''. */
export function wordsOf(line: string): Word[] {
  const words: Word[] = [];
  let text = '';
  let open = false;
  let quoted = false;
  let quote = '';
  const end = () => {
    if (open) words.push({ text, quoted });
    text = '';
    open = false;
    quoted = false;
  };
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (char === '\\' && i + 1 < line.length) {
      const code = /^(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3}))/.exec(line.slice(i + 1));
      open = true;
      if (code) {
        text += String.fromCharCode(
          code[1] === undefined ? Number.parseInt(code[2]!, 8) : Number.parseInt(code[1], 16),
        );
        i += code[0].length;
      } else {
        i++;
        text += escapes[line[i]!] ?? line[i];
      }
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else text += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      open = true;
      quoted = true;
    } else if (/\s/.test(char)) end();
    else {
      text += char;
      open = true;
    }
  }
  end();
  return words;
}

/** The rounds of ~SEQ(var, [start,] [step,] end). */
function counted(text: string, hexadecimal: boolean): [string, string][][] | string {
  const [name = '', ...numbers] = text.split(',').map((word) => word.trim());
  const values = numbers.map(Number);
  if (!/^\w+$/.test(name) || values.length < 1 || values.length > 3 || values.some(Number.isNaN))
    return 'not a sequence: ~SEQ(var, start, step, end)';
  const end = values.at(-1)!;
  const start = values.length > 1 ? values[0]! : end > 0 ? 1 : -1;
  const step = values.length === 3 ? values[1]! : end < start ? -1 : 1;
  if (step === 0 || Math.abs((end - start) / step) > mostLines) return 'a sequence that does not end';
  const rounds: [string, string][][] = [];
  for (let value = start; step > 0 ? value <= end : value >= end; value += step)
    rounds.push([[name, hexadecimal ? value.toString(16) : String(value)]]);
  return rounds;
}

/** The rounds of ~LST(var, a, b) and ~LST({x, y}, {1, 2}, {3, 4}). */
function listed(text: string): [string, string][][] | string {
  const groups = [...text.matchAll(/\{([^}]*)\}|([^,{}\s][^,{}]*)/g)].map((found) =>
    found[1] === undefined ? [found[2]!.trim()] : found[1].split(',').map((word) => word.trim()),
  );
  const [names, ...values] = groups;
  if (!names || values.length === 0 || values.some((value) => value.length !== names.length))
    return 'not a list: ~LST(var, value, ...)';
  return values.map((value) => names.map((name, i): [string, string] => [name, value[i]!]));
}
