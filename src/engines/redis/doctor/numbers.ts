/** 1234567 -> '1.2 MB'. */
export function bytes(count: number): string {
  const [unit, size] =
    count >= 2 ** 30 ? ['GB', 2 ** 30] : count >= 2 ** 20 ? ['MB', 2 ** 20] : ['kB', 2 ** 10];
  return `${(count / size).toFixed(1)} ${unit}`;
}

/** 1234567 -> '1,234,567'. */
export const count = (value: number): string => Math.round(value).toLocaleString('en');

/** 1234 microseconds -> '1.2 ms'. */
export const micros = (us: number): string =>
  us >= 1e6 ? `${(us / 1e6).toFixed(1)} s` : `${(us / 1e3).toFixed(1)} ms`;

export const percent = (used: number, of: number): string => `${Math.round((100 * used) / of)}%`;

/** The next size that is worth writing down: twice as much, in whole megabytes. */
export const twice = (size: number): string => `${Math.max(1, Math.ceil((2 * size) / 2 ** 20))}mb`;
