import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestCluster } from './cluster.ts';

/** A machine to reach by ssh: its shell, its address. */
export interface Machine {
  name: string;
  address: string;
  shell: 'dash' | 'busybox';
}

/**
 * Machines with sshd: hosts of a lab cluster of their own, each with an own disk in the place of /var/lib/phalanx/CLUSTER, its own
 * keys, and a configuration of ours. The system's sshd and the user's ~/.ssh are not touched.
 */
export class Machines {
  readonly machines: Machine[];
  readonly lab: TestCluster;
  /** An ssh_config that knows the machines' keys and who may come in. */
  readonly sshConfig: string;
  readonly #name: string;
  readonly #folder: string;

  /** `cluster` is the name of the one that will live on them, `network` a /24 such as 10.165.1. */
  constructor(name: string, cluster: string, network: string, shells: Machine['shell'][]) {
    this.#name = name;
    this.machines = shells.map((shell, at) => ({
      name: `m${at + 1}`,
      address: `${network}.${at + 11}`,
      shell,
    }));
    const names = this.machines.map((machine) => machine.name).join(', ');
    this.lab = new TestCluster('');
    this.#folder = this.lab.folder;
    this.sshConfig = join(this.#folder, 'ssh_config');
    const hosts = this.machines
      .map(({ name: host, address }) => `  ${host}: { address: ${address} }`)
      .join('\n');
    this.lab.write(`cluster: ${name}
network: ${network}.0/24
hosts:
${hosts}
services:
  sshd: { type: app, hosts: [${names}], command: ${join(this.#folder, 'machine')}, port: 22 }
`);
    this.#keys();
    this.#boot(cluster);
  }

  diskOf(machine: string): string {
    return join(this.#folder, 'disks', machine);
  }

  /** Below what the ssh_config says of all hosts. */
  configure(more: string): void {
    const first = readFileSync(this.sshConfig, 'utf8').split('\n').slice(0, 4);
    writeFileSync(this.sshConfig, `${first.join('\n')}\n${more}`);
  }

  /** How many commands sshd has run on the machine since it was first up: round trips as the other side counts them. */
  sessions(machine: string): number {
    const log = readFileSync(join(this.#root(machine), 'members', `sshd@${machine}`, 'log/current'), 'utf8');
    return log.split('\n').filter((line) => line.includes('Starting session: command')).length;
  }

  /** Bytes that have come in at the machine's interface. */
  received(machine: string): number {
    return Number(this.inside(machine, 'awk \'$1 == "eth0:" { print $2 }\' /proc/net/dev'));
  }

  /** Pulls the plug. */
  powerOff(machine: string): void {
    execFileSync('kill', ['-KILL', readFileSync(join(this.#root(machine), 'init.pid'), 'utf8').trim()]);
  }

  /** Everything below /var/lib/phalanx on the machine is gone, as after a new disk. Only while it is off. */
  emptyDisk(machine: string): void {
    rmSync(this.diskOf(machine), { recursive: true });
  }

  /** Runs a script on the machine, not by ssh. */
  inside(machine: string, script: string): string {
    const init = readFileSync(join(this.#root(machine), 'init.pid'), 'utf8').trim();
    return execFileSync('nsenter', ['-t', init, '-n', '-p', '-m', '-u', '-i', 'sh', '-c', script], {
      encoding: 'utf8',
    });
  }

  #root(machine: string): string {
    return `/var/lib/phalanx/${this.#name}/hosts/${machine}`;
  }

  #keys(): void {
    const key = (file: string) =>
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(this.#folder, file)]);
    key('identity');
    key('hostkey');
    const hostKey = readFileSync(join(this.#folder, 'hostkey.pub'), 'utf8');
    writeFileSync(
      join(this.#folder, 'known_hosts'),
      this.machines.map(({ address }) => `${address} ${hostKey}`).join(''),
    );
    writeFileSync(
      this.sshConfig,
      `Host *\n  IdentityFile ${this.#folder}/identity\n  UserKnownHostsFile ${this.#folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n`,
    );
    writeFileSync(join(this.#folder, 'authorized_keys'), readFileSync(join(this.#folder, 'identity.pub')));
    chmodSync(join(this.#folder, 'authorized_keys'), 0o600);
    writeFileSync(
      join(this.#folder, 'sshd_config'),
      `Port 22
HostKey ${this.#folder}/hostkey
AuthorizedKeysFile /run/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
LogLevel VERBOSE
Subsystem sftp internal-sftp
`,
    );
  }

  /** What a machine starts: mounts of its own (a lab host has a mount namespace), then sshd. */
  #boot(cluster: string): void {
    const root = `/var/lib/phalanx/${cluster}`;
    const shells = this.machines.map(({ name, shell }) => `sshd@${name}) shell=${shell} ;;`).join('\n');
    const script = `#!/bin/sh
set -eu
case $MEMBER in
${shells}
esac
disk=${this.#folder}/disks/\${MEMBER#sshd@}
mkdir -p "$disk" ${root} /run/sshd
# Read as the user who comes.
install -m 644 ${this.#folder}/authorized_keys /run/authorized_keys
mount --bind "$disk" ${root}
: >/run/empty
mount --bind ${this.#folder}/passwd /etc/passwd
[ ! -e /root/.bashrc ] || mount --bind /run/empty /root/.bashrc
[ "$shell" != busybox ] || mount --bind /bin/busybox "$(readlink -f /bin/sh)"
exec /usr/sbin/sshd -D -e -f ${this.#folder}/sshd_config
`;
    // Somebody who is not root and may not become it, on these machines only.
    const visitor = 'visitor:x:4321:4321::/tmp:/bin/sh\n';
    writeFileSync(join(this.#folder, 'passwd'), readFileSync('/etc/passwd', 'utf8') + visitor);
    mkdirSync(join(this.#folder, 'disks'));
    writeFileSync(join(this.#folder, 'machine'), script, { mode: 0o755 });
  }
}
