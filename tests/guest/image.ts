import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheHome } from '../../src/hosts/downloads.ts';

/**
 * A foreign machine's disk: Debian as its own packages make it, with systemd, sshd and Debian's kernel, whose modules have IPVS. What a
 * director needs is there as packages, so that tests of the plane need no network; the test's own Node lies where no PATH finds it.
 */
const packages = [
  'systemd-sysv',
  'dbus',
  'udev',
  'kmod',
  'openssh-server',
  'linux-image-cloud-amd64',
  'initramfs-tools',
  'ca-certificates',
  'curl',
  'iproute2',
  'iputils-ping',
  'ipvsadm',
  'libatomic1',
  'netbase',
  'nftables',
  'procps',
  'sudo',
];

/** Two who are not root: one may be it without a password, one may not. */
const people = `for person in deploy visitor; do
  useradd -m -s /bin/bash $person
  mkdir -m 700 /home/$person/.ssh
  cp /root/.ssh/authorized_keys /home/$person/.ssh/
  chown -R $person: /home/$person
done
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy`;

/** Units that only cost time when every instruction is emulated; sshd, journald and udev are what a real machine has. */
const masked = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'console-getty.service',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty@tty1.service',
  'ipvsadm.service',
  'nftables.service',
  'serial-getty@ttyS0.service',
  'systemd-logind.service',
  'systemd-networkd.service',
  'systemd-timesyncd.service',
  'systemd-update-utmp.service',
];

/** QEMU's user network, as its manual gives it to the first guest. */
const address = { own: '10.0.2.15/24', gateway: '10.0.2.2', names: '10.0.2.3' };

const files: Record<string, string> = {
  'etc/hostname': 'guest\n',
  'etc/hosts': '127.0.0.1 localhost\n127.0.1.1 guest\n::1 localhost\n',
  'etc/fstab': '/dev/vda / ext4 defaults,noatime 0 0\n',
  'etc/resolv.conf': `nameserver ${address.names}\n`,
  'etc/ssh/sshd_config.d/guest.conf': 'UseDNS no\nMaxSessions 100\nMaxStartups 50\nLoginGraceTime 600\n',
  'etc/initramfs-tools/conf.d/guest': 'MODULES=list\n',
  'etc/initramfs-tools/modules': 'virtio_pci\nvirtio_blk\next4\n',
  'etc/systemd/system/lan.service': `[Unit]
Description=The emulated network card
Before=network.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done; ip link set eth0 up && ip addr add ${address.own} dev eth0 && ip route add default via ${address.gateway}'
[Install]
WantedBy=multi-user.target
`,
};

export interface Image {
  folder: string;
  disk: string;
  kernel: string;
  initrd: string;
  /** Private key that root of the guest lets in, and the guest's own public key. */
  key: string;
  knownHosts: string;
}

function release(): string {
  const found = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'));
  if (!found) throw new Error('/etc/os-release names no Debian release');
  return found[1]!;
}

/** The image of this recipe, built when the cache does not have it: minutes. `say` is told what it is at. */
export function image(say: (line: string) => void): Image {
  const recipe = readFileSync(new URL(import.meta.url), 'utf8');
  const hash = createHash('sha256')
    .update(`${release()} ${process.version} ${recipe}`)
    .digest('hex')
    .slice(0, 16);
  const folder = join(cacheHome(), `guest-${hash}`);
  if (!existsSync(folder)) {
    for (const old of existsSync(cacheHome()) ? readdirSync(cacheHome()) : [])
      if (/^guest-[0-9a-f]{16}$/.test(old)) rmSync(join(cacheHome(), old), { recursive: true });
    build(folder, say);
  }
  const file = (name: string): string => join(folder, name);
  return {
    folder,
    disk: file('disk.img'),
    kernel: file('vmlinuz'),
    initrd: file('initrd'),
    key: file('key'),
    knownHosts: file('known_hosts'),
  };
}

function build(folder: string, say: (line: string) => void): void {
  const work = `${folder}.part`;
  const root = join(work, 'root');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const quietly = (command: string, ...args: string[]): void => {
    execFileSync('nice', ['-n', '15', command, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  say(`building a Debian ${release()} guest (once; it is kept in ${folder})`);
  quietly('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'phalanx-guest', '-f', join(work, 'key'));
  for (const [path, content] of Object.entries(files)) {
    const at = join(work, 'files', path);
    mkdirSync(join(at, '..'), { recursive: true });
    writeFileSync(at, content);
  }
  const exclude = ['doc', 'man', 'locale', 'info'].map(
    (part) => `--dpkgopt=path-exclude=/usr/share/${part}/*`,
  );
  quietly(
    'mmdebstrap',
    '--quiet',
    '--variant=apt',
    `--include=${packages.join(',')}`,
    ...exclude,
    `--customize-hook=cp -r ${join(work, 'files')}/. "$1"`,
    '--customize-hook=mkdir -p -m 700 "$1/root/.ssh"',
    `--customize-hook=cp ${join(work, 'key.pub')} "$1/root/.ssh/authorized_keys"`,
    `--customize-hook=for unit in ${masked.join(' ')}; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done`,
    `--customize-hook=chroot "$1" sh -euc "${people.replaceAll('$', '\\$')}"`,
    '--customize-hook=chroot "$1" systemctl enable lan.service',
    '--customize-hook=chroot "$1" update-initramfs -u',
    '--customize-hook=chroot "$1" apt-get clean',
    release(),
    root,
  );
  mkdirSync(join(root, 'opt/test'), { recursive: true });
  copyFileSync(process.execPath, join(root, 'opt/test/node'));
  const boot = readdirSync(join(root, 'boot'));
  for (const [name, kept] of [
    ['vmlinuz-', 'vmlinuz'],
    ['initrd.img-', 'initrd'],
  ] as const)
    copyFileSync(join(root, 'boot', boot.find((one) => one.startsWith(name))!), join(work, kept));
  const hostKey = readFileSync(join(root, 'etc/ssh/ssh_host_ed25519_key.pub'), 'utf8').split(' ').slice(0, 2);
  writeFileSync(join(work, 'known_hosts'), `phalanx-guest ${hostKey.join(' ')}\n`);
  quietly('truncate', '-s', '4G', join(work, 'disk.img'));
  quietly('mkfs.ext4', '-q', '-F', '-d', root, join(work, 'disk.img'));
  rmSync(root, { recursive: true });
  renameSync(work, folder);
}
