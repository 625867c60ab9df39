import type { ZodType, z } from 'zod';
import type { Problem } from './cluster.ts';
import { quote } from './mistakes.ts';
import { nearest, suggestion } from './nearest.ts';
import { isRecord, keysAt } from './shape.ts';

type Path = (string | number)[];
type Issue = z.core.$ZodIssue;

/** Checks the value and gives it parsed, or every problem with it; `at` is the value's own path in the file. */
export function examine<T>(
  schema: ZodType<T>,
  value: unknown,
  at: Path,
): { value: T; problems: [] } | { value: undefined; problems: Problem[] } {
  const result = schema.safeParse(value, { error: sentence });
  if (result.success) return { value: result.data, problems: [] };
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, schema, value));
  return {
    value: undefined,
    problems: problems.map((problem) => ({ ...problem, path: [...at, ...problem.path] })),
  };
}

/** Our words for zod's issues. A message that the schema itself gives goes before these. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${kinds[issue.expected] ?? issue.expected}, found ${found(issue.input)}`;
    case 'invalid_value': {
      const choices = issue.values.map(String);
      if (choices.length === 1) return `can only be ${choices[0]}`;
      return `${shown(issue.input)} is not one of ${choices.join(', ')}`;
    }
    case 'too_small':
      if (issue.origin === 'number' || issue.origin === 'int')
        return `${issue.input} is too small: at least ${issue.minimum}`;
      return `needs at least ${issue.minimum} ${issue.origin === 'string' ? 'letters' : 'entries'}`;
    case 'too_big':
      if (issue.origin === 'number' || issue.origin === 'int')
        return `${issue.input} is too large: at most ${issue.maximum}`;
      return `has more than ${issue.maximum} ${issue.origin === 'string' ? 'letters' : 'entries'}`;
    case 'invalid_format':
      return `${shown(issue.input)} is not of the form ${issue.pattern ?? issue.format}`;
    default:
      return undefined;
  }
}

const kinds: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'keys',
  record: 'keys',
  null: 'nothing',
};

function found(input: unknown): string {
  if (input === null || input === undefined) return 'nothing';
  if (Array.isArray(input)) return 'a list';
  if (typeof input === 'object') return 'keys';
  return typeof input === 'string' ? `the text ${quote(input)}` : String(input);
}

function shown(input: unknown): string {
  return typeof input === 'string' ? quote(input) : found(input);
}

function problemsOf(issue: Issue, schema: ZodType, root: unknown): Problem[] {
  const path = issue.path as Path;
  const value = valueAt(root, path);
  const key = path.at(-1);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((word) => unknownKey([...path, word], schema, path));
  }
  if (value === undefined && typeof key === 'string' && issue.code !== 'custom')
    return [{ path, message: `${quote(key)} is missing` }];
  if (issue.code === 'invalid_key')
    return [{ path, message: `${quote(key)}: ${issue.issues[0]?.message ?? issue.message}`, atKey: true }];
  if (issue.code === 'invalid_union' && issue.message === 'Invalid input')
    return ofUnion(issue, value).flatMap((inner) =>
      problemsOf({ ...inner, path: [...path, ...inner.path] } as Issue, schema, root),
    );
  if (issue.code === 'invalid_value' && typeof value === 'string') {
    const hint = suggestion(value, issue.values.map(String));
    if (hint !== undefined) return [{ path, message: issue.message, hint }];
  }
  if (issue.code === 'invalid_type' && ['number', 'int'].includes(issue.expected) && isNumeric(value))
    return [{ path, message: issue.message, hint: `write ${value} without quotes` }];
  if (
    issue.code === 'invalid_type' &&
    issue.expected === 'string' &&
    ['number', 'boolean'].includes(typeof value)
  )
    return [{ path, message: issue.message, hint: `write "${value}" with quotes` }];
  return [{ path, message: issue.message }];
}

/** The issues of the branch that was meant: the one that took the value's kind and failed deepest. */
function ofUnion(issue: Extract<Issue, { code: 'invalid_union' }>, value: unknown): Issue[] {
  // A list of words is no place for keys: of `default | { tickTime: .. }` the second was meant.
  const wrongKind = ({ code, path }: { code: string; path: PropertyKey[] }): boolean =>
    path.length === 0 && (code === 'invalid_type' || (code === 'invalid_value' && isRecord(value)));
  const branches = issue.errors.filter((issues) => !issues.some((one) => wrongKind(one as Issue)));
  const branch = branches[0];
  if (branch !== undefined) return branch as Issue[];
  const expected = issue.errors.flatMap((issues) =>
    issues.flatMap((one) => (one.code === 'invalid_type' ? (kinds[one.expected] ?? one.expected) : [])),
  );
  const message = `expected ${[...new Set(expected)].join(' or ')}, found ${found(value)}`;
  return [{ code: 'custom', path: [], message } as unknown as Issue];
}

/** `path` leads to the key; `at` to its mapping within `schema`, which may also have the keys of `more`. */
export function unknownKey(path: Path, schema: ZodType, at: Path, more: string[] = []): Problem {
  const word = String(path.at(-1));
  const known = [...keysAt(schema, at), ...more];
  const problem: Problem = { path, message: `unknown key ${quote(word)}`, atKey: true };
  const hint = suggestion(word, known) ?? deeper(word, schema, at) ?? listed(known);
  return hint === undefined ? problem : { ...problem, hint };
}

/** The right word one level down: `scheduler` beside `listen` rather than in it. */
function deeper(word: string, schema: ZodType, at: Path): string | undefined {
  for (const key of keysAt(schema, at)) {
    const inside = [...keysAt(schema, [...at, key]), ...keysAt(schema, [...at, key, 0])];
    const found = nearest(word, inside);
    if (found !== undefined) return `did you mean "${found}" in "${key}"?`;
  }
  return undefined;
}

function listed(known: string[]): string | undefined {
  return known.length === 0 || known.length > 12 ? undefined : `here are: ${known.join(', ')}`;
}

function isNumeric(value: unknown): boolean {
  return typeof value === 'string' && /^\d+$/.test(value);
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (Array.isArray(value)) value = value[Number(step)];
    else if (isRecord(value) && Object.hasOwn(value, step)) value = value[step];
    else return undefined;
  }
  return value;
}
