import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** What the figures were measured on. */
export interface Facts {
  at: string;
  cores: number;
  processor: string;
  memoryMb: number;
  kernel: string;
  system: string;
  node: string;
  /** One-minute load average when the run began. */
  load: number;
}

/** Above this, others are at work, and figures are not to be believed. */
export const quietLoad = 1;

export function facts(): Facts {
  return {
    at: new Date().toISOString(),
    cores: cpus().length,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    memoryMb: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    system: systemName(),
    node: process.version,
    load: loadavg()[0]!,
  };
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export const factsLine = (found: Facts): string =>
  `${found.cores} cores (${found.processor}), ${found.memoryMb} MB, Linux ${found.kernel}, ${found.system}, Node ${found.node}; load average at start ${found.load.toFixed(2)}`;
