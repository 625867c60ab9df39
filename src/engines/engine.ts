import type { ZodType } from 'zod';
import type { Check } from '../check/check.ts';
import type { Cluster, Problem, Service } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import type { Way } from '../hosts/ssh/hearing.ts';
import type { Drills } from './drill.ts';

/**
 * The main wall: what an engine is to everything above it. An engine's folder holds schema.ts, members.ts,
 * observe.ts, plan.ts and later drill.ts; rendering and planning are functions of values, only `observe` and
 * `perform` touch the world.
 */
// biome-ignore lint/suspicious/noExplicitAny: the registry holds engines of every kind side by side
export interface Engine<Spec = any, Live = any> {
  type: string;
  /** Its part of the user's file, without `type`, `hosts` and `uses`, which every service has. Strict, with `.describe()` on every key. */
  schema: ZodType<Spec>;
  /** Rules that a schema cannot say: across keys, services and hosts. Paths start at the root of the file. */
  check?(service: Service<Spec>, cluster: Cluster): Problem[];
  /** Every host on which the service has a member with data or a vote of its own, where that are more than its `hosts`: see hostsOf. */
  hosts?(service: Service<Spec>): string[];
  /** Debian packages (or named downloads) that each of the service's hosts needs. */
  packages(service: Service<Spec>, cluster: Cluster): string[];
  /** Those that each host of an app which uses the service needs beside the app's own. */
  usersPackages?(service: Service<Spec>): string[];
  /** Kernel modules that each of the service's hosts needs, built in or loadable. */
  kernel?(service: Service<Spec>): string[];
  /** How the service's hosts speak to each other beside TCP, for `phalanx check`. */
  speaks?(service: Service<Spec>, cluster: Cluster): Way[];
  /** Names of secrets to exist before `members` is called, e.g. ['password']; found as cluster.secrets['cart/password']. */
  secrets?(service: Service<Spec>): string[];
  /**
   * Names of things that need a number for life, e.g. ['data1']: found as cluster.ids['locks/data1'], 1 upward within the
   * service. A name keeps its number, also while the file does not have it, and no number is ever given to another name.
   */
  ids?(service: Service<Spec>): string[];
  /** Every process of the service, rendered. Pure. */
  members(service: Service<Spec>, cluster: Cluster): Member[];
  /** What every host of the service must have set beside its members (kernel settings, routes, the VIP on lo). Pure, idempotent sh; see HostSetting. */
  settings?(service: Service<Spec>, cluster: Cluster): HostSetting[];
  /** Loads what `observe` asks with, before its deadlines begin: loading may take longer than an answer may, on a busy machine. */
  load?(): Promise<unknown>;
  /** Live roles and health, asked of the engine itself. Must return within its own deadline, also when hosts are dead or frozen. */
  observe?(service: Service<Spec>, cluster: Cluster, reach: Reach): Promise<Live>;
  /** Steps beyond keeping members' processes as rendered: form, heal, change, roll. `base` are the generic steps (write, start, ...) already planned for this service's members, which the engine may reorder, gate or extend. Pure. Default: base. */
  plan?(service: Service<Spec>, cluster: Cluster, live: Live | undefined, base: BasePlan): Step[];
  /** Carries out the engine's own steps (Step.do.kind === 'engine'). Safe to repeat. Throws StepFailed or StepHeld. */
  perform?(
    action: EngineAction,
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    say: (line: string) => void,
  ): Promise<void>;
  /** Environment that a service which `uses` this one is given: { URL: 'redis://...' } becomes CART_URL. */
  address?(service: Service<Spec>, cluster: Cluster): Record<string, string>;
  /** Lines of `phalanx status`. */
  status?(service: Service<Spec>, cluster: Cluster, live: Live | undefined): StatusRow[];
  /** Services that this one's `serve` step waits for, whichever way they end: a director's real servers. */
  follows?(service: Service<Spec>): string[];
  /** How the service is drilled, given what is live now: its client, the roles that faults are aimed at, what each member holds in the end. */
  drills?(
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    live: Live | undefined,
  ): Promise<Drills<Live>>;
  /** The service seen by its customers, for `drill --end-to-end`; undefined when the file does not say what they do. */
  transactions?(service: Service<Spec>, cluster: Cluster): Drills | undefined;
  /** What the service holds, for `phalanx show SERVICE`: asked of the engine itself, within its own deadline. */
  show?(service: Service<Spec>, cluster: Cluster, reach: Reach): Promise<Table[]>;
  /** Copies the service's data into a new folder below `to`, which appears whole or not at all. Throws StepHeld or StepFailed. */
  backup?(
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    options: { to: string; say: (line: string) => void },
  ): Promise<BackupDone>;
  /** Puts a backup into the service, which must be empty; refuses, before anything is touched, what is no whole backup of it. */
  restore?(
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    options: RestoreOptions,
  ): Promise<RestoreDone>;
  /** What is wrong with a member's data on its host, and the steps that mend it; undefined: nothing is. Changes nothing. */
  repair?(
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    member: string,
    way?: string,
  ): Promise<Remedy | undefined>;
  /**
   * A planned change of leader that loses no acknowledged write, for `phalanx switchover SERVICE`. Throws StepFailed or StepHeld with what stands in
   * the way and, unless it says otherwise, with nothing changed.
   */
  switchover?(
    service: Service<Spec>,
    cluster: Cluster,
    reach: Reach,
    options: SwitchoverOptions,
  ): Promise<Switchover>;
  /** What will hurt, for `phalanx doctor`: changes nothing, and takes next to nothing from a busy service. Throws StepFailed when nobody answers. */
  doctor?(service: Service<Spec>, cluster: Cluster, reach: Reach, options: DoctorOptions): Promise<Checkup>;
  /** Whether the member of that name gives the others of its host what they run on (a mount): it is stopped after them. Also asked of names that the file no longer has. */
  carries?(member: string): boolean;
  /** How a member of another service is taken out of this one's traffic before it is stopped and put back after it is ready (directors). */
  around?(service: Service<Spec>, cluster: Cluster, member: Member): { before: Step[]; after: Step[] };
  /** Waits until this one sends nothing more to a member of `of` which the file no longer has there (directors). */
  dismiss?(service: Service<Spec>, cluster: Cluster, member: string, of: Service): Step[];
}

