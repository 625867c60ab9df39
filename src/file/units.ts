import { z } from 'zod';

const durationPattern = /^(0|\d+(\.\d+)?(ms|s|m|h))$/;
const durationUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** Timers of Node and of the kernel's sets hold at least this: 500 hours. */
const longest = 500 * 3_600_000;

/** Milliseconds of `300ms`, `2s`, `1.5m`, `1h` or `0`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (!durationPattern.test(text)) return undefined;
  const unit = /[a-z]+$/.exec(text)?.[0] ?? 'ms';
  return Math.round(Number.parseFloat(text) * durationUnits[unit]!);
}

/** Milliseconds as a person writes them: 300 -> `300ms`, 120000 -> `2m`. */
export function durationText(ms: number): string {
  if (ms === 0) return '0';
  for (const unit of ['h', 'm', 's'])
    if (ms % durationUnits[unit]! === 0) return `${ms / durationUnits[unit]!}${unit}`;
  return `${ms}ms`;
}

/** A duration in the file, milliseconds after parsing. Limits are milliseconds, inclusive. Give a default with `.prefault('2s')`. */
export function duration(limits: { min?: number; max?: number } = {}) {
  const { min = 0, max = longest } = limits;
  const form = 'not a duration: write for example 300ms, 2s, 5m, 1h or 0';
  const error = (issue: { input?: unknown }) => {
    if (issue.input === undefined) return undefined;
    if (typeof issue.input === 'number' && issue.input > 0)
      return `${issue.input} has no unit: write ${issue.input}ms or ${issue.input}s`;
    return form;
  };
  return z
    .union([z.string().regex(durationPattern, form), z.literal(0)], { error })
    .transform((written, context) => {
      const ms = parseDuration(String(written)) ?? 0;
      const wrong =
        ms < min
          ? `too short: at least ${durationText(min)}`
          : ms > max
            ? `too long: at most ${durationText(max)}`
            : undefined;
      if (wrong === undefined) return ms;
      context.issues.push({ code: 'custom', message: `${written} is ${wrong}`, input: written });
      return z.NEVER;
    });
}

const sizePattern = /^\d+(\.\d+)?([kKmMgG][bB]?|[bB])$/;
const sizeUnits: Record<string, number> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Bytes of `64k`, `256mb`, `1gb` or `512b`; each step is 1024, with or without the b. Undefined for anything else. */
export function parseSize(text: string): number | undefined {
  if (!sizePattern.test(text)) return undefined;
  const unit = /[a-z]/i.exec(text)![0].toLowerCase();
  return Math.round(Number.parseFloat(text) * sizeUnits[unit]!);
}

/** Bytes as a person writes them: 268435456 -> `256mb`. */
export function sizeText(bytes: number): string {
  for (const unit of ['g', 'm', 'k'])
    if (bytes > 0 && bytes % sizeUnits[unit]! === 0) return `${bytes / sizeUnits[unit]!}${unit}b`;
  return `${bytes}b`;
}

/** A size in the file, bytes after parsing; a plain number is bytes. Limits are bytes, inclusive. Give a default with `.prefault('256mb')`. */
export function size(limits: { min?: number; max?: number } = {}) {
  const { min = 0, max = 2 ** 50 } = limits;
  const form = 'not a size: write for example 64k, 256mb or 1gb';
  const error = (issue: { input?: unknown }) => (issue.input === undefined ? undefined : form);
  return z
    .union([z.string().regex(sizePattern, form), z.int().min(0)], { error })
    .transform((written, context) => {
      const bytes = typeof written === 'number' ? written : (parseSize(written) ?? 0);
      const wrong =
        bytes < min
          ? `too small: at least ${sizeText(min)}`
          : bytes > max
            ? `too large: at most ${sizeText(max)}`
            : undefined;
      if (wrong === undefined) return bytes;
      context.issues.push({ code: 'custom', message: `${written} is ${wrong}`, input: written });
      return z.NEVER;
    });
}

/** A TCP or UDP port. */
export const port = z.int().min(1).max(65535);

/** Text that becomes part of a command line or a configuration: not empty, no NUL (no process can be given one). */
export const text = z
  .string()
  .refine((value) => value.trim() !== '', 'must not be empty')
  .refine((value) => !value.includes('\0'), 'must not hold a NUL character');

/** Text on one line, for what is rendered into line-based configurations. */
export const line = text.refine((value) => !/[\r\n]/.test(value), 'must be one line');
