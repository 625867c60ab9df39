/** A server as ZooKeeper's dynamic configuration has it. */
export interface Server {
  /** myid: kept for life. */
  id: number;
  role: 'participant' | 'observer';
  address: string;
  peerPort: number;
  electionPort: number;
  /** Port for clients. */
  port: number;
}

/** The members of an ensemble. ZooKeeper keeps them itself, in /zookeeper/config and in a file on each server. */
export interface Ensemble {
  /** The zxid of the change that made it; 0 before the first election. */
  version: bigint;
  servers: Server[];
}

const linePattern = /^server\.(\d+)=([^:;]+):(\d+):(\d+)(?::(participant|observer))?(?:;(?:[^:;]+:)?(\d+))?$/;

/** The text of one server (Administrator's Guide, "Dynamic Reconfiguration"): server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181 */
export const serverLine = (server: Server): string =>
  `server.${server.id}=${server.address}:${server.peerPort}:${server.electionPort}:${server.role};${server.address}:${server.port}`;

/** The text of a dynamic configuration file. */
export const ensembleText = (servers: Server[]): string =>
  servers.map((server) => `${serverLine(server)}\n`).join('');

/** Reads a dynamic configuration, one entry a word. Words that are none are left out; `version` is hexadecimal, as ZooKeeper writes it. */
export function parseEnsemble(text: string, version = '0'): Ensemble {
  const servers: Server[] = [];
  let own = version;
  for (const word of text.split(/\s+/)) {
    if (word.startsWith('version=')) own = word.slice('version='.length);
    const found = linePattern.exec(word);
    if (!found) continue;
    const [, id, address, peerPort, electionPort, role, port] = found;
    servers.push({
      id: Number(id),
      role: role === 'observer' ? 'observer' : 'participant',
      address: address!,
      peerPort: Number(peerPort),
      electionPort: Number(electionPort),
      port: Number(port ?? 0),
    });
  }
  return { version: BigInt(`0x${/^[0-9a-f]+$/i.test(own) ? own : '0'}`), servers };
}

export const votersOf = (servers: Server[]): Server[] =>
  servers.filter((server) => server.role === 'participant');

/** Votes that a decision takes. */
export const majority = (voters: number): number => Math.floor(voters / 2) + 1;