/** Every host of a service: those that its file calls so, and those that its engine has in keys of its own (observers, controllers). */
export const hostsOf = (service: Service, engines: Record<string, Engine>): string[] => [
  ...new Set(engines[service.type]?.hosts?.(service) ?? service.hosts),
];

/** One process on one host, kept alive by the host's supervisor. */
export interface Member {
  /** service@host, or service.part@host where a service has several processes on a host. Unique in the cluster. */
  name: string;
  service: string;
  host: string;
  part?: string;
  /** A shell command line; run with `exec`, in `folder`, so that the process is the supervisor's direct child. */
  command: string;
  /** Working folder; default the member's own folder. */
  cwd?: string;
  /** Kept on the host in a file of mode 0600 and never printed, since addresses of used services carry passwords. */
  env: Record<string, string>;
  files: MemberFile[];
  limits: { memory?: number; openFiles?: number };
  /**
   * Ports it listens on (for clash checks and preflight). The first is the one that clients use; a director reaches another by its
   * `name` (`at:` in the file) and probes it with its `check`, where it has one.
   */
  ports: { proto: 'tcp' | 'udp'; port: number; name?: string; check?: Check }[];
  stop: { signal: 'TERM' | 'INT' | 'QUIT'; timeoutMs: number };
  /** How to know from outside that it serves; undefined: running is enough. */
  ready?: { check: Check; port: number; timeoutMs: number };
  /** Paths (relative to the member's folder) that `down` keeps and only `down --purge` removes. */
  data: string[];
  /** A folder shipped with it (cluster.releases[service]); unpacked as `release/HASH`, with `current` pointing at it. */
  release?: string;
  /** 'root' where it cannot do without (it changes the kernel's network); on a real machine all others run as their service's own user. */
  user?: 'root';
  /** What this process is on the status page: 'app', 'vrrp', 'agent', 'redis', 'sentinel', ... */
  kind: string;
}

