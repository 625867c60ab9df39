import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import type { Problem } from './cluster.ts';
import { FileErrors, type Mistake, mostMistakes, quote } from './mistakes.ts';

/** No cluster's file comes near these; what does is generated or hostile, and would only cost time. */
const largest = 4 * 2 ** 20;
const mostTokens = 150_000;
const mostNodes = 250_000;
const deepest = 64;

/** A YAML file as values and as the places where they stand. */
export interface Located {
  file: string;
  text: string;
  value: unknown;
  /** Mistakes that do not keep the rest from being read: duplicate keys, tags. */
  mistakes: Mistake[];
  /** The problem as a mistake, with its line and column. */
  place(problem: Problem): Mistake;
  /** Line of the key at the path, or of what is nearest above it. */
  line(path: (string | number)[]): number;
  /** Whether the file itself has something at the path. */
  has(path: (string | number)[]): boolean;
}

/** The texts that were read last: a command reads its files twice, first to learn which cluster's state they are to be read with. */
const known: Located[] = [];

/** Reads YAML without trusting it. Throws FileErrors, and only that, for whatever is not one small YAML mapping. */
export function locate(text: string, file: string): Located {
  const before = known.find((one) => one.file === file && one.text === text);
  if (before) return before;
  const located = read(text, file);
  known.unshift(located);
  known.length = Math.min(known.length, 2);
  return located;
}

function read(text: string, file: string): Located {
  if (isTooLarge(text.length))
    throw new FileErrors([{ file, line: 1, column: 1, width: 1, message: tooLarge(text.length) }], '');
  const counter = new LineCounter();
  for (let at = 0; at !== -1 && at <= text.length; at = text.indexOf('\n', at) + 1 || text.length + 1)
    counter.addNewLine(at);
  const mistake = (start: number, end: number, message: string, hint?: string): Mistake => {
    const from = Math.min(start, Math.max(0, text.length - 1));
    const { line, col } = counter.linePos(from);
    const stop = text.indexOf('\n', from);
    const width = Math.max(1, Math.min(end, stop === -1 ? text.length : stop) - from);
    const made = { file, line, column: col, width, message };
    return hint === undefined ? made : { ...made, hint };
  };
  const refuse = (start: number, message: string, hint?: string): never => {
    throw new FileErrors([mistake(start, start + 1, message, hint)], text);
  };

  const binary = text.search(/[\x00-\x08\x0b\x0c\x0e-\x1f]/);
  if (binary !== -1) refuse(binary, 'this is no text file', 'a cluster file is YAML in UTF-8');
  const broken = text.indexOf('\ufffd');
  if (broken !== -1) refuse(broken, 'a character here is not UTF-8', 'save the file as UTF-8');

  let tokens = 0;
  const countable = text.length > mostTokens ? text : '';
  for (const _ of new Lexer().lex(countable))
    if (++tokens > mostTokens)
      refuse(
        0,
        `the file has more than ${mostTokens} words`,
        'a cluster file names hosts and services; this is something else',
      );

  const document = compose(text) ?? refuse(0, tooDeep);
  if (document.errors.length > 0) {
    const errors = document.errors.slice(0, mostMistakes).map(({ code, message, pos }) => {
      const [said, hint] = syntax(code, message);
      return mistake(pos[0], pos[1], said, hint);
    });
    throw new FileErrors(inOrder(errors), text);
  }
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null))
    refuse(0, 'the file is empty', 'it needs cluster, hosts and services; `phalanx schema` describes them');

  const mistakes: Mistake[] = document.warnings
    .slice(0, mostMistakes)
    .map(({ message, pos }) => mistake(pos[0], pos[1], message.replace(/^Unresolved tag: /, 'unknown tag ')));
  const { targets, sound } = survey(root!, mistakes, mistake);
  if (!isMap(root))
    refuse(
      root!.range![0],
      `the file holds ${isSeq(root) ? 'a list' : 'one value'}, not keys`,
      'it starts with `cluster: NAME`',
    );
  if (!sound) throw new FileErrors(inOrder(mistakes), text);

  const find = finder(root as Node, targets);
  return {
    file,
    text,
    value: document.toJS({ maxAliasCount: -1 }),
    mistakes,
    place({ path, message, hint, atKey }) {
      const [start, end] = find(path, atKey ?? false).range;
      return mistake(start, end, message, hint);
    },
    line: (path) => counter.linePos(find(path, true).range[0]).line,
    has: (path) => find(path, false).found,
  };
}

