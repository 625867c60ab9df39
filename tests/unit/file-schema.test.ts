import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { engines } from '../../src/engines/index.ts';
import { jsonSchema } from '../../src/file/schema.ts';

const checkout = resolve(import.meta.dirname, '../..');
const made = jsonSchema(Object.values(engines));
/** The schema as an editor applies it, without Phalanx's own rules. */
const editor = z.fromJSONSchema(made as never);

test('the schema that editors point at is the one that the code gives', () => {
  const kept = readFileSync(join(checkout, 'schema/phalanx.schema.json'), 'utf8');
  expect(kept, 'run: ./phalanx schema > schema/phalanx.schema.json').toBe(
    `${JSON.stringify(made, null, 2)}\n`,
  );
});

test('the examples are right by it, and a typing mistake in them is not', () => {
  const files = globSync('examples/*.yaml', { cwd: checkout });
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) {
    const text = readFileSync(join(checkout, file), 'utf8');
    expect(editor.safeParse(parseYaml(text)).error?.issues).toBeUndefined();
    expect(editor.safeParse(parseYaml(text.replace(/^( +)type:/m, '$1tipe:'))).success).toBe(false);
    expect(editor.safeParse(parseYaml(`${text}\nhots: {}\n`)).success).toBe(false);
  }
});

test('services are told apart by their type, and every key of theirs says what it is for', () => {
  const { properties } = made as { properties: { services: { additionalProperties: { oneOf: unknown[] } } } };
  const services = properties.services.additionalProperties.oneOf as {
    properties: Record<string, { description?: string; const?: string }>;
    required: string[];
    additionalProperties: boolean;
  }[];
  expect(services.map((service) => service.properties['type']!.const)).toEqual(Object.keys(engines));
  for (const service of services) {
    expect(service.required).toEqual(expect.arrayContaining(['type', 'hosts']));
    expect(service.additionalProperties).toBe(false);
    for (const [key, value] of Object.entries(service.properties))
      expect(value.description, `${service.properties['type']!.const}.${key}`).toBeTruthy();
  }
});
