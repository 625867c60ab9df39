import type { Finding } from '../../engine.ts';

/** What a rule says; whose service it is goes without saying. */
export type Found = Omit<Finding, 'service'>;