/** What is said of a file of so many bytes. */
export function tooLarge(bytes: number): string {
  return `the file has ${(bytes / 2 ** 20).toFixed(1)} MiB; a cluster file has at most ${largest / 2 ** 20} MiB`;
}

export function isTooLarge(bytes: number): boolean {
  return bytes > largest;
}

export function inOrder(mistakes: Mistake[]): Mistake[] {
  const seen = new Set<string>();
  const once = mistakes.filter(({ line, column, message }) => {
    const key = `${line}:${column}:${message}`;
    return !seen.has(key) && seen.add(key);
  });
  return once.sort((a, b) => a.line - b.line || a.column - b.column);
}

const tooDeep = `the file is nested more than ${deepest} deep`;
const endless = 'this alias stands inside what it stands for, which would never end';
const explodes = `written out, the aliases of this file are more than ${mostNodes} values`;

/** Undefined when it is nested so deep that the composer's recursion ran out of stack. */
function compose(text: string): Document.Parsed | undefined {
  try {
    // uniqueKeys compares each key with all before it; survey() finds duplicates in one pass.
    return parseDocument(text, {
      prettyErrors: false,
      uniqueKeys: false,
      merge: true,
      schema: 'core',
      logLevel: 'error',
    });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function syntax(code: string, message: string): [string, string?] {
  if (code === 'TAB_AS_INDENT') return ['a tab cannot indent YAML', 'use spaces'];
  if (code === 'RESOURCE_EXHAUSTION') return [tooDeep];
  if (code === 'MULTIPLE_DOCS')
    return ['a second document starts here', 'a cluster file is one document: remove the `---`'];
  return [message.charAt(0).toLowerCase() + message.slice(1)];
}

type Say = (start: number, end: number, message: string, hint?: string) => Mistake;
type Targets = Map<Node, Node>;

/**
 * Walks the tree once: duplicate and composite keys, depth, and how large it is with its aliases written out. Gives what
 * each alias stands for, and whether the tree is sound enough to become values.
 */
function survey(root: Node, mistakes: Mistake[], say: Say): { targets: Targets; sound: boolean } {
  const anchors = new Map<string, Node>();
  const targets: Targets = new Map();
  const sizes = new Map<Node, number>();
  const open = new Set<Node>();
  let sound = true;

  const complain = (node: Node, message: string, hint?: string) => {
    if (mistakes.length < mostMistakes) mistakes.push(say(node.range![0], node.range![1], message, hint));
  };
  const stop = (node: Node, message: string, hint?: string) => {
    sound = false;
    complain(node, message, hint);
  };
  const walk = (node: unknown, depth: number): number => {
    if (!sound) return 0;
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) {
        stop(node as Node, `no anchor &${node.source} stands before this alias`);
        return 1;
      }
      if (open.has(target)) stop(node as Node, endless);
      targets.set(node as Node, target);
      return sizes.get(target) ?? 1;
    }
    if (!isScalar(node) && !isCollection(node)) return 1;
    if (node.anchor !== undefined) anchors.set(node.anchor, node as Node);
    if (isScalar(node)) return 1;
    if (depth > deepest) stop(node as Node, tooDeep);
    open.add(node as Node);
    let size = 1;
    const keys = new Map<string, Node>();
    for (const item of node.items) {
      if (!sound) break;
      if (!isPair(item)) {
        size += walk(item, depth + 1);
      } else {
        const key = item.key as Node;
        size += walk(key, depth + 1) + walk(item.value, depth + 1);
        unique(key, keys);
        if (isMergeKey(key)) mergeable(item.value as Node | null, key);
      }
      if (size > mostNodes) stop((isPair(item) ? item.key : item) as Node, explodes);
    }
    open.delete(node as Node);
    sizes.set(node as Node, size);
    return size;
  };
  const mergeable = (value: Node | null, key: Node) => {
    const resolve = (one: unknown) => (isAlias(one) ? targets.get(one as Node) : one);
    const from = resolve(value);
    const maps = isSeq(from) ? from.items.map(resolve) : [from];
    if (!maps.every(isMap)) stop(value?.range ? value : key, 'only keys can be merged with <<');
  };
  const unique = (key: Node, keys: Map<string, Node>) => {
    const resolved = isAlias(key) ? targets.get(key) : key;
    if (!isScalar(resolved)) {
      if (resolved !== undefined) complain(key, 'a key is one word', 'to write a value in braces, quote it');
      return;
    }
    const word = String(resolved.value);
    if (word === '__proto__') complain(key, 'no key can be called "__proto__"');
    const before = keys.get(word);
    if (before !== undefined && !isMergeKey(key))
      complain(
        key,
        `${quote(word)} stands here twice`,
        `the first is on line ${say(before.range![0], before.range![0], '').line}`,
      );
    else keys.set(word, key);
  };
  walk(root, 1);
  return { targets, sound };
}

