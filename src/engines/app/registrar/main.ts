import { Registrar } from './registrar.ts';

/** `node registrar.mjs FOLDER`: keeps the member registered that FOLDER's registrar.json describes, until SIGTERM. */
const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node registrar.mjs FOLDER');
  process.exit(2);
}
try {
  const registrar = new Registrar(folder);
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      registrar.stop();
      process.exit(0);
    });
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
