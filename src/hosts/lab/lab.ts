import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Cluster } from '../../file/cluster.ts';
import { type Host, HostUnreachable, type Reach } from '../host.ts';
import { machine } from '../machine.ts';
import { LabHost } from './lab-host.ts';
import { removeNetwork } from './network.ts';
import { type LabObserved, observeLab } from './observe.ts';
import { type LabPlan, planLab } from './plan.ts';

export { LabHost } from './lab-host.ts';
export { type LabHostObserved, type LabObserved, observeLab, type Taken } from './observe.ts';
export { type LabPlan, planLab } from './plan.ts';
export { needRoot } from './root.ts';

/** The lab as the floors above see it. */
export interface Lab {
  /** What exists of the cluster on this machine; changes nothing. */
  observe(cluster: Cluster): Promise<LabObserved>;
  /** What is to be done so that it is as the file says. Pure. */
  plan(cluster: Cluster, observed: LabObserved): LabPlan;
  /** Takes all of it away; its members' files only with `purge`. */
  destroy(cluster: Cluster, options?: { purge?: boolean }): Promise<void>;
  reach(cluster: Cluster): Reach;
}

export const lab: Lab = { observe: observeLab, plan: planLab, destroy: destroyLab, reach: reachLab };

/**
 * Powers off and removes every host of the cluster and its network, whatever the file says of them today: afterwards no
 * process, namespace, link, mount or name of it is left. Members' files stay unless `purge`. Nothing there: nothing done.
 */
export async function destroyLab(cluster: Cluster, options: { purge?: boolean } = {}): Promise<void> {
  const { hosts } = await observeLab(cluster);
  const names = new Set([...Object.keys(hosts), ...labHosts(cluster)]);
  const { exit, stderr } = await machine.run(removeNetwork(cluster, [...names], options.purge ?? false), {
    timeoutMs: 120_000,
  });
  if (exit !== 0)
    throw new Error(`the lab of cluster ${cluster.name} could not be removed: ${stderr.trim()}`);
}

/** How the machine gets at the lab: its hosts' addresses are one hop away, over the uplink. */
export function reachLab(cluster: Cluster): Reach {
  const hosts = new Map<string, Host>(labHosts(cluster).map((name) => [name, new LabHost(cluster, name)]));
  const address = (name: string) => {
    const entry = cluster.hosts[name];
    if (entry === undefined) throw new Error(`${name} is not a host of cluster ${cluster.name}`);
    return entry.address;
  };
  return {
    host(name) {
      const host = hosts.get(name);
      if (host === undefined) throw new Error(`${name} is not a lab host of cluster ${cluster.name}`);
      return host;
    },
    connect: (name, port, timeoutMs) => dial(name, address(name), port, timeoutMs),
    endpoint: async (name, port) => ({ host: address(name), port }),
  };
}

function labHosts(cluster: Cluster): string[] {
  return Object.values(cluster.hosts)
    .filter((host) => host.kind === 'lab')
    .map((host) => host.name);
}

function dial(name: string, host: string, port: number, timeoutMs: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host, port });
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
