import type { Model } from '../history.ts';
import type { Checker } from './checker.ts';
import { CounterChecker } from './counter.ts';
import { LogChecker } from './log.ts';
import { QueueChecker } from './queue.ts';
import { RegisterChecker } from './register.ts';
import { RequestChecker } from './request.ts';
import { SetChecker } from './set.ts';

/** The checker of each model; `groups` are those whose authority must have been read in the end. */
export const checkers: Record<Model, new (groups: string[]) => Checker> = {
  set: SetChecker,
  log: LogChecker,
  queue: QueueChecker,
  counter: CounterChecker,
  register: RegisterChecker,
  request: RequestChecker,
};
