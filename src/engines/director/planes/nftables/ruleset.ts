import { createHash } from 'node:crypto';

/**
 * An nftables table as a value, and the script that turns one such value into another in a single transaction.
 * The plane never flushes a table: whatever is equal in both values is not mentioned, so connection maps,
 * counters and the turns of round robin go on undisturbed.
 */
export interface Ruleset {
  family: 'netdev' | 'inet';
  name: string;
  maps: Map<string, Keyed>;
  chains: Map<string, Chain>;
}

/** A set or a map. Keys and values are written as `nft -nn list` prints them, marks in decimal. */
export interface Keyed {
  kind: 'set' | 'map';
  /** What follows `{` in its declaration: type, flags, size. Never changes for a name within one version of Phalanx. */
  declaration: string;
  /** Wanted elements; '' as the value in sets. Absent: filled by packets, never touched. */
  elements?: ReadonlyMap<string, string>;
  /** A slot map's elements: index -> mark. Instead of `elements`, because tens of thousands are compared at each change. */
  slots?: readonly number[];
}

export interface Chain {
  /** The hook of a base chain. */
  base?: string;
  rules: string[];
}

/** The set in each table that holds a fingerprint of every chain and map: listing chains would make nft 1.0.6 read every element of every map. */
export const stateSet = 'state';
const stateDeclaration = 'typeof meta mark;';

/** How many elements one nft statement carries; keeps lines short enough to be quoted in an error. */
const batch = 500;

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}

/** What is remembered of a chain or map in the state set: its kind, name and fingerprint (at most 128 characters, nft's limit). */
export function fingerprints(ruleset: Ruleset): Map<string, string> {
  const prints = new Map<string, string>();
  for (const [name, map] of ruleset.maps) {
    const role = map.elements ? 'elements' : map.slots ? 'slots' : 'dynamic';
    prints.set(`${map.kind}/${role}/${name}`, digest(map.declaration));
  }
  for (const [name, chain] of ruleset.chains) {
    prints.set(
      `chain/${chain.base ? 'base' : 'plain'}/${name}`,
      digest(`${chain.base ?? ''}\n${chain.rules.join('\n')}`),
    );
  }
  return prints;
}

/** The key under which a fingerprint is kept: 31 bits of its name's digest. */
function stateKey(name: string): string {
  return String(Number.parseInt(digest(name).slice(0, 8), 16) & 0x7fffffff);
}

/** What is in the kernel: as a ruleset whose chains are known by their fingerprints only. */
export interface Found {
  prints: Map<string, string>;
  maps: Map<string, Keyed>;
}

export function found(ruleset: Ruleset): Found {
  return { prints: fingerprints(ruleset), maps: ruleset.maps };
}

/**
 * The nft commands that make `wanted` out of `current`; [] when there is nothing to do. `current` undefined: the
 * table does not exist. Should a declaration differ (another version of Phalanx wrote it), the table is built
 * anew in the same transaction, which forgets its connections.
 */
