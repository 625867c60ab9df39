import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The file that keepalived watches (weight 0): '0' once this host has tables, '1' while it has none and must not own the VIP. */
export const fitFile = 'fit';
/** What `fit` was said of: see `hostNow`. */
export const fitHostFile = 'fit.host';

/**
 * What no table outlives: the kernel's boot, process 1 (a lab's host, or a container, boots without the kernel; ticks since the
 * kernel's boot, proc(5)) and the network namespace. What cannot be read is empty. `hostNowSh` in vrrp.ts says the same.
 */
export function hostNow(): string {
  const boot = () => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  const began = () => {
    const first = readFileSync('/proc/1/stat', 'latin1');
    return first.slice(first.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  };
  return [boot, began, () => readlinkSync('/proc/self/ns/net')].map(orEmpty).join(' ');
}

function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** Tells keepalived whether this host may own the VIPs. `folder` is the agent's. */
export class Fit {
  readonly #folder: string;
  #declared = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What an earlier agent said holds while its host runs: packets go on without one. After a boot there are no tables. */
  begin(): void {
    const here = `${hostNow()}\n`;
    if (this.#said(fitFile) !== undefined && this.#said(fitHostFile) === here) return;
    this.#say(fitFile, '1\n');
    this.#say(fitHostFile, here);
  }

  /** The tables are made. */
  declare(): void {
    this.#declared = true;
    this.keep();
  }

  /** Says again what was declared, where somebody else has said otherwise: keepalived, which was started at the same moment. */
  keep(): void {
    if (this.#declared && this.#said(fitFile) !== '0\n') this.#say(fitFile, '0\n');
  }

  /** The tables are about to go. */
  withdraw(): void {
    this.#declared = false;
    this.#say(fitFile, '1\n');
  }

  #said(name: string): string | undefined {
    try {
      return readFileSync(join(this.#folder, name), 'utf8');
    } catch {
      return undefined;
    }
  }

  /** A disk that is full must not keep packets from being served. */
  #say(name: string, text: string): void {
    try {
      writeFileSync(join(this.#folder, name), text);
    } catch (error) {
      console.error(`${name}: ${(error as Error).message}`);
    }
  }
}
