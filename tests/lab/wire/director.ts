import { NftablesPlane } from '../../../src/engines/director/planes/nftables.ts';
import type { AgentConfig, Flow, Listen, RealServer, Table } from '../../../src/engines/director/tables.ts';
import { orders } from './orders.ts';

/** The plane in its place, without an agent around it. */
let plane: NftablesPlane;

/** A table of that many servers, as the agent would hold it: the listen is one object for ever. */
let crowd: Listen;
function crowded(change?: [index: number, weight: number]): Table[] {
  const servers = crowd.servers.map((server, i) => ({
    server,
    weight: change?.[0] === i ? change[1] : 1,
    up: true,
    sorry: false,
  }));
  return [{ listen: crowd, servers }];
}

orders({
  open: async (config: AgentConfig) => {
    plane = new NftablesPlane(config);
    await plane.open();
  },
  apply: (tables: Table[]) => plane.apply(tables),
  crowd: (listen: Listen, count: number) => {
    const servers: RealServer[] = Array.from({ length: count }, (_, i) => ({
      name: `web@app${i}`,
      host: `app${i}`,
      address: `10.${80 + Math.floor(i / 62500)}.${Math.floor(i / 250) % 250}.${(i % 250) + 1}`,
      port: 8080,
      checkPort: 8080,
      weight: 1,
    }));
    crowd = { ...listen, servers };
    return plane.apply(crowded());
  },
  crowdWeight: (index: number, weight: number) => plane.apply(crowded([index, weight])),
  connections: () => plane.connections(),
  countedInMs: () => plane.countedInMs,
  flows: () => plane.flows(),
  adopt: (flows: Flow[]) => plane.adopt(flows),
  reset: (listen: string, server: string) => plane.reset(listen, server),
  close: () => plane.close(),
});
