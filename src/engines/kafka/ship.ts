import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { basename, dirname } from 'node:path';
import type { Host } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { StepFailed } from '../engine.ts';
import type { KafkaService } from './seats.ts';
import { copyOn, softwareFolder } from './software.ts';

/** Bytes of one round trip: a shell holds them in memory. */
const piece = 4 * 2 ** 20;
const pieceMs = 120_000;

/**
 * Brings the jars from this machine to a real one, by the connection that there is: it needs no registry, and no port. Whole or not there, with
 * its checksum compared before it is unpacked. Safe to repeat and to kill. Throws StepFailed with what the machine said.
 */
export async function shipSoftware(
  service: KafkaService,
  host: Host,
  root: string,
  say: (line: string) => void,
): Promise<void> {
  const copy = copyOn({ root }, service);
  // Two services of one version may come at once.
  const draft = `${basename(copy)}.${service.name}`;
  const on = async (script: string): Promise<void> => {
    const there = `set -eu
umask 022
mkdir -p ${quote(dirname(copy))}
cd ${quote(dirname(copy))}
${script}`;
    const { exit, stderr } = await host.run(there, { timeoutMs: pieceMs });
    if (exit !== 0) throw new StepFailed(`${host.name}: ${stderr.trim() || `exit ${exit}`}`);
  };
  await on(`rm -rf ${quote(`${draft}.new`)} ${quote(`${draft}.tar`)}`);
  const tar = spawn('tar', ['-C', softwareFolder(service), '-cf', '-', 'libs'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(tar, 'close') as Promise<[number | null]>;
  const sum = createHash('sha256');
  let sent = 0;
  for await (const bytes of pieces(tar.stdout)) {
    sum.update(bytes);
    const text = bytes.toString('base64').match(/.{1,76}/g)!;
    await on(`base64 -d >>${quote(`${draft}.tar`)} <<'PHALANX_PIECE'
${text.join('\n')}
PHALANX_PIECE`);
    sent += bytes.length;
    say(`${Math.round(sent / 2 ** 20)} MB`);
  }
  const [exit] = await ended;
  if (exit !== 0) throw new StepFailed(`tar of ${softwareFolder(service)} ended with ${exit}`);
  await on(`echo ${quote(`${sum.digest('hex')}  ${draft}.tar`)} | sha256sum -c - >/dev/null
mkdir ${quote(`${draft}.new`)}
tar -C ${quote(`${draft}.new`)} --no-same-owner -xf ${quote(`${draft}.tar`)} 2>/dev/null || tar -C ${quote(`${draft}.new`)} -xf ${quote(`${draft}.tar`)}
touch ${quote(`${draft}.new/whole`)}
rm ${quote(`${draft}.tar`)}
rm -rf ${quote(copy)}
mv ${quote(`${draft}.new`)} ${quote(copy)}`);
}

/** The stream's bytes in pieces of one size; the last is smaller. */
async function* pieces(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let list: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    list.push(chunk);
    bytes += chunk.length;
    if (bytes < piece) continue;
    yield Buffer.concat(list);
    [list, bytes] = [[], 0];
  }
  if (bytes > 0) yield Buffer.concat(list);
}
