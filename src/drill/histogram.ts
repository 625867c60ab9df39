/**
 * Counts of whole numbers in buckets whose width grows with the value, as HdrHistogram does it: exact below
 * 2^(bits+1), within 1/2^bits above, in memory that does not grow with what is counted.
 */
export class Histogram {
  total = 0;
  max = 0;
  #bits: number;
  #counts: Uint32Array;

  /** 7 bits: within 0.8%, 16 KB; 4 bits: within 6.3%, 2 KB. */
  constructor(bits: 4 | 7) {
    this.#bits = bits;
    // Values up to 2^37 microseconds (38 hours); longer ones count as that.
    this.#counts = new Uint32Array((38 - bits) << bits);
  }

  add(value: number): void {
    const index = this.#indexOf(value);
    this.#counts[index] = this.#counts[index]! + 1;
    this.total++;
    if (value > this.max) this.max = value;
  }

  /** Takes in what another with the same bits has counted. */
  merge(other: Histogram): void {
    if (other.total === 0) return;
    for (let i = 0; i < this.#counts.length; i++) this.#counts[i] = this.#counts[i]! + other.#counts[i]!;
    this.total += other.total;
    this.max = Math.max(this.max, other.max);
  }

  clear(): void {
    if (this.total === 0) return;
    this.#counts.fill(0);
    this.total = 0;
    this.max = 0;
  }

  /** The middle of the bucket that the q-th share falls in (nearest rank), never above the largest value counted; null when nothing was. */
  quantile(q: number): number | null {
    if (this.total === 0) return null;
    let left = Math.max(1, Math.ceil(q * this.total));
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]!;
      if (left <= 0) return Math.min(this.#middle(i), this.max);
    }
    return this.max;
  }

  #indexOf(value: number): number {
    const exact = 2 << this.#bits;
    if (value < exact) return value < 0 ? 0 : value;
    const shift = Math.min(36, Math.floor(Math.log2(value))) - this.#bits;
    const within = Math.min(exact - 1, Math.floor(value / 2 ** shift));
    return (shift << this.#bits) + within;
  }

  #middle(index: number): number {
    const exact = 2 << this.#bits;
    if (index < exact) return index;
    const shift = (index >> this.#bits) - 1;
    const within = index - (shift << this.#bits);
    return within * 2 ** shift + Math.floor((2 ** shift - 1) / 2);
  }
}
