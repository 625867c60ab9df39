import { createInterface } from 'node:readline/promises';

async function onTerminal(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

/** Whether the person at the terminal says yes to the question; whatever else is said is no, and so are Ctrl-C and Ctrl-D. */
export async function saysYes(question: string, ask = onTerminal): Promise<boolean> {
  try {
    return /^y(es)?$/i.test((await ask(`${question} [y/N] `)).trim());
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    // The line of the question has not ended.
    console.log();
    return false;
  }
}
