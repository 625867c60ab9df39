import { cpSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

/** Where Phalanx wants what is to be shipped. */
const out = process.env['OUT'] ?? 'out';

// One file for each program, so that hosts need nothing but Node.
await build({
  entryPoints: { web: 'web.ts', worker: 'worker.ts' },
  outdir: join(out, 'bin'),
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  // Some of the libraries are CommonJS, and ask for Node's own modules by `require`.
  banner: {
    js: "import { createRequire as requiring } from 'node:module'; const require = requiring(import.meta.url);",
  },
  logLevel: 'warning',
});

// The Kafka client reads its checksums' code from ../dist/native.wasm, seen from the file that it is in.
const kafka = createRequire(createRequire(import.meta.url).resolve('@platformatic/kafka'));
cpSync(
  join(dirname(kafka.resolve('@platformatic/wasm-utils')), 'native.wasm'),
  join(out, 'dist/native.wasm'),
);
