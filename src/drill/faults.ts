import type { DrillTarget } from '../engines/drill.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { stepClock } from '../hosts/lab/clock.ts';
import { cableIsCut, droppedFrames, isFrozen, isNarrowed, isPoweredOff } from '../hosts/lab/evidence.ts';
import {
  cutCable,
  deafen,
  freeze,
  lose,
  machineSide,
  mendCable,
  mendNetwork,
  partition,
  powerOff,
  powerOn,
  slow,
  thaw,
  widen,
} from '../hosts/lab/faults.ts';
import { clockIsAhead } from './clock.ts';
import { diskIsFull, fillDisk, freeDisk } from './disk.ts';
import { signalled, signalMember } from './signals.ts';

/** Where a fault strikes, and the way there. */
export interface Scene {
  cluster: Cluster;
  service: Service;
  reach: Reach;
  target: DrillTarget;
}

/** Something that happens to a host or a member. Each of its functions may be repeated. */
export interface Fault {
  /** In a sentence: 'SIGKILL to the member'. */
  does: string;
  /** Strikes the member, so a role that is a host's alone will not do. */
  member?: true;
  /** Needs the lab's switch or power button: cannot be done to a machine reached over ssh. */
  lab?: true;
  /** Needs a disk or a wall clock that nobody else uses: a lab host has this machine's unless the file gives it one. */
  own?: 'disk' | 'clock';
  /** Over at once: nothing stands that could be healed, and --for says how long it is repeated. */
  momentary?: true;
  /** Struck again this often for as long as the fault lasts, milliseconds. */
  everyMs?: number;
  /** Resolves when it has been done; gives what `evidence` needs to know of it. */
  inject(scene: Scene): Promise<unknown>;
  /** Proof that it took effect, or undefined for as long as there is none. */
  evidence(scene: Scene, injected: unknown): Promise<unknown>;
  heal(scene: Omit<Scene, 'service'>): Promise<void>;
}

const network = { lab: true } as const;
const onMember = { member: true } as const;
/** Longer than anything here waits for anybody, seconds. */
const stepS = 60;
const nothingToHeal = async (): Promise<void> => {};

