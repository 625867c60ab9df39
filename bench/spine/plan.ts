import { readFileSync } from 'node:fs';
import type { Observed } from '../../src/cluster/observe.ts';
import { plan } from '../../src/cluster/plan.ts';
import { engines } from '../../src/engines/index.ts';
import { parseCluster } from '../../src/file/read.ts';

/** Parses and plans the file named, in a process that has done neither before, as the command does. Prints milliseconds. */
const [file] = process.argv.slice(2);
const text = readFileSync(file!, 'utf8');
const state = { home: '/nowhere', addresses: {}, secrets: { 'front/sync': 'secret' }, releases: {} };

const began = performance.now();
const cluster = parseCluster(text, file!, engines, state);
const parsed = performance.now();
/** A machine on which nothing of the cluster is there: the longest plan that there can be. */
const nothing: Observed = {
  lab: {
    network: { present: false, uplink: false, hostsFile: false, partitioned: false },
    hosts: {},
    disks: {},
  },
  members: new Map(),
  settings: { ok: {}, remembered: {} },
  unreachable: Object.fromEntries(Object.keys(cluster.hosts).map((host) => [host, 'not up'])),
  refusing: {},
  lying: {},
  missingPackages: [],
  handed: {},
  machines: {},
  live: {},
};
const { steps, refusals } = plan(cluster, engines, nothing);
const planned = performance.now();
if (refusals.length > 0) throw new Error(refusals.join('\n'));
console.log(
  JSON.stringify({
    parse: parsed - began,
    plan: planned - parsed,
    members: Object.values(cluster.services).reduce((sum, { hosts }) => sum + hosts.length, 0),
    steps: steps.length,
  }),
);
