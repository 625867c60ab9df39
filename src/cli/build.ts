import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

/*
 * The command as few files in .build/cli, for the launcher: loading two hundred modules one by one takes longer than what most commands
 * do. Run by the launcher when a source has changed; two at once do not disturb each other, nor a command that is running.
 */

const root = resolve(import.meta.dirname, '../..');
/** Two folders below the root, as the sources are: paths from there to the checkout stay true. */
const folder = join(root, '.build/cli');
/** Parts of earlier builds stay so long after they were replaced: a command that runs may still load one. Milliseconds. */
const keepMs = 86_400_000;
/** What every command loads, and what engines load to be looked at. */
const inside = ['commander', 'yaml', 'zod', 'ioredis', '@platformatic/kafka'];
const packages = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};

/**
 * Kafka's client compiles forty schemas as it is loaded, of which a command uses one or two: each is compiled when it is first asked. That
 * is two thirds of what loading it takes.
 */
const schemasWhenAsked: Plugin = {
  name: 'schemas when asked',
  setup({ onLoad }) {
    onLoad({ filter: /@platformatic\/kafka\/dist\/utils\.js$/ }, ({ path }) => ({
      contents: `${readFileSync(path, 'utf8')}
const compileNow = ajv.compile.bind(ajv);
ajv.compile = (schema) => {
  let compiled;
  const validate = (...given) => {
    compiled ??= compileNow(schema);
    const fine = compiled(...given);
    validate.errors = compiled.errors;
    return fine;
  };
  return validate;
};
`,
    }));
  },
};

mkdirSync(folder, { recursive: true });
// The time of the disk that the sources are on, whose clock may be another one.
const draft = join(folder, `began.${process.pid}`);
writeFileSync(draft, '');
const began = statSync(draft).mtime;
rmSync(draft);
const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  bundle: true,
  splitting: true,
  write: false,
  outdir: folder,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  outExtension: { '.js': '.mjs' },
  platform: 'node',
  format: 'esm',
  target: 'esnext',
  external: [
    ...Object.keys(packages.dependencies).filter((name) => !inside.includes(name)),
    // Reads a file that lies beside it.
    '@platformatic/wasm-utils',
    // What it may use where it is installed.
    '@node-rs/crc32',
  ],
  // Modules that are CommonJS ask for Node's own in its way.
  banner: {
    js: `import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);`,
  },
  plugins: [schemasWhenAsked],
  legalComments: 'none',
  logLevel: 'silent',
});
const parts = outputFiles.map(({ path, contents }) => {
  if (!existsSync(path)) put(path, contents);
  return basename(path);
});
const entry = parts.find((name) => /^main-[^-]*\.mjs$/.test(name));
const main = join(folder, 'main.mjs');
const now = new Date();
// From here on the last build's parts are on the way out.
if (existsSync(main))
  for (const [name] of readFileSync(main, 'utf8').matchAll(/\S+\.mjs$/gm)) {
    const path = join(folder, name);
    if (existsSync(path)) utimesSync(path, now, now);
  }
// What the launcher compares the sources' times with: a change during the build makes it stale.
put(main, `import './${entry}';\n/*\n${parts.join('\n')}\n*/\n`, began);
for (const name of readdirSync(folder)) {
  const path = join(folder, name);
  if (name !== 'main.mjs' && !parts.includes(name) && Date.now() - statSync(path).mtimeMs > keepMs)
    rmSync(path, { force: true });
}

function put(path: string, content: string | Uint8Array, at?: Date): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, content);
  if (at) utimesSync(draft, at, at);
  renameSync(draft, path);
}
