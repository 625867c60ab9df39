import { schema as appSchema } from '../../src/engines/app/schema.ts';
import { directorRules } from '../../src/engines/director/rules.ts';
import { schema as directorSchema } from '../../src/engines/director/schema.ts';
import type { Engine, Member } from '../../src/engines/engine.ts';
import type { Service } from '../../src/file/cluster.ts';
import { FileErrors, type FileState, type Mistake, parseCluster } from '../../src/file/read.ts';

const member = (service: Service, host: string, ports: Member['ports']): Member => ({
  name: `${service.name}@${host}`,
  service: service.name,
  host,
  command: '',
  env: {},
  files: [],
  limits: {},
  ports,
  stop: { signal: 'TERM', timeoutMs: 0 },
  data: [],
  kind: service.type,
});

/** The two engines' real words and rules, with members that are no more than their ports. */
export const engines: Record<string, Engine> = {
  app: {
    type: 'app',
    schema: appSchema,
    packages: () => [],
    members: (service, cluster) => {
      if (cluster.releases[service.name] === undefined) throw new Error('a release is asked for');
      return service.hosts.map((host) => member(service, host, [{ proto: 'tcp', port: service.spec.port }]));
    },
  },
  director: {
    type: 'director',
    schema: directorSchema,
    packages: () => [],
    secrets: () => ['sync'],
    members: (service, cluster) => {
      if (cluster.secrets[`${service.name}/sync`] === undefined) throw new Error('a secret is asked for');
      return service.hosts.map((host) => member(service, host, []));
    },
    check: directorRules((type) => engines[type]),
  },
};

export const fresh: FileState = { home: '/var/lib/phalanx', addresses: {}, secrets: {}, releases: {} };

export const parse = (text: string, state: Partial<FileState> = {}) =>
  parseCluster(text, 'shop.yaml', engines, { ...fresh, ...state });

/** Every mistake of the text; fails when there is none. */
export function mistakes(text: string, state: Partial<FileState> = {}): Mistake[] {
  try {
    parse(text, state);
  } catch (error) {
    if (error instanceof FileErrors) return error.mistakes;
    throw error;
  }
  throw new Error('the text has no mistakes');
}

/** `LINE:COLUMN message: hint` of every mistake. */
export const said = (text: string, state: Partial<FileState> = {}): string[] =>
  mistakes(text, state).map(
    ({ line, column, message, hint }) =>
      `${line}:${column} ${message}${hint === undefined ? '' : `: ${hint}`}`,
  );

/** The text without its marks (§), and where these stood, as `LINE:COLUMN`. */
export function marked(text: string): { text: string; marks: string[] } {
  const marks: string[] = [];
  const clean = text.split('§').reduce((before, part) => {
    const lines = before.split('\n');
    marks.push(`${lines.length}:${lines.at(-1)!.length + 1}`);
    return before + part;
  });
  return { text: clean, marks };
}