function isMergeKey(key: Node): boolean {
  return isScalar(key) && key.source === '<<' && key.type === 'PLAIN';
}

/** Finds the place of a path: the value, or the key when asked; where the path ends early, the key of the last thing that is there. */
function finder(root: Node, targets: Targets) {
  const indexes = new Map<YAMLMap, Map<string, Pair<Node, Node | null>>>();
  const resolve = (node: unknown): unknown => (isAlias(node) ? targets.get(node as Node) : node);
  const index = (map: YAMLMap) => {
    const known = indexes.get(map);
    if (known !== undefined) return known;
    const made = new Map<string, Pair<Node, Node | null>>();
    indexes.set(map, made);
    const merged: Pair<Node, Node | null>[] = [];
    for (const item of map.items as Pair<Node, Node | null>[]) {
      const key = resolve(item.key);
      const word = isScalar(key) ? String(key.value ?? '') : undefined;
      if (isMergeKey(item.key)) merged.push(item);
      else if (word !== undefined) made.set(word, item);
    }
    for (const { value } of merged) {
      const from = resolve(value);
      for (const one of isSeq(from) ? from.items.map(resolve) : [from])
        if (isMap(one)) for (const [word, pair] of index(one)) if (!made.has(word)) made.set(word, pair);
    }
    return made;
  };
  return (path: (string | number)[], atKey: boolean): { range: [number, number]; found: boolean } => {
    let node: unknown = root;
    let range = start(root);
    let keyRange = range;
    for (const step of path) {
      const inside = resolve(node);
      if (isMap(inside)) {
        const pair = index(inside).get(String(step));
        if (pair === undefined) return { range: keyRange, found: false };
        keyRange = start(pair.key);
        const valueIsThere = pair.value?.range && pair.value.range[1] > pair.value.range[0];
        range = valueIsThere ? start(pair.value!) : keyRange;
        node = pair.value;
      } else if (isSeq(inside)) {
        const item = inside.items[Number(step)] as Node | undefined;
        if (!item?.range) return { range: keyRange, found: false };
        range = start(item);
        keyRange = range;
        node = item;
      } else return { range, found: false };
    }
    return { range: atKey ? keyRange : range, found: true };
  };
}

function start(node: Node): [number, number] {
  const range = node.range;
  return range ? [range[0], range[1]] : [0, 1];
}
