import type { Reach } from '../../hosts/host.ts';

/** The four-letter words that Phalanx asks, and the only ones that its servers answer. */
export const words = ['srvr', 'mntr', 'conf'] as const;

/** Longest time for a word's answer: a busy server needs milliseconds, a frozen one never answers. */
export const answerMs = 1_500;

/**
 * The server's answer to a four-letter word. Rejects when nothing listens, when the server accepts (its kernel does, also
 * while it is frozen) and does not answer within `answerMs`, and when it closes without a word: so it does with an address that has
 * as many connections as `clients` allows, and that says nothing of whether it serves.
 */
export async function ask(
  reach: Reach,
  place: { host: string; port: number },
  word: (typeof words)[number],
): Promise<string> {
  const socket = await reach.connect(place.host, place.port, answerMs);
  return await new Promise((done, fail) => {
    const chunks: Buffer[] = [];
    const late = setTimeout(() => {
      fail(new Error(`no answer within ${answerMs} ms`));
      socket.destroy();
    }, answerMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', fail);
    socket.on('close', () => {
      clearTimeout(late);
      if (chunks.length === 0) fail(new Error('it closed the connection without an answer'));
      else done(Buffer.concat(chunks).toString());
    });
    socket.write(word);
  });
}

/** `Key: value` lines of srvr, or tab-separated ones of mntr. */
export function pairs(answer: string): Record<string, string> {
  return Object.fromEntries(
    answer.split('\n').flatMap((text) => {
      const found = /^([^:\t]+)(?::\s*|\t)(.*)$/.exec(text);
      return found ? [[found[1]!, found[2]!.trim()] as const] : [];
    }),
  );
}
