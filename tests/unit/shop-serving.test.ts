import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const serving = resolve(import.meta.dirname, '../../examples/shop/serving.ts');

/** A server of the shop whose every answer takes as long as a failover behind it. */
const program = `
import { json, serve } from ${JSON.stringify(serving)};
serve(
  async (_request, response) => {
    console.log('asked');
    await new Promise((resolve) => setTimeout(resolve, 4000));
    json(response, 201, { number: 1 });
  },
  async () => {},
);`;

test('told to end, the shop answers what is under way first, also where that takes longer than an idle connection is waited for', {
  tags: 'long',
  timeout: 20_000,
}, async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  const heard = (word: string) =>
    new Promise<void>((done) => {
      const look = () => said.includes(word) && done();
      child.stdout.on('data', look);
      look();
    });
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  await heard('listens');
  const answer = fetch(`http://127.0.0.1:${port}/order`, { method: 'POST' });
  await heard('asked');
  child.kill('SIGTERM');
  expect((await answer).status).toBe(201);
  expect((await answer).headers.get('connection')).toBe('close');
  await (await answer).text();
  const [exit] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  expect(exit).toBe(0);
});
