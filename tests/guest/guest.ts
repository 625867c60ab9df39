import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Ground } from '../lab/wire.ts';
import type { Image } from './image.ts';

/** Emulation on a busy machine is slow; a boot takes half a minute where nothing else runs. */
const bootMs = 600_000;

/** Where the guest's sshd is found, for tests in other processes than the one that started it. */
export interface Reached {
  /** An ssh_config with the host `phalanx-guest`. */
  config: string;
}

/** An emulated machine (no KVM is asked for), reached by ssh on loopback. Nothing that it writes is kept. */
export class Guest {
  readonly reached: Reached;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(folder: string, child: ChildProcess, config: string) {
    this.#folder = folder;
    this.#child = child;
    this.reached = { config };
  }

  /** Boots and waits until it lets us in. Throws with the end of its console when it does not. */
  static async boot(image: Image, say: (line: string) => void): Promise<Guest> {
    const folder = mkdtempSync(join(tmpdir(), 'phalanx-guest-'));
    const port = await freePort();
    const console = join(folder, 'console.log');
    const log = openSync(console, 'w');
    const words = [
      // Whatever ends this process ends the machine too.
      'setpriv --pdeathsig KILL nice -n 10 qemu-system-x86_64',
      '-accel tcg,thread=multi -cpu Nehalem -smp 2 -m 2048 -nographic -snapshot',
      `-kernel ${image.kernel} -initrd ${image.initrd}`,
      `-drive file=${image.disk},format=raw,if=virtio,cache=unsafe`,
      `-netdev user,id=lan,hostfwd=tcp:127.0.0.1:${port}-:22 -device virtio-net-pci,netdev=lan`,
      '-device virtio-rng-pci',
    ].flatMap((line) => line.split(' '));
    words.push('-append', 'root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off quiet');
    const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', log, log] });
    const config = join(folder, 'ssh_config');
    writeFileSync(
      config,
      `Host phalanx-guest
  HostName 127.0.0.1
  Port ${port}
  User root
  IdentityFile ${image.key}
  IdentitiesOnly yes
  HostKeyAlias phalanx-guest
  UserKnownHostsFile ${image.knownHosts}
  StrictHostKeyChecking yes
  ConnectTimeout 60
  ControlMaster auto
  ControlPath ${folder}/master
  ControlPersist yes
  ServerAliveInterval 30
  LogLevel ERROR
`,
    );
    const guest = new Guest(folder, child, config);
    say('booting the guest');
    const started = performance.now();
    while (bootOf(config) === undefined) {
      if (child.exitCode !== null || performance.now() - started > bootMs) {
        const last = readFileSync(console, 'latin1').slice(-2000);
        await guest.close();
        throw new Error(`the guest did not let us in:\n${last}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    say(`the guest is up after ${Math.round((performance.now() - started) / 1000)} s`);
    return guest;
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The id of the guest's boot; undefined while it lets nobody in. */
function bootOf(config: string): string | undefined {
  try {
    return execFileSync('ssh', ['-F', config, 'phalanx-guest', 'cat /proc/sys/kernel/random/boot_id'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      encoding: 'utf8',
      timeout: 60_000,
    });
  } catch {
    return undefined;
  }
}

/** Reboots the guest as its administrator would, and waits until it lets us in again. */
export async function reboot({ config }: Reached): Promise<void> {
  const before = bootOf(config);
  // Not `systemctl reboot`, which asks logind; that is masked.
  sh({ config }, 'systemctl start --no-block --job-mode=replace-irreversibly reboot.target');
  const started = performance.now();
  for (let now = before; now === before || now === undefined; now = bootOf(config)) {
    if (performance.now() - started > bootMs) throw new Error('the guest did not come back');
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

const there = '/opt/test';

/** Runs a script on the guest and gives its output; throws when it fails. */
export function sh({ config }: Reached, script: string): string {
  return execFileSync('ssh', ['-F', config, 'phalanx-guest', 'sh -eu'], {
    input: script,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** Ships scripts of tests/lab/wire, each as one file that needs no TypeScript and no package. */
export async function ship(reached: Reached, scripts: string[]): Promise<void> {
  for (const script of scripts) {
    const { outputFiles } = await build({
      entryPoints: [new URL(`../lab/wire/${script}`, import.meta.url).pathname],
      bundle: true,
      platform: 'node',
      format: 'esm',
      write: false,
    });
    execFileSync('ssh', ['-F', reached.config, 'phalanx-guest', `cat > ${there}/${script}.mjs`], {
      input: outputFiles[0]!.contents,
    });
  }
}

/** The guest as the place of a test's hosts. */
export function ground(reached: Reached): Ground {
  return {
    sh: (script) => sh(reached, script),
    spawn: (words) =>
      spawn('ssh', ['-F', reached.config, 'phalanx-guest', words.join(' ')], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    program: (script) => [`${there}/node`, `${there}/${script}.mjs`],
  };
}