export function changes(current: Found | undefined, wanted: Ruleset): string[] {
  const at = `${wanted.family} ${wanted.name}`;
  const prints = fingerprints(wanted);
  if (current && !sameDeclarations(current.prints, prints)) {
    return [`delete table ${at}`, ...changes(undefined, wanted)];
  }
  const before = current ?? { prints: new Map<string, string>(), maps: new Map<string, Keyed>() };
  const lines: string[] = [];
  if (!current) lines.push(`add table ${at}`, `add set ${at} ${stateSet} { ${stateDeclaration} }`);

  // New containers first, so that rules and verdicts may name them.
  for (const [name, map] of wanted.maps) {
    if (!before.maps.has(name)) lines.push(`add ${map.kind} ${at} ${name} { ${map.declaration} }`);
  }
  const stale: [name: string, kind: string][] = [];
  for (const print of before.prints.keys()) {
    const [what, kind, name] = print.split('/') as [string, string, string];
    if (what === 'chain' && !prints.has(print)) stale.push([name, kind]);
  }
  const replaced: [string, Chain][] = [];
  for (const [name, chain] of wanted.chains) {
    const key = `chain/${chain.base ? 'base' : 'plain'}/${name}`;
    const known = before.prints.get(key);
    if (known === prints.get(key)) continue;
    if (known === undefined) lines.push(`add chain ${at} ${name}${chain.base ? ` { ${chain.base} }` : ''}`);
    else lines.push(`flush chain ${at} ${name}`);
    replaced.push([name, chain]);
  }
  for (const [name] of stale) lines.push(`flush chain ${at} ${name}`);

  // Elements: verdicts that name a chain about to go are taken out before it goes.
  for (const [name, map] of before.maps)
    if (!wanted.maps.has(name) && map.elements) lines.push(`flush ${map.kind} ${at} ${name}`);
  for (const [name, map] of wanted.maps) elementChanges(lines, at, name, before.maps.get(name), map);

  // One line per rule would make nft look the chain up again for each; that is still cheap, and an error then quotes the rule.
  for (const [name, chain] of replaced)
    for (const rule of chain.rules) lines.push(`add rule ${at} ${name} ${rule}`);
  for (const [name] of stale) lines.push(`delete chain ${at} ${name}`);
  for (const [name, map] of before.maps)
    if (!wanted.maps.has(name)) lines.push(`delete ${map.kind} ${at} ${name}`);
  stateChanges(lines, at, before.prints, prints);
  return lines;
}

function sameDeclarations(before: Map<string, string>, after: Map<string, string>): boolean {
  for (const [name, print] of after) {
    if (name.startsWith('chain/')) continue;
    const known = before.get(name);
    if (known !== undefined && known !== print) return false;
  }
  return true;
}

function elementChanges(
  lines: string[],
  at: string,
  name: string,
  before: Keyed | undefined,
  wanted: Keyed,
): void {
  if (
    before &&
    (before === wanted || (before.elements ?? before.slots) === (wanted.elements ?? wanted.slots))
  )
    return;
  const removed: string[] = [];
  const added: string[] = [];
  if (wanted.slots) {
    const old = before?.slots ?? [];
    const now = wanted.slots;
    for (let i = 0; i < Math.max(old.length, now.length); i++) {
      if (old[i] === now[i]) continue;
      if (i < old.length) removed.push(String(i));
      if (i < now.length) added.push(`${i} : ${now[i]}`);
    }
  } else if (wanted.elements) {
    const old = before?.elements ?? new Map<string, string>();
    for (const key of old.keys()) if (!wanted.elements.has(key)) removed.push(key);
    for (const [key, value] of wanted.elements) {
      const known = old.get(key);
      if (known === value) continue;
      if (known !== undefined) removed.push(key);
      added.push(value === '' ? key : `${key} : ${value}`);
    }
  }
  for (const part of parts(removed)) lines.push(`delete element ${at} ${name} { ${part} }`);
  for (const part of parts(added)) lines.push(`add element ${at} ${name} { ${part} }`);
}

function stateChanges(
  lines: string[],
  at: string,
  before: Map<string, string>,
  after: Map<string, string>,
): void {
  const removed: string[] = [];
  const added: string[] = [];
  for (const [name, print] of before) if (after.get(name) !== print) removed.push(stateKey(name));
  for (const [name, print] of after) {
    if (before.get(name) !== print) added.push(`${stateKey(name)} comment "${name} ${print}"`);
  }
  for (const part of parts(removed)) lines.push(`delete element ${at} ${stateSet} { ${part} }`);
  for (const part of parts(added)) lines.push(`add element ${at} ${stateSet} { ${part} }`);
}

function* parts(items: string[]): Generator<string> {
  for (let i = 0; i < items.length; i += batch) yield items.slice(i, i + batch).join(', ');
}
