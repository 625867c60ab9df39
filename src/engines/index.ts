import { app } from './app/index.ts';
import { director } from './director/index.ts';
import type { Engine } from './engine.ts';
import { kafka } from './kafka/index.ts';
import { rabbitmq } from './rabbitmq/index.ts';
import { redis } from './redis/index.ts';
import { storage } from './storage/index.ts';
import { zookeeper } from './zookeeper/index.ts';

const engineOf = (type: string): Engine => {
  const engine = engines[type];
  if (!engine) throw new Error(`there is no engine ${type}`);
  return engine;
};

/** Every type that a service may have. A new engine is a folder beside this file, and a line here. */
export const engines: Record<string, Engine> = {
  app: app(engineOf),
  director: director(engineOf),
  zookeeper,
  kafka,
  redis,
  rabbitmq,
  storage,
};
