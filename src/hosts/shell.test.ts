import fc from 'fast-check';
import { expect, test } from 'vitest';
import { machine } from './machine.ts';
import { quote, runShell, ShellTimeout } from './shell.ts';

test('a quoted word is one word to sh, whatever is in it', async () => {
  const words = fc.sample(fc.string({ unit: 'grapheme' }), 60).map((word) => word.replaceAll('\0', ''));
  words.push('', "'", '"$HOME"', '`x`', 'a\nb\n', '\\', '-n', "''");
  const script = words.map((word) => `printf '%s\\0' ${quote(word)}`).join('\n');
  const { text } = await machine.run(script);
  expect(text.split('\0').slice(0, -1)).toEqual(words);
});

test('JSON lines come as they are said, other text and the exit status beside them', async () => {
  const seen: unknown[] = [];
  const result = await machine.run(
    `echo '{"a":1}'; echo text; echo '{no json'; echo oops >&2; printf '{"b":"\\303\\274"}'; exit 7`,
    {
      onLine: (line) => seen.push(line),
    },
  );
  expect(result).toEqual({
    exit: 7,
    lines: [{ a: 1 }, { b: 'ü' }],
    text: 'text\n{no json',
    stderr: 'oops\n',
  });
  expect(seen).toEqual(result.lines);
});

test('a command that reads does not eat the script; half a script does not run', async () => {
  expect((await machine.run('cat\necho after')).text).toBe('after');
  const half = await machine.run('echo begun\nif true; then');
  expect(half.text).toBe('');
  expect(half.exit).not.toBe(0);
});

test('a script that ends before it has read everything is an answer, not a broken pipe', async () => {
  const result = await runShell(['sh', '-c', 'exit 3'], `: ${'x'.repeat(1_000_000)}`);
  expect(result.exit).toBe(3);
});

test('no answer in time: the script and what it started are killed', async () => {
  const began = performance.now();
  let pid = 0;
  const running = runShell(['sh', '-s'], `sleep 100 & echo '{"pid":'$!'}'; wait`, {
    timeoutMs: 300,
    onLine: (line) => {
      pid = (line as { pid: number }).pid;
    },
  });
  await expect(running).rejects.toThrow(ShellTimeout);
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(pid).toBeGreaterThan(1);
  for (let passes = 0; passes < 200; passes += 1) {
    const { text } = await machine.run(`read -r _ _ state _ </proc/${pid}/stat 2>/dev/null && echo "$state"`);
    if (text === '' || text === 'Z') return;
  }
  throw new Error('the grandchild lives on');
});

test('aborted: rejects with the reason', async () => {
  const stop = new AbortController();
  const running = machine.run('sleep 100', { signal: stop.signal });
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
});

test('the exit status of a signal is 128 and its number', async () => {
  expect((await machine.run('kill -9 $$')).exit).toBe(137);
});
