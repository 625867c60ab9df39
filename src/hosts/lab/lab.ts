import type { Cluster } from '../../file/cluster.ts';
import { machine } from '../machine.ts';
import { elsewhereText, removeNetwork } from './network.ts';
import { type LabObserved, observeLab } from './observe.ts';
import { type LabPlan, planLab } from './plan.ts';

export { LabHost } from './lab-host.ts';
export { elsewhereText } from './network.ts';
export type { LabHostObserved, LabObserved, Taken } from './observe.ts';
export { type LabPlan, planLab } from './plan.ts';
export { needRoot } from './root.ts';

/** The lab of this machine as the floors above see it. */
export class Lab {
  /** What exists of the cluster on this machine; changes nothing. */
  observe(cluster: Cluster): Promise<LabObserved> {
    return observeLab(cluster);
  }

  /** What is to be done so that it is as the file says. Pure. */
  plan(cluster: Cluster, observed: LabObserved): LabPlan {
    return planLab(cluster, observed);
  }

  /**
   * Powers off and removes every host of the cluster and its network, whatever the file says of them today: afterwards no
   * process, namespace, link, mount or name of it is left. Members' files stay unless `purge`. Nothing there: nothing done. Rejects where the lab of this
   * name is another home's; that of a cluster without lab hosts is no concern of its.
   */
  async destroy(cluster: Cluster, options: { purge?: boolean } = {}): Promise<void> {
    const { hosts, elsewhere } = await observeLab(cluster);
    const inFile = Object.values(cluster.hosts).filter((host) => host.kind === 'lab');
    if (elsewhere !== undefined && inFile.length === 0) return;
    if (elsewhere !== undefined) throw new Error(elsewhereText(cluster, elsewhere));
    const names = new Set([...Object.keys(hosts), ...inFile.map((host) => host.name)]);
    const script = removeNetwork(cluster, [...names], options.purge ?? false);
    const { exit, stderr } = await machine.run(script, { timeoutMs: 120_000 });
    if (exit !== 0)
      throw new Error(`the lab of cluster ${cluster.name} could not be removed: ${stderr.trim()}`);
  }
}
