import type { Scheduler } from '../tables.ts';

/** What haproxy says for each scheduler that it can hold; `fo` is done by its weights. The file's rules and the plane both go by this. */
export const haproxyBalance: Partial<Record<Scheduler, string[]>> = {
  rr: ['balance roundrobin'],
  wrr: ['balance roundrobin'],
  fo: ['balance roundrobin'],
  lc: ['balance leastconn'],
  wlc: ['balance leastconn'],
  sh: ['balance source', 'hash-type consistent'],
  mh: ['balance source', 'hash-type consistent'],
};
