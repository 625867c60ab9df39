import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { executed } from './service.ts';

/** What the supervisor's direct child has become once the command runs. */
async function becomes(command: string): Promise<string> {
  const child = spawn('sh', ['-c', `cd /\n${executed(command)}\n`], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    return readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim();
  } finally {
    child.kill('SIGKILL');
  }
}

// The process tells that it runs; its name is what signals reach.
const perl = 'perl -e "sleep 60 if print STDOUT 1 and close STDOUT"';

it.each([
  ['a simple command', perl],
  ['one that says exec itself', `exec ${perl}`],
  ['one with variables before it', `A=1 B="two words" ${perl}`],
  ['one with ; and & inside quotes', `perl -e 'print STDOUT 1; close STDOUT; 1 && sleep 60'`],
  ['several, the last with exec', `cd /tmp && exec ${perl}`],
])('the child that gets the signals is the server: %s', async (_what, command) => {
  expect(await becomes(command)).toBe('perl');
});
