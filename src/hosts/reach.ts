import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { type Host, HostUnreachable, type Reach } from './host.ts';
import { LabHost } from './lab/lab-host.ts';

/** How the control machine gets at the cluster's hosts: those of a lab are one hop away, over the cluster's uplink. */
export function reachOf(cluster: Cluster): Reach {
  const hosts = new Map<string, Host>();
  const entryOf = (name: string): HostEntry => {
    const entry = cluster.hosts[name] ?? cluster.former?.[name];
    if (entry === undefined) throw new Error(`${name} is not a host of cluster ${cluster.name}`);
    if (entry.kind !== 'lab')
      throw new HostUnreachable(name, 'is an ssh host, which this version cannot reach');
    return entry;
  };
  return {
    host(name) {
      const known = hosts.get(name) ?? new LabHost(cluster, entryOf(name).name);
      hosts.set(name, known);
      return known;
    },
    connect: async (name, port, timeoutMs) => dial(name, entryOf(name).address, port, timeoutMs),
    endpoint: async (name, port) => ({ host: entryOf(name).address, port }),
  };
}

function dial(name: string, host: string, port: number, timeoutMs: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const fail = (why: string) => {
      socket.destroy();
      reject(new HostUnreachable(name, `port ${port}: ${why}`));
    };
    socket.setTimeout(timeoutMs, () => fail(`no connection within ${timeoutMs} ms`));
    socket.once('error', (error) => fail(error.message));
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeAllListeners('timeout').removeAllListeners('error');
      resolve(socket);
    });
  });
}
