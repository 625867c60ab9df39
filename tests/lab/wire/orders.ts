import { createInterface } from 'node:readline';

/** The other end of Actor.tell: answers orders from standard input until it closes. */
// biome-ignore lint/suspicious/noExplicitAny: arguments are what the test's author wrote
export function orders(table: Record<string, (...args: any[]) => unknown>): void {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, order, args } = JSON.parse(line) as { id: number; order: string; args: unknown[] };
    let answer: object;
    try {
      const act = table[order];
      if (!act) throw new Error(`no order ${order}`);
      answer = { id, value: (await act(...args)) ?? null };
    } catch (error) {
      answer = { id, error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
  lines.on('close', () => process.exit(0));
}