/** Every fault by its verb; a drill's fault is VERB-ROLE, as kill-master. */
export const faults: Record<string, Fault> = {
  kill: {
    ...onMember,
    momentary: true,
    does: 'SIGKILL to the member and all that it started; its supervisor starts it again',
    inject: (scene) => signalMember(scene, 'KILL'),
    evidence: (scene, injected) => signalled(scene, 'KILL', injected),
    heal: nothingToHeal,
  },
  restart: {
    ...onMember,
    momentary: true,
    everyMs: 1_500,
    does: 'SIGKILL to the member, again and again',
    inject: (scene) => signalMember(scene, 'KILL'),
    evidence: (scene, injected) => signalled(scene, 'KILL', injected),
    heal: nothingToHeal,
  },
  freeze: {
    ...onMember,
    does: 'SIGSTOP to the member and all that it started: its connections stay open and say nothing',
    inject: (scene) => signalMember(scene, 'STOP'),
    evidence: (scene, injected) => signalled(scene, 'STOP', injected),
    heal: async (scene) => void (await signalMember(scene, 'CONT')),
  },
  'full-disk': {
    ...onMember,
    own: 'disk',
    does: 'every free block of the disk that the member is on taken',
    inject: fillDisk,
    evidence: diskIsFull,
    heal: freeDisk,
  },
  clock: {
    ...network,
    own: 'clock',
    does: `the wall clock of the host set ${stepS} s ahead, and back when it is healed`,
    inject: ({ cluster, target }) => stepClock(cluster, target.host, stepS),
    evidence: (scene) => clockIsAhead(scene, stepS),
    heal: ({ cluster, target }) => stepClock(cluster, target.host, 0),
  },
  'freeze-host': {
    ...network,
    does: 'every process of the host stopped; its kernel still answers',
    inject: ({ cluster, target }) => freeze(cluster, target.host),
    evidence: async ({ cluster, target }) => isFrozen(cluster, target.host),
    heal: ({ cluster, target }) => thaw(cluster, target.host),
  },
  'power-off': {
    ...network,
    does: 'every process of the host killed, with its process 1; its data stays',
    inject: ({ cluster, target }) => powerOff(cluster, target.host),
    evidence: async ({ cluster, target }) => isPoweredOff(cluster, target.host),
    heal: ({ cluster, target }) => powerOn(cluster, target.host),
  },
  cut: {
    ...network,
    does: 'the cable of the host pulled at the switch',
    inject: ({ cluster, target }) => cutCable(cluster, target.host),
    evidence: ({ cluster, target }) => cableIsCut(cluster, target.host),
    heal: ({ cluster, target }) => mendCable(cluster, target.host),
  },
  partition: {
    ...network,
    does: 'the host cut off from every other host, while clients reach both sides',
    inject: ({ cluster, target }) => partition(cluster, [[target.host], others(cluster, [target.host])]),
    evidence: ({ cluster }) => droppedFrames(cluster),
    heal: ({ cluster }) => mendNetwork(cluster),
  },
  split: {
    ...network,
    does: 'the minority of the hosts of the service, with this one, cut off from the majority and from clients',
    inject: ({ cluster, service, target }) => {
      const minority = minorityWith(service, target.host);
      return partition(cluster, [minority, [...others(cluster, minority), machineSide]]);
    },
    evidence: ({ cluster }) => droppedFrames(cluster),
    heal: ({ cluster }) => mendNetwork(cluster),
  },
  'one-way': {
    ...network,
    does: 'frames from the host dropped: it hears everybody, nobody hears it',
    inject: ({ cluster, target }) => deafen(cluster, target.host),
    evidence: ({ cluster }) => droppedFrames(cluster),
    heal: ({ cluster }) => mendNetwork(cluster),
  },
  lossy: {
    ...network,
    does: '30% of the frames from and to the host dropped at random',
    inject: ({ cluster, target }) => lose(cluster, target.host, 0.3),
    evidence: ({ cluster }) => droppedFrames(cluster),
    heal: ({ cluster }) => mendNetwork(cluster),
  },
  slow: {
    ...network,
    does: 'what the host receives narrowed to 256 kbit/s',
    inject: ({ cluster, target }) => slow(cluster, target.host, 256),
    evidence: ({ cluster, target }) => isNarrowed(cluster, target.host),
    heal: ({ cluster, target }) => widen(cluster, target.host),
  },
};

/** Faults that cannot be made here, and why. */
export const impossible: Record<string, string> = {
  latency:
    'delaying frames needs the netem queueing discipline, which this kernel lacks; `slow` narrows a link instead',
};

export interface Aimed {
  /** 'kill-master' */
  name: string;
  fault: Fault;
  role: string;
}

/** Takes VERB-ROLE apart; gives the sentence that says what is wrong with it where it is none. */
export function faultNamed(name: string, roles: string[]): Aimed | string {
  const why = Object.entries(impossible).find(([verb]) => name === verb || name.startsWith(`${verb}-`));
  if (why) return `${name} cannot be done: ${why[1]}`;
  const verb = verbOf(name);
  const role = verb === undefined ? '' : name.slice(verb.length + 1);
  if (verb === undefined || !roles.includes(role))
    return `there is no fault ${name} here: VERB-ROLE, one of ${Object.keys(faults).join(', ')} and one of ${roles.join(', ')}`;
  return { name, fault: faults[verb]!, role };
}

/** The verb of VERB-ROLE; undefined where there is no such fault. The longest first: freeze-host-owner is not `freeze` aimed at a role called host-owner. */
export const verbOf = (name: string): string | undefined =>
  Object.keys(faults)
    .sort((a, b) => b.length - a.length)
    .find((verb) => name.startsWith(`${verb}-`));

const others = (cluster: Cluster, group: string[]): string[] =>
  Object.keys(cluster.hosts).filter((host) => !group.includes(host));

/** The largest set of the service's hosts, this one among them, that is no majority; of two, one. */
export function minorityWith(service: Service, host: string): string[] {
  const size = Math.max(1, Math.ceil(service.hosts.length / 2) - 1);
  return [host, ...service.hosts.filter((one) => one !== host)].slice(0, size);
}
