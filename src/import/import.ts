import { type Draft, draftOf, type Wanted } from './draft.ts';
import { isIpvsadm, readIpvsadm } from './ipvsadm.ts';
import { readKeepalived } from './keepalived/keepalived.ts';
import type { Included } from './keepalived/lines.ts';
import type { Note } from './model.ts';
import { yamlOf } from './yaml.ts';

export interface Imported {
  yaml: string;
  draft: Draft;
  /** Everything of the imported file that does not stand in the written one as it stood. */
  notes: Note[];
}

/**
 * A keepalived.conf, or what `ipvsadm-save -n` prints, as a file of ours. Pure: files that it includes come from
 * `included`. Throws, with a sentence, when nothing of it can be written.
 */
export function importText(
  entry: { path: string; text: string },
  included: Included,
  wanted: Wanted & { id?: string | undefined },
): Imported {
  const found = isIpvsadm(entry.text) ? readIpvsadm(entry) : readKeepalived(entry, included, wanted.id);
  const { draft, notes } = draftOf(found, wanted);
  const sorted = [...notes].sort(
    (a, b) =>
      (a.place.file < b.place.file ? -1 : a.place.file > b.place.file ? 1 : 0) || a.place.line - b.place.line,
  );
  return { yaml: yamlOf(draft, [entry.path], sorted, wanted.ssh !== undefined), draft, notes: sorted };
}
