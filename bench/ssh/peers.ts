import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cacheHome } from '../../src/hosts/downloads.ts';
import type { Machine, Machines } from '../../tests/lab/machines.ts';
import type { Stage } from '../stage.ts';

const here = import.meta.dirname;
const wanted = ['ansible-core==2.19.14', 'pyinfra==3.10.0'];

/** Ansible and pyinfra from PyPI, in a virtual environment of the bench's own that stays in the cache. Gives its programs' folder. */
export async function peersInstalled(stage: Stage): Promise<string> {
  const folder = join(cacheHome(), 'bench-ssh');
  const bin = join(folder, 'bin');
  await stage.sh(`[ -x ${bin}/python ] || python3 -m venv ${folder}`);
  await stage.run(`${bin}/pip`, ['install', '-q', '--disable-pip-version-check', ...wanted], 600_000);
  return bin;
}

/** What both tools are told of the hosts. */
export interface Site {
  machines: Machines;
  /** Of the cluster on the machines. */
  root: string;
  release: string;
}

const texts = (site: Site): Record<string, string> => ({
  root: site.root,
  release: site.release,
  kept: `${JSON.stringify({ cluster: 'bnssh', secrets: {}, ids: {}, machines: {} }, null, 1)}\n`,
  environment_of: 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin\nexport ADDRESS=0.0.0.0\n',
  run_script: `#!/bin/sh\nexec 2>&1\n. ./env\ncd release\nexec busybox httpd -f -p "$PORT" -h .\n`,
  log_script: '#!/bin/sh\nexec s6-log -b n10 s1000000 T .\n',
});

/** Ansible as one tunes it: pipelining, no facts, connections that stay, as many forks as were fastest here. */
export class Ansible {
  readonly sockets: string;
  readonly #folder: string;
  readonly #bin: string;

  constructor(stage: Stage, bin: string, site: Site, forks: number) {
    this.#bin = bin;
    this.#folder = join(stage.folder, 'ansible');
    // A short path: a Unix socket's has at most 107 bytes.
    this.sockets = join(stage.folder, 'cm');
    mkdirSync(this.sockets, { recursive: true });
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(
      join(this.#folder, 'ansible.cfg'),
      `[defaults]
forks = ${forks}
gathering = explicit
interpreter_python = /usr/bin/python3
local_tmp = ${this.#folder}/tmp
[ssh_connection]
pipelining = True
ssh_args = -F ${site.machines.sshConfig} -o ControlMaster=auto -o ControlPersist=600s
control_path_dir = ${this.sockets}
control_path = %(directory)s/%%h
`,
    );
    writeFileSync(join(this.#folder, 'all.json'), JSON.stringify(texts(site)));
  }

  /** The words that run the playbook on the hosts. */
  command(playbook: string, hosts: Machine[]): string[] {
    const inventory = join(this.#folder, `${hosts.length}.ini`);
    const lines = hosts.map(({ name, address }) => `${name} ansible_host=${address} ansible_user=root`);
    writeFileSync(inventory, `[all]\n${lines.join('\n')}\n`);
    const more = ['-e', `@${join(this.#folder, 'all.json')}`];
    return [`${this.#bin}/ansible-playbook`, '-i', inventory, ...more, join(here, playbook)];
  }

  get environment(): Record<string, string> {
    return { ANSIBLE_CONFIG: join(this.#folder, 'ansible.cfg'), ANSIBLE_NOCOLOR: '1' };
  }
}

/** pyinfra, which connects anew each time: it knows no connections that stay. */
export function pyinfraCommand(stage: Stage, bin: string, site: Site, hosts: Machine[]): string[] {
  const inventory = join(stage.folder, 'inventory.py');
  const data = {
    ssh_user: 'root',
    ssh_key: join(resolve(site.machines.sshConfig, '..'), 'identity'),
    ssh_known_hosts_file: join(resolve(site.machines.sshConfig, '..'), 'known_hosts'),
    ssh_strict_host_key_checking: 'yes',
    ...texts(site),
  };
  const all = hosts.map(({ name, address }) => [name, { ssh_hostname: address }]);
  const python = all.map((one) => `    (${JSON.stringify(one[0])}, ${JSON.stringify(one[1])}),`).join('\n');
  writeFileSync(inventory, `all = ([\n${python}\n], ${JSON.stringify(data)})\n`);
  return [`${bin}/pyinfra`, '-y', inventory, join(here, 'steady.py')];
}