export interface MemberFile {
  /** Relative to the member's folder. */
  path: string;
  content: string;
  /** e.g. 0o600; secrets always 0600. */
  mode: number;
  /** What makes the running process take a change: start it again, send it a signal, nothing, or a change that the engine itself applies live. */
  onChange: 'restart' | 'hup' | 'nothing' | 'engine';
  /** True where the engine itself rewrites the file at run time (redis.conf, sentinel.conf): written once, then only by engine steps. */
  owned?: 'engine';
  secret?: boolean;
}

/** Something set on a host for a service. `apply` makes it so, `check` succeeds when it is so, `undo` removes it; all idempotent POSIX sh. */
export interface HostSetting {
  host: string;
  service: string;
  /** One line for the plan: 'VIP 10.77.0.100 on lo, ARP hidden'. Also its identity together with host. */
  title: string;
  check: string;
  apply: string;
  undo: string;
}

/** One thing that `up` does. Printed by `plan` as it is, journalled by id. */
export interface Step {
  /** Unique in the plan and stable between plans: 'start web@app1'. */
  id: string;
  verb: string;
  /** What it acts on: a member, a host, a service. */
  target: string;
  /** Present when `do` is a script: where it runs. */
  host?: string;
  service?: string;
  /** Why it is needed, for a person: 'not running', 'redis.conf differs: maxmemory'. */
  why: string;
  /** Ids of steps that must be done before; if one of them fails, this one is not tried. */
  needs: string[];
  /** Ids of steps that must have ended before, whichever way: order without dependence. */
  after?: string[];
  /** The service whose data this destroys; such a step needs --allow-data-loss SERVICE. */
  destroys?: string;
  /** The file asks for what cannot be done to what runs; `why` says so. Then nothing of the whole plan is done: whoever uses the service would be told of what it does not have. */
  refuses?: true;
  do: Action;
}

export type Action =
  /** POSIX sh on the step's host; compiled with the host's other ready steps into one script. Non-zero exit: failed, stderr says why. */
  | { kind: 'script'; script: string; timeoutMs: number }
  /** Sh on the control machine (building the lab). */
  | { kind: 'machine'; script: string; timeoutMs: number }
  /** Wait until the member answers its check. */
  | { kind: 'ready'; member: string; address: string; port: number; check: Check; timeoutMs: number }
  | { kind: 'engine'; service: string; action: EngineAction };

export interface EngineAction {
  name: string;
  args: Record<string, unknown>;
}

/** The generic steps for a service's members, by member name; `chain` helpers are in cluster/members.ts. */
export interface BasePlan {
  /** Steps that bring members to what is rendered, each member's in order (write, start | restart | signal, ready). */
  byMember: Map<string, Step[]>;
  /** What was found of each member on its host. */
  observed: Map<string, MemberState>;
  members: Member[];
  /**
   * Steps (stop, remove) that take members of this service off hosts which the file no longer has there, by member name. An engine
   * whose members cannot just be stopped returns them with its own steps before (`needs`); those that it does not return are
   * done as they are. A host that left the file as well is powered off only after them.
   */
  leaving: Map<string, Step[]>;
  /** Waits until a member passes its own check; undefined where it has none. */
  ready(member: Member): Step | undefined;
  /** Steps around a member of this service (drain at the directors in front of it). */
  around(member: Member): { before: Step[]; after: Step[] };
  /** Waits until nobody sends anything more to a member of this service that leaves its host, by its name. */
  dismiss(member: string): Step[];
}

