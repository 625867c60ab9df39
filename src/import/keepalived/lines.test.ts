// biome-ignore-all lint/suspicious/noTemplateCurlyInString: keepalived writes its parameters so
import { expect, test } from 'vitest';
import { parseBlocks, type Statement } from './blocks.ts';
import { readLines } from './lines.ts';

const read = (text: string, id?: string, files: Record<string, string> = {}) =>
  readLines(
    { path: '/etc/keepalived/keepalived.conf', text },
    (pattern, folder) => {
      const path = pattern.startsWith('/') ? pattern : `${folder}/${pattern}`;
      return path.endsWith('*.conf')
        ? Object.entries(files)
            .filter(([name]) => name.startsWith(path.slice(0, -6)) && !name.includes('/deeper/'))
            .map(([name, content]) => ({ path: name, text: content }))
        : path in files
          ? [{ path, text: files[path]! }]
          : [];
    },
    id,
  );
const plain = (text: string, id?: string) =>
  read(text, id).lines.map(({ words }) => words.map((word) => word.text).join(' '));

test('comments begin with # or !, anywhere but in quotes', () => {
  expect(plain('! all of it\na b # rest\nc "d # e" !f\n  \ng\\#h')).toEqual(['a b', 'c d # e', 'g#h']);
});

test('quotes hold blanks together, are part of a word, and know escapes', () => {
  const words = (text: string) => read(text).lines[0]!.words.map((word) => word.text);
  expect(words(`abcd" efg h jkl "mnop`)).toEqual(['abcd efg h jkl mnop']);
  expect(words(`abcd "efg h jkl" mnop`)).toEqual(['abcd', 'efg h jkl', 'mnop']);
  expect(words(`'a "b" c' \\x41\\102 d\\"e`)).toEqual(['a "b" c', 'AB', 'd"e']);
});

test('conditions hold for their id, negative ones for every other', () => {
  const text = '@main a\n@^main b\n@backup c\nd';
  expect(plain(text, 'main')).toEqual(['a', 'd']);
  expect(plain(text, 'backup')).toEqual(['b', 'c', 'd']);
  expect(read(text, 'main').ids).toEqual(['main', 'backup']);
});

test('definitions are replaced when they are used, not when they are made', () => {
  const text = '$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n$OTHER ${NONE} $5';
  expect(plain(text)).toEqual(['10.2.0.100/32', '10.2.10.100/32', '$OTHER ${NONE} $5']);
});

test('a definition of several lines is several lines, with conditions of its own', () => {
  const text = '$RS= \\\nreal_server 10.0.0.${N} 80 { \\\n  @main weight ${N} \\\n}\n$N=1\n$RS\n$N=2\n$RS\n';
  expect(plain(text, 'main')).toEqual([
    'real_server 10.0.0.1 80 {',
    'weight 1',
    '}',
    'real_server 10.0.0.2 80 {',
    'weight 2',
    '}',
  ]);
  // Where the words stand, not where they are used.
  expect(read(text, 'main').lines.map(({ place }) => place.line)).toEqual([2, 3, 4, 2, 3, 4]);
});

test('sequences and lists unroll, one within the other', { tags: ['long'] }, () => {
  expect(plain('~SEQ(N, 1, 3) a${N}')).toEqual(['a1', 'a2', 'a3']);
  expect(plain('~SEQx(N, 0x90, 0x10, 0xb0) fe80::${N}')).toEqual(['fe80::90', 'fe80::a0', 'fe80::b0']);
  expect(plain('~LST({A, B}, {10,1}, {20,4}) ~SEQ(C,168,2,170) ${C}.${A}.${B}')).toEqual([
    '168.10.1',
    '170.10.1',
    '168.20.4',
    '170.20.4',
  ]);
  expect(() => plain('~SEQ(A,1,1000) ~SEQ(B,1,1000) x')).toThrow('more than 100000 lines');
});

test('includes stand where they are named, with a folder of their own', () => {
  const files = {
    '/etc/keepalived/conf.d/a.conf': 'include deeper/c.conf\n$HERE=${_PWD}\nfrom $HERE',
    '/etc/keepalived/conf.d/b.conf': 'b',
    '/etc/keepalived/conf.d/deeper/c.conf': 'c',
  };
  const reading = read('include conf.d/*.conf\nincluder gone.conf\nend', undefined, files);
  expect(
    reading.lines.map(({ words, place }) => `${place.file}:${place.line} ${words.at(-1)!.text}`),
  ).toEqual([
    '/etc/keepalived/conf.d/deeper/c.conf:1 c',
    '/etc/keepalived/conf.d/a.conf:3 /etc/keepalived/conf.d',
    '/etc/keepalived/conf.d/b.conf:1 b',
    '/etc/keepalived/keepalived.conf:3 end',
  ]);
  expect(reading.notes).toMatchObject([{ kind: 'lost', what: 'includer gone.conf', place: { line: 2 } }]);
});

test('what defines or includes itself ends with a sentence', () => {
  expect(() => plain('$A=${B}\n$B=${A}\n$A')).toThrow(/nest|defined by itself/);
  expect(() => read('include me.conf', undefined, { '/etc/keepalived/me.conf': 'include me.conf' })).toThrow(
    'nest',
  );
});

const shape = (statements: Statement[]): unknown =>
  statements.map(({ words, body }) => (body ? [words.join(' '), shape(body)] : words.join(' ')));
const tree = (text: string) => parseBlocks(read(text).lines);

test('braces stand on the line, on the next, beside a word, or with words after them', () => {
  const same = [['a b', ['c 1', ['d', ['e']]]]];
  expect(shape(tree('a b {\n c 1\n d {\n e\n }\n}').statements)).toEqual(same);
  expect(shape(tree('a b\n{\n c 1\n d{ e }\n}').statements)).toEqual(same);
  expect(shape(tree('a b{\nc 1\nd { e } }').statements)).toEqual(same);
  expect(tree('a "{" b').statements[0]!.words).toEqual(['a', '{', 'b']);
});

test('braces that do not match are told, and the rest is read', () => {
  expect(tree('a {\n b\n').notes).toMatchObject([{ what: 'a', place: { line: 1 } }]);
  const { statements, notes } = tree('}\na\n{\n}\n');
  expect(notes).toMatchObject([{ what: '}' }]);
  expect(shape(statements)).toEqual([['a', []]]);
});
