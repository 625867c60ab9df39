import { type Range, slotsIn } from './slots.ts';

/** A line of CLUSTER NODES. */
export interface ClusterNode {
  id: string;
  address: string;
  port: number;
  flags: Set<string>;
  /** Id of its master, for a replica. */
  master?: string;
  epoch: number;
  linked: boolean;
  slots: Range[];
  /** Open slots, told by the node itself only: slot -> id of the node that it goes to or comes from. */
  migrating: Map<number, string>;
  importing: Map<number, string>;
}

/** Parses CLUSTER NODES (Redis documentation of the command: "Serialization format"). */
export function parseNodes(text: string): ClusterNode[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [id = '', at = '', flags = '', master = '-', , , epoch = '0', link = '', ...slots] =
        line.split(' ');
      const [place = ''] = at.split('@');
      const colon = place.lastIndexOf(':');
      const node: ClusterNode = {
        id,
        address: place.slice(0, colon),
        port: Number(place.slice(colon + 1)),
        flags: new Set(flags.split(',')),
        ...(master === '-' ? {} : { master }),
        epoch: Number(epoch),
        linked: link === 'connected',
        slots: [],
        migrating: new Map(),
        importing: new Map(),
      };
      for (const word of slots) {
        const open = /^\[(\d+)-([<>])-([0-9a-f]+)\]$/.exec(word);
        if (open) (open[2] === '>' ? node.migrating : node.importing).set(Number(open[1]), open[3]!);
        else {
          const [from = '', to = from] = word.split('-');
          node.slots.push([Number(from), Number(to)]);
        }
      }
      return node;
    });
}

export const slotsOf = (node: ClusterNode): number[] => slotsIn(node.slots);