/** A member as found on its host. */
export interface MemberState {
  name: string;
  host: string;
  /** The host answered; when false nothing else is known. */
  reachable: boolean;
  present: boolean;
  running: boolean;
  pid?: number;
  /** Seconds since it was started or stopped. */
  since?: number;
  /** How often the supervisor has had to start it again since `up` started it, when known. */
  restarts?: number;
  /** Path -> sha256 of files on disk. */
  files: Record<string, string>;
  /** The same of the files that start and end it: env, service/run, ... */
  own?: Record<string, string>;
  /** Releases that are unpacked on the host. */
  releases?: string[];
  /** Hash of everything that needs a restart to change, as of the running process's start. */
  runningHash?: string;
}

export interface StatusRow {
  service: string;
  /** Member or real server. */
  name: string;
  host: string;
  /** Observed: master, replica, leader, owner, backup, real server, ... */
  role: string;
  health: 'ok' | 'degraded' | 'down' | 'unknown';
  /** Short facts for the table, in order: { weight: '1', active: '12' }. */
  facts: Record<string, string>;
  /** Why it is not ok. */
  why?: string;
}

/** Something to show of a service; every row has a cell a column. */
export interface Table {
  title: string;
  columns: string[];
  rows: string[][];
}

/** A backup that was taken. */
export interface BackupDone {
  /** The new folder. */
  path: string;
  /** A row a file: what it holds and where it is from. */
  rows: Record<string, string | number>[];
}

export interface RestoreOptions {
  /** The backup's folder. */
  from: string;
  /** Also a backup of another cluster or service. */
  foreign: boolean;
  /** The backup (as given to `begin`) whose restore into this service began and did not end. */
  unfinished?: string | undefined;
  /** Called before the first write, with what identifies the backup. */
  begin(backup: string): void;
  say(line: string): void;
}

export interface RestoreDone {
  keys: number;
  /** Keys of the backup whose time to live has ended since. */
  expired: number;
  /** When the backup was taken, ISO 8601. */
  taken: string;
}

/** How damage to a member's data is mended. */
export interface Remedy {
  /** What is damaged, what would be lost, who has newer data; a line each. */
  found: string[];
  /** What mends it, as a plan. Empty: nothing can be done that is not worse; the lines say what a person can do. */
  steps: Step[];
}

export interface SwitchoverOptions {
  /** The member that is to lead; default: the one that is furthest. */
  to?: string;
  /** The present leader does not answer, and a person says that it is dead. */
  force?: boolean;
  /** Give up writes that only other members hold. */
  allowDataLoss?: boolean;
  say?: (line: string) => void;
}

export interface Switchover {
  from: string;
  to: string;
  /** Milliseconds during which writes were held or refused. */
  ms: number;
}

export interface DoctorOptions {
  /** How long to look at samples, milliseconds; the longer, the more is seen, at the same small load. */
  forMs: number;
  say: (line: string) => void;
}

/** What a doctor saw. */
export interface Checkup {
  findings: Finding[];
  /** How near each member is to each of its limits. */
  limits: Nearness[];
  /** What was looked at and how far: 'cart@d1: 10,000 of 2,000,000 keys'. Says what an empty list of findings is worth. */
  looked: string[];
}

/** Something that hurts, or will. */
export interface Finding {
  /** Name of the rule that found it, the same in every version: 'big-keys'. */
  rule: string;
  /** What it puts at risk: data, the service's being there, or its speed. */
  risk: 'data' | 'service' | 'speed';
  service: string;
  /** The member or host that it was found on; without it the whole service. */
  where?: string;
  what: string;
  /** Why it matters. */
  why: string;
  /** The command or the line of the file that mends it. */
  mend: string;
  /** The key of the user's file that `mend` is about, from the root. */
  key?: (string | number)[];
  /** Where it is written down: an issue, a release note. */
  source?: string;
}

export interface Nearness {
  member: string;
  /** 'clients', 'memory', ... */
  limit: string;
  used: number;
  of: number;
  unit: 'bytes' | 'count';
}

/** A step went wrong: what, and what to do next. */
export class StepFailed extends Error {
  override name = 'StepFailed';
}

/** A gate did not open in its time: nothing unsafe was done; the message names the slot, partition, link or queue that blocks. */
export class StepHeld extends Error {
  override name = 'StepHeld';
}
