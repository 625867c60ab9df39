import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { sshName } from '../file/ssh.ts';
import { type Host, HostUnreachable, type Reach } from './host.ts';
import { LabHost } from './lab/lab-host.ts';
import { SshHost } from './ssh/ssh-host.ts';
import { openTunnel } from './ssh/tunnel.ts';

/**
 * How the control machine gets at the cluster's hosts: those of a lab are one hop away, over the cluster's uplink; real machines are
 * reached by ssh, their ports through it as well.
 */
export function reachOf(cluster: Cluster): Reach {
  const hosts = new Map<string, Host>();
  const tunnels = new Map<string, Promise<{ host: string; port: number }>>();
  const entryOf = (name: string): HostEntry => {
    const entry = cluster.hosts[name] ?? cluster.former?.[name];
    if (entry === undefined) throw new Error(`${name} is not a host of cluster ${cluster.name}`);
    return entry;
  };
  const host = (name: string): Host => {
    const known = hosts.get(name);
    if (known) return known;
    const entry = entryOf(name);
    const made =
      entry.ssh === undefined
        ? new LabHost(cluster, name)
        : new SshHost(name, cluster.home, sshName(entry.ssh).destination);
    hosts.set(name, made);
    return made;
  };
  return {
    host,
    async connect(name, port, timeoutMs) {
      const at = host(name);
      const { address } = entryOf(name);
      return at instanceof SshHost
        ? at.forward(address, port, timeoutMs)
        : dial(name, address, port, timeoutMs);
    },
    async endpoint(name, port) {
      const at = host(name);
      const { address } = entryOf(name);
      if (!(at instanceof SshHost)) return { host: address, port };
      const key = `${name}:${port}`;
      const tunnel = tunnels.get(key) ?? openTunnel(at, address, port);
      tunnels.set(key, tunnel);
      return tunnel;
    },
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
