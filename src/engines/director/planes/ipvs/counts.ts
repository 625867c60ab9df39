import { parseAddress } from '../../../../file/addresses.ts';

/** What `ipvsadm -Ln` says of a server: by its virtual service's words and its own. */
export interface Count {
  at: string;
  server: string;
  active: number;
  inactive: number;
}

/** The servers of `ipvsadm -Ln` with their connections. */
export function parseCounts(text: string): Count[] {
  const counts: Count[] = [];
  let at = '';
  for (const line of text.split('\n')) {
    const head = /^(TCP|UDP|FWM)\s+(\S+)(?:\s+(IPv6))?\s/.exec(line);
    if (head) {
      const kind = { TCP: '-t', UDP: '-u', FWM: '-f' }[head[1] as 'TCP'];
      at = `${kind} ${head[2]}${head[3] ? ' -6' : ''}`;
      continue;
    }
    const server = /^\s+->\s+(\S+)\s+\S+\s+\d+\s+(\d+)\s+(\d+)/.exec(line);
    if (server)
      counts.push({ at, server: server[1]!, active: Number(server[2]), inactive: Number(server[3]) });
  }
  return counts;
}

/** A connection of /proc/net/ip_vs_conn, addresses as numbers are printed in it made plain. */
export interface Tie {
  proto: 'tcp' | 'udp';
  client: string;
  clientPort: number;
  vip: string;
  port: number;
  server: string;
  serverPort: number;
  state: string;
}

/** The connections of /proc/net/ip_vs_conn, without the templates of persistence (client port 0). */
export function parseTies(text: string): Tie[] {
  return text.split('\n').flatMap((line): Tie[] => {
    const [proto, client, clientPort, vip, port, server, serverPort, state] = line.trim().split(/\s+/);
    if ((proto !== 'TCP' && proto !== 'UDP') || state === undefined || clientPort === '0000') return [];
    const [from, to, by] = [client!, vip!, server!].map(addressOf) as [string, string, string];
    const number = (hex: string | undefined): number => Number.parseInt(hex!, 16);
    return [
      {
        proto: proto === 'TCP' ? 'tcp' : 'udp',
        client: from,
        clientPort: number(clientPort),
        vip: to,
        port: number(port),
        server: by,
        serverPort: number(serverPort),
        state,
      },
    ];
  });
}

/** `0A4E0064` or `[fd78:0000:...]`, which is how this file writes addresses. */
function addressOf(text: string): string {
  if (!/^[0-9A-F]{8}$/i.test(text)) {
    const plain = text.replace(/[[\]]/g, '');
    return parseAddress(plain) === undefined ? plain : new URL(`http://[${plain}]/`).hostname.slice(1, -1);
  }
  return [0, 2, 4, 6].map((at) => Number.parseInt(text.slice(at, at + 2), 16)).join('.');
}
