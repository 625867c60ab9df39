import { IpvsPlane } from '../../../src/engines/director/planes/ipvs.ts';
import type { AgentConfig, Table } from '../../../src/engines/director/tables.ts';
import { orders } from './orders.ts';

/** The plane in its place, without an agent around it. */
let plane: IpvsPlane;

orders({
  open: async (config: AgentConfig) => {
    plane = new IpvsPlane(config);
    await plane.open();
  },
  apply: (tables: Table[]) => plane.apply(tables),
  connections: () => plane.connections(),
  drift: () => plane.drift(),
  reset: (listen: string, server: string) => plane.reset(listen, server),
  close: () => plane.close(),
});
