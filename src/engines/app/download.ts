import { request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { DrillOutcome } from '../drill.ts';
import type { Door } from './door.ts';

/** How long a download is made to last, milliseconds. */
const lasting = 5_000;
/** Without a byte for this long it is given up, milliseconds. */
const patience = 5_000;

/**
 * A GET whose answer is taken slowly: as much of it a second as makes it last five. The server's kernel holds up to 4 MB of it (net.ipv4.tcp_wmem), and
 * goes on sending them when the server is dead, so the answer should have some ten times that. One of unknown length is taken for five seconds.
 */
export async function download({ host, port }: Door, path: string): Promise<DrillOutcome> {
  const sent = request({ host, port, path, agent: false });
  sent.setTimeout(patience, () => sent.destroy(new Error(`nothing came for ${patience} ms`)));
  try {
    const response = await new Promise<import('node:http').IncomingMessage>((got, reject) => {
      sent.once('response', got);
      sent.on('error', reject);
      sent.end();
    });
    const { statusCode = 0 } = response;
    if (statusCode >= 300) return { type: 'fail', error: `GET ${path}: status ${statusCode}` };
    const length = Number(response.headers['content-length'] ?? Number.NaN);
    const began = performance.now();
    let taken = 0;
    for await (const chunk of response) {
      taken += (chunk as Buffer).length;
      const passed = performance.now() - began;
      if (Number.isNaN(length) && passed > lasting) break;
      const ahead = (taken / length) * lasting - passed;
      if (ahead > 0) await wait(ahead);
    }
    return { type: 'ok' };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { type: code === 'ECONNREFUSED' ? 'fail' : 'info', error: message };
  } finally {
    sent.destroy();
  }
}
