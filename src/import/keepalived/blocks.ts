import type { Note, Place } from '../model.ts';
import type { Line } from './lines.ts';

/** A keyword with its values, and what stands between its braces. */
export interface Statement {
  words: string[];
  place: Place;
  body?: Statement[];
}

/** The tree of blocks. A brace may stand on the line of its keyword, on the next, or beside words that follow it. */
export function parseBlocks(lines: readonly Line[]): { statements: Statement[]; notes: Note[] } {
  const notes: Note[] = [];
  const root: Statement[] = [];
  const open: { opener: Statement; outer: Statement[] }[] = [];
  let level = root;
  for (const { words, place } of lines) {
    let statement: Statement | undefined;
    for (const { text, quoted } of words) {
      for (const token of quoted ? [text] : tokens(text)) {
        if (token === '{' && !quoted) {
          const opener = statement ?? level.at(-1);
          if (!opener || opener.body) {
            notes.push({ kind: 'lost', place, what: '{', why: 'a brace that belongs to no keyword' });
            continue;
          }
          opener.body = [];
          open.push({ opener, outer: level });
          level = opener.body;
          statement = undefined;
        } else if (token === '}' && !quoted) {
          const last = open.pop();
          if (last) level = last.outer;
          else notes.push({ kind: 'lost', place, what: '}', why: 'a brace that closes nothing' });
          statement = undefined;
        } else if (statement) statement.words.push(token);
        else {
          statement = { words: [token], place };
          level.push(statement);
        }
      }
    }
  }
  for (const { opener } of open)
    notes.push({
      kind: 'differs',
      place: opener.place,
      what: opener.words.join(' '),
      why: 'its block is never closed: it was taken to go on to the end of the file',
    });
  return { statements: root, notes };
}

/** `VI_1{` is two words; `${name}` that nobody defined is one. */
function tokens(text: string): string[] {
  if (text.includes('${')) return [text];
  return text.split(/([{}])/).filter((part) => part !== '');
}
