import { build } from 'esbuild';

// One file for each program, so that hosts need nothing but Node. OUT is where Phalanx wants what is to be shipped.
await build({
  entryPoints: { web: 'web.ts', worker: 'worker.ts' },
  outdir: process.env['OUT'] ?? 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  // Some of the libraries are CommonJS, and ask for Node's own modules by `require`.
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
