import { machine } from '../src/hosts/machine.ts';
import { installScript, missingPackages } from '../src/hosts/packages.ts';

// Everything that a lab test runs, beyond what Node brings; installed as `phalanx up` would, no service started.
const lab = [
  'busybox',
  'conntrack',
  'conntrackd',
  'curl',
  'glusterfs-client',
  'glusterfs-server',
  'haproxy',
  'iproute2',
  'iputils-arping',
  'iputils-ping',
  'ipvsadm',
  'kcat',
  'keepalived',
  'libcommons-cli-java',
  'libslf4j-java',
  'libzookeeper-java',
  'maven',
  'netbase',
  'nftables',
  'openjdk-17-jre-headless',
  'openssh-server',
  'procps',
  'python3-kazoo',
  'python3-pika',
  'python3-redis',
  'rabbitmq-server',
  'redis-server',
  'redis-tools',
  's6',
];

// What builds the emulated machine of tests/guest and starts it.
const guest = ['e2fsprogs', 'mmdebstrap', 'openssh-client', 'qemu-system-x86'];
const packages = process.argv[2] === 'guest' ? guest : lab;

const missing = await missingPackages(packages);
if (missing.length === 0) console.log('all there');
else {
  console.log(`installing ${missing.join(', ')}`);
  const { exit, stderr } = await machine.run(installScript(missing), { timeoutMs: 900_000 });
  if (exit !== 0) {
    console.error(stderr);
    process.exitCode = 1;
  }
}
