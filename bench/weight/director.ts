import { execFileSync } from 'node:child_process';
import { NftablesPlane } from '../../src/engines/director/planes/nftables.ts';
import type { AgentConfig, Listen, Table } from '../../src/engines/director/tables.ts';
import { orders } from '../../tests/lab/wire/orders.ts';

/** The plane alone in its namespace, with as many real servers as it is told. */
let plane: NftablesPlane;
let listens: Listen[] = [];

/** Tables as the agent would hold them: each listen is one object for ever. */
function tables(weightOf: (index: number) => number): Table[] {
  return listens.map((listen) => ({
    listen,
    servers: listen.servers.map((server, i) => ({ server, weight: weightOf(i), up: true, sorry: false })),
  }));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** What each server has in the kernel's slot maps, counted: slots of a server -> how many servers have so many. */
function shares(): Record<number, number> {
  const listing = execFileSync('nft', ['-nn', 'list', 'ruleset'], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const slots = new Map<string, number>();
  for (const [, elements] of listing.matchAll(/map slots_\S+ \{[^{]*elements = \{([^}]*)\}/g))
    for (const [, mark] of elements!.matchAll(/: (?:0x)?([0-9a-f]+)/g))
      slots.set(mark!, (slots.get(mark!) ?? 0) + 1);
  const found: Record<number, number> = {};
  for (const count of slots.values()) found[count] = (found[count] ?? 0) + 1;
  return found;
}

orders({
  open: async (config: AgentConfig) => {
    plane = new NftablesPlane(config);
    await plane.open();
  },
  /** Loads virtual services on these ports with `count` real servers each, weights 1 to `most` in turn; milliseconds. */
  load: (model: Listen, ports: number[], count: number, most: number) => {
    listens = ports.map((port) => ({
      ...model,
      name: `tcp-${port}`,
      ports: [port, port],
      servers: Array.from({ length: count }, (_, i) => ({
        name: `web@app${i}`,
        host: `app${i}`,
        address: `10.96.${100 + Math.floor(i / 250)}.${(i % 250) + 1}`,
        port: 8080,
        checkPort: 8080,
        weight: (i % most) + 1,
      })),
    }));
    return timed(() => plane.apply(tables((i) => (i % most) + 1)));
  },
  /** One server's weight in every virtual service, all others 1; milliseconds until the kernel has it. */
  weight: (index: number, weight: number) =>
    timed(() => plane.apply(tables((i) => (i === index ? weight : 1)))),
  shares,
  close: () => plane.close(),
});
