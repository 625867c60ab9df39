import { z } from 'zod';
import type { Engine } from '../engines/engine.ts';
import type { Problem, Service } from './cluster.ts';
import { examine, unknownKey } from './issues.ts';
import { mostMistakes, quote } from './mistakes.ts';
import { suggestion } from './nearest.ts';
import { common } from './schema.ts';
import { isRecord, salvage, shapeOf } from './shape.ts';

const commonSchema = z.object(common);
const commonKeys = ['type', ...Object.keys(common)];
/** A file in which so many names are unknown is a different file; distances are not free. */
const mostHints = 100;

/**
 * The services of the file, each by the schema of its engine, and what is wrong with them. A service with mistakes is
 * there as well, with those parts of its `spec` that are right, so that rules across services can go on.
 */
export function readServices(
  written: Record<string, unknown>,
  engines: Map<string, Engine>,
  hosts: Set<string> | undefined,
): { services: Record<string, Service>; problems: Problem[] } {
  const problems: Problem[] = [];
  const services: Record<string, Service> = {};
  for (const [name, value] of Object.entries(written)) {
    if (problems.length > mostMistakes) break;
    const path = ['services', name];
    if (!isRecord(value)) {
      problems.push({ path, message: 'a service is keys', hint: 'it starts with `type: app`' });
      services[name] = { name, type: '', hosts: [], uses: [], spec: undefined };
      continue;
    }
    const engine = engineNamed(value['type'], path, engines, problems);
    const shared = Object.fromEntries(commonKeys.map((key) => [key, value[key]]));
    const examined = examine(commonSchema, shared, path);
    problems.push(...examined.problems);
    const parts = (examined.value ?? salvage(commonSchema, shared)) as Partial<z.infer<typeof commonSchema>>;

    // An engine that shapes itself by a common key (redis by its promise) has it in its own schema too.
    const theirs = engine === undefined ? {} : shapeOf(engine.schema);
    const own = Object.fromEntries(
      Object.entries(value).filter(([key]) => !commonKeys.includes(key) || Object.hasOwn(theirs, key)),
    );
    const service: Service = {
      name,
      type: engine?.type ?? '',
      hosts: known(parts.hosts, [...path, 'hosts'], 'host', hosts, problems),
      uses: known(parts.uses, [...path, 'uses'], 'service', new Set(Object.keys(written)), problems),
      spec: undefined,
    };
    if (parts.promise !== undefined) service.promise = parts.promise;
    if (engine !== undefined) service.spec = specOf(engine, own, path, problems);
    services[name] = service;
  }
  return { services, problems };
}

function engineNamed(
  type: unknown,
  path: string[],
  engines: Map<string, Engine>,
  problems: Problem[],
): Engine | undefined {
  const engine = typeof type === 'string' ? engines.get(type) : undefined;
  if (engine !== undefined) return engine;
  const types = [...engines.keys()];
  const choice = `one of ${types.join(', ')}`;
  const at = [...path, 'type'];
  if (typeof type === 'string') {
    const hint = suggestion(type, types) ?? choice;
    problems.push({ path: at, message: `no engine is called ${quote(type)}`, hint });
  } else {
    const message = type === undefined ? '"type" is missing' : '"type" is a word';
    problems.push({ path: at, message, hint: choice });
  }
  return undefined;
}

function specOf(engine: Engine, own: Record<string, unknown>, path: string[], problems: Problem[]): unknown {
  const { value, problems: wrong } = examine(engine.schema, own, path);
  if (wrong.length === 0) return value;
  for (const problem of wrong) {
    // Only here the common keys are among the right words too.
    const unknown =
      problem.atKey && problem.path.length === path.length + 1 && problem.message.startsWith('unknown');
    problems.push(unknown ? unknownKey(problem.path, engine.schema, [], commonKeys) : problem);
  }
  return salvage(engine.schema, own);
}

/** Those of the names that are declared, each once; the others are problems. */
function known(
  names: (string | undefined)[] | undefined,
  path: string[],
  what: 'host' | 'service',
  declared: Set<string> | undefined,
  problems: Problem[],
): string[] {
  const good = new Set<string>();
  let hints = 0;
  for (const [index, name] of (names ?? []).entries()) {
    if (name === undefined) continue;
    const at = [...path, index];
    if (declared !== undefined && !declared.has(name)) {
      const hint = ++hints > mostHints ? undefined : suggestion(name, declared);
      const message = `no ${what} ${quote(name)} is declared`;
      problems.push(hint === undefined ? { path: at, message } : { path: at, message, hint });
    } else if (good.has(name))
      problems.push({ path: at, message: `${quote(name)} stands in this list twice` });
    else good.add(name);
    if (problems.length > mostMistakes) break;
  }
  return [...good];
}

/** Every cycle in `uses`, once, at the name that closes it: no member of it could be started first. */
export function cycles(services: Record<string, Service>, written: Record<string, unknown>): Problem[] {
  const indexOf = (service: string, used: string) => {
    const value = written[service];
    return isRecord(value) && Array.isArray(value['uses']) ? value['uses'].indexOf(used) : 0;
  };
  const problems: Problem[] = [];
  const done = new Set<string>();
  for (const root of Object.keys(services)) {
    if (done.has(root)) continue;
    const trail = [{ name: root, next: 0 }];
    const open = new Set([root]);
    while (trail.length > 0) {
      const here = trail.at(-1)!;
      const used = services[here.name]!.uses[here.next++];
      if (used === undefined) {
        done.add(here.name);
        open.delete(here.name);
        trail.pop();
      } else if (open.has(used)) {
        const names = trail.map(({ name }) => name);
        const cycle = [...names.slice(names.indexOf(used)), used];
        problems.push({
          path: ['services', here.name, 'uses', indexOf(here.name, used)],
          message: cycle.length === 2 ? `"${used}" uses itself` : `a cycle in uses: ${cycle.join(' -> ')}`,
          hint: 'each service starts after those it uses',
        });
      } else if (!done.has(used)) {
        trail.push({ name: used, next: 0 });
        open.add(used);
      }
    }
  }
  return problems;
}
