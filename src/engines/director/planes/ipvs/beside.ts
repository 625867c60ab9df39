import { listTables, transact } from '../nftables/nft.ts';
import { besideTable } from './wanted.ts';

/** The nftables table that IPVS needs beside it, as the kernel has it. Its lines are those of `beside` in wanted.ts. */
export class Beside {
  readonly name: string;
  readonly #say: (line: string) => void;
  #lines: string[] | undefined;
  /** Whether the kernel's table is that of the lines, as far as is known. */
  made = false;

  /** `say` is told of what `mend` notices. */
  constructor(director: string, say: (line: string) => void) {
    this.name = besideTable(director);
    this.#say = say;
  }

  /** Makes the table that of the lines. Does nothing where these have made it. */
  async make(lines: string[]): Promise<void> {
    if (this.made && lines.join('\n') === this.#lines?.join('\n')) return;
    this.#lines = lines;
    this.made = false;
    await transact(lines);
    this.made = true;
  }

  /** Makes it again where somebody else has removed it, as a restart of nftables.service does (Debian's flushes every table of a host). */
  async mend(): Promise<void> {
    const lines = this.#lines;
    if (!lines?.some((line) => line.startsWith('add chain '))) return;
    if (this.made && !(await listTables()).has(`inet ${this.name}`)) {
      this.made = false;
      this.#say('ipvs: the nftables table beside it had been removed by somebody else, and is made again');
    }
    await this.make(lines);
  }

  async remove(): Promise<void> {
    this.#lines = undefined;
    this.made = false;
    // Deleting what is not there is an error to nft 1.0.6; adding what is there is not.
    await transact([`add table inet ${this.name}`, `delete table inet ${this.name}`]);
  }
}
