/** @module-tag long */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FileErrors } from '../../src/file/read.ts';
import { mistakes, parse } from './file-engines.ts';

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);

/** Few in the inner loop; FUZZ=5000 looks longer. */
const runs = Number(process.env['FUZZ'] ?? (process.env['CI'] ? 150 : 40));

/** Files that are right, as a user might write them. */
const good = fc
  .record({
    cluster: name,
    hosts: fc.uniqueArray(name, { minLength: 2, maxLength: 12 }),
    services: fc.uniqueArray(name, { minLength: 1, maxLength: 6 }),
    scheduler: fc.constantFrom('rr', 'wrr', 'wlc', 'sh', 'mh', 'fo'),
    forward: fc.constantFrom('nat', 'fullnat'),
    time: fc.constantFrom('0', '300ms', '2s', '5m'),
    seed: fc.nat(),
  })
  .map(({ cluster, hosts, services, scheduler, forward, time, seed }) => {
    const apps = services.map(
      (service, index) => `  ${service}:
    type: app
    hosts: [${hosts.slice(seed % (hosts.length - 1))}]
    command: "serve \\"${service}\\""
    port: ${1000 + index}
    drain: ${time}
    uses: [${services.slice(0, index).join(', ')}]
`,
    );
    const listens = services.map(
      (service, index) =>
        `      - { port: ${2000 + index}, to: ${service}, scheduler: ${scheduler}, forward: ${forward}, persistence: ${time} }\n`,
    );
    return `cluster: ${cluster}
hosts:
${hosts.map((host) => `  ${host}: {}\n`).join('')}services:
${apps.join('')}  front-door-of-it:
    type: director
    hosts: [${hosts[0]}]
    vip: 10.${seed % 200}.7.200
    listen:
${listens.join('')}`;
  });

/** Whatever the text is: a cluster, or mistakes that lie within it and can be shown. */
function holds(text: string): void {
  try {
    parse(text);
  } catch (error) {
    if (!(error instanceof FileErrors)) throw error;
    const lines = text.split('\n');
    expect(error.mistakes.length).toBeGreaterThan(0);
    for (const { line, column, width, message } of error.mistakes) {
      expect(message).not.toBe('');
      expect(width).toBeGreaterThan(0);
      expect(line).toBeGreaterThan(0);
      expect(line).toBeLessThanOrEqual(lines.length);
      expect(column).toBeGreaterThan(0);
      expect(column).toBeLessThanOrEqual(lines[line - 1]!.length + 1);
    }
  }
}

test('generated good files are clusters', { timeout: 600_000 }, () => {
  fc.assert(
    fc.property(good, (text) => {
      expect(Object.keys(parse(text).services)).toContain('front-door-of-it');
    }),
    { numRuns: runs },
  );
});

const splinter = fc.constantFrom(
  '\n',
  '  ',
  '\t',
  ':',
  '- ',
  '[',
  ']',
  '{',
  '}',
  '"',
  "'",
  '&a ',
  '*a',
  '<<: *a',
  '? ',
  '!!binary ',
  '!x ',
  '|',
  '>',
  '#',
  '%YAML 1.1\n',
  '---\n',
  '...',
  ',',
  'null',
  '~',
  '-1',
  '70000',
  '.nan',
  '.inf',
  '0x1f',
  '1e400',
  '__proto__: ',
  'constructor',
  'toString: ',
  '2026-11-23',
  'true',
  '\u0000',
  '\ufeff',
  '\u2028',
  '\ud800',
  '\r',
  '😀',
  'hosts:',
  'services:',
  'cluster:',
  'type: app',
  'uses: [',
  'listen:',
  'vip: [',
  'network: {',
  'weights: {',
  'check: {',
  'promise:',
  'env: {',
  'port: "1-2"',
  'ssh: ',
);

test('good files with splinters in them never throw anything but mistakes, at places that exist', {
  timeout: 600_000,
}, () => {
  const slips = fc.array(
    fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(12), put: splinter }),
    { minLength: 1, maxLength: 5 },
  );
  fc.assert(
    fc.property(good, slips, (text, all) => {
      let broken = text;
      for (const { at, cut, put } of all) {
        const from = Math.floor(at * broken.length);
        broken = broken.slice(0, from) + put + broken.slice(from + cut);
      }
      holds(broken);
    }),
    { numRuns: runs },
  );
});

test('a value of any kind in any place is a mistake at most', { timeout: 600_000 }, () => {
  const value = fc.oneof(splinter, fc.json({ maxDepth: 3 }), fc.string());
  fc.assert(
    fc.property(good, fc.nat(), value, (text, which, put) => {
      const places = [...text.matchAll(/: (.+)$/gm)];
      const place = places[which % places.length]!;
      holds(text.slice(0, place.index + 2) + put + text.slice(place.index + place[0].length));
    }),
    { numRuns: runs },
  );
});

test('garbage is refused with a sentence', { timeout: 600_000 }, () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.array(splinter, { maxLength: 60 }).map((parts) => parts.join('')),
      ),
      holds,
    ),
    { numRuns: runs },
  );
});

test.each([
  ['brackets', '['.repeat(2 ** 21)],
  ['pairs of brackets', '[]{}'.repeat(2 ** 19)],
  ['closing brackets', ']'.repeat(2 ** 18)],
  ['list marks', '- '.repeat(2 ** 20)],
  ['nested keys', 'a: '.repeat(2 ** 20)],
  ['documents', '---\n'.repeat(2 ** 19)],
  ['one long word', 'a'.repeat(2 ** 21)],
  ['aliases of one large list', `a: &a [${'x,'.repeat(20_000)}]\nb: [${'*a,'.repeat(20_000)}]`],
  ['tags', '! '.repeat(2 ** 17)],
  ['keys that are the same', 'a: 1\n'.repeat(50_000)],
  [
    'undeclared hosts',
    `cluster: a\nhosts: { ${Array.from({ length: 2000 }, (_, n) => `h${n}: {}`).join(', ')} }\nservices: { a: { type: app, command: x, port: 1, hosts: [${Array.from({ length: 20_000 }, (_, n) => `g${n}`).join(', ')}] } }`,
  ],
])('hostile: %s', { timeout: 20_000 }, (_, text) => {
  const found = mistakes(text);
  expect(found.length).toBeLessThanOrEqual(2000);
});

test('1,000 hosts and 10,000 members are read and checked', () => {
  const hosts = Array.from({ length: 1000 }, (_, index) => `h${index}`);
  const services = Array.from(
    { length: 10 },
    (_, index) =>
      `  s${index}: { type: app, hosts: [${hosts.join(', ')}], command: x, port: ${9000 + index} }\n`,
  );
  const text = `cluster: big\nnetwork: 10.64.0.0/20\nhosts:\n${hosts.map((host) => `  ${host}: {}\n`).join('')}services:\n${services.join('')}  front: { type: director, hosts: [h0, h1], vip: 10.64.15.1, listen: [{ port: 80, to: s0 }] }\n`;
  const cluster = parse(text);
  expect(Object.values(cluster.services).flatMap((service) => service.hosts)).toHaveLength(10_002);
});
