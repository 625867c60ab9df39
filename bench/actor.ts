import { Actor } from '../tests/lab/wire.ts';
import type { Stage } from './stage.ts';

/** A program of this folder that takes orders, run by the words before it (`ip netns exec NAME`). */
export function actor(stage: Stage, before: [string, string[]], script: string, ...args: string[]): Actor {
  const [command, words] = before;
  const path = new URL(script, import.meta.url).pathname;
  return new Actor(stage.start(command, [...words, process.execPath, path, ...args]), script);
}
