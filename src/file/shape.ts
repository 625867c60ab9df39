import type { ZodType } from 'zod';

/** What is read of a zod type's definition: the shapes that a user's file is made of. */
interface Definition {
  type: string;
  innerType?: ZodType;
  in?: ZodType;
  shape?: Record<string, ZodType>;
  element?: ZodType;
  valueType?: ZodType;
  options?: ZodType[];
}

function definition(schema: ZodType): Definition {
  return schema.def as unknown as Definition;
}

/** The types that an input may be checked as: defaults and transforms taken off, unions spread. */
function inputs(schema: ZodType): Definition[] {
  const def = definition(schema);
  if (def.innerType !== undefined) return inputs(def.innerType);
  if (def.in !== undefined) return inputs(def.in);
  if (def.options !== undefined) return def.options.flatMap(inputs);
  return [def];
}

/** The keys that a mapping at the path may have. */
export function keysAt(schema: ZodType, path: PropertyKey[]): string[] {
  const [step, ...rest] = path;
  return inputs(schema).flatMap((def) => {
    if (step === undefined) return Object.keys(def.shape ?? {});
    const next = def.shape?.[String(step)] ?? def.element ?? def.valueType;
    return next === undefined ? [] : keysAt(next, rest);
  });
}

/** The keys of an object type, with what each holds. Throws when the type is no object: an engine's schema has to be one. */
export function shapeOf(schema: ZodType): Record<string, ZodType> {
  const shape = inputs(schema).find((def) => def.shape !== undefined)?.shape;
  if (shape === undefined) throw new Error(`a schema of type ${definition(schema).type} has no keys`);
  return shape;
}

/**
 * What can be understood of a value that breaks its schema: every part that is right, parsed; `undefined` in the place of
 * every part that is not. So rules across keys can still look at the right parts, and one run names all mistakes.
 */
export function salvage(schema: ZodType, value: unknown): unknown {
  const whole = schema.safeParse(value);
  if (whole.success) return whole.data;
  let def = definition(schema);
  while (def.innerType !== undefined) def = definition(def.innerType);
  if (def.shape !== undefined && isRecord(value)) {
    const shape = def.shape;
    return Object.fromEntries(Object.keys(shape).map((key) => [key, salvage(shape[key]!, value[key])]));
  }
  if (def.element !== undefined && Array.isArray(value))
    return value.map((item) => salvage(def.element!, item));
  if (def.type === 'record' && isRecord(value))
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, salvage(def.valueType!, item)]),
    );
  return undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
