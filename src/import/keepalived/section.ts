import type { Note } from '../model.ts';
import type { Statement } from './blocks.ts';

/**
 * A block that is read keyword by keyword. What nobody took in the end is told by `rest`: a keyword that this importer
 * does not know is never lost in silence.
 */
export class Section {
  readonly statement: Statement;
  readonly #notes: Note[];
  readonly #left: Set<Statement>;

  constructor(statement: Statement, notes: Note[]) {
    this.statement = statement;
    this.#notes = notes;
    this.#left = new Set(statement.body ?? []);
  }

  /** Every statement that begins with one of the words, and is hereby taken. */
  all(...keywords: string[]): Statement[] {
    const found = [...this.#left].filter(({ words }) => keywords.includes(words[0]!));
    for (const one of found) this.#left.delete(one);
    return found;
  }

  /** The last of such statements, which is the one that keepalived keeps; earlier ones are told of. */
  one(...keywords: string[]): Statement | undefined {
    const found = this.all(...keywords);
    for (const earlier of found.slice(0, -1))
      this.note('lost', earlier, 'said again further down, which holds');
    return found.at(-1);
  }

  /** The first value of such a statement. */
  value(...keywords: string[]): string | undefined {
    return this.one(...keywords)?.words[1];
  }

  /** The value as a number; one that is none is told of. */
  number(...keywords: string[]): number | undefined {
    const found = this.one(...keywords);
    if (!found) return undefined;
    const value = Number(found.words[1]);
    if (found.words[1] !== undefined && Number.isFinite(value) && value >= 0) return value;
    this.note('lost', found, 'not a number');
    return undefined;
  }

  /** A word that switches something on, alone or with on, true or yes. */
  flag(...keywords: string[]): Statement | undefined {
    const found = this.one(...keywords);
    return found && !/^(off|false|no)$/i.test(found.words[1] ?? '') ? found : undefined;
  }

  /** Keywords whose like is not needed, or does not exist. */
  tell(kind: Note['kind'], why: string, ...keywords: string[]): void {
    for (const found of this.all(...keywords)) this.note(kind, found, why);
  }

  note(kind: Note['kind'], statement: Statement, why: string): void {
    this.#notes.push({ kind, place: statement.place, what: statement.words.join(' '), why });
  }

  rest(): void {
    const inside = this.statement.words[0];
    for (const left of this.#left)
      this.note('lost', left, `this keyword has no equal${inside ? ` (in ${inside})` : ''}`);
    this.#left.clear();
  }
}
