import { spawn } from 'node:child_process';
import { wantedMembers } from '../cluster/plan.ts';
import { engines } from '../engines/index.ts';
import { SshHost } from '../hosts/ssh/ssh-host.ts';
import { logFolder, logFragment } from '../hosts/supervise.ts';
import { UserError } from './error.ts';
import { openSession } from './session.ts';

/** `phalanx logs MEMBER`: the end of a member's log, times first; with `follow` until Ctrl-C. */
export async function logs(
  file: string | undefined,
  name: string,
  options: { lines: string; follow?: boolean },
): Promise<number> {
  if (!/^\d+$/.test(options.lines)) throw new UserError(`"${options.lines}" is no number of lines`);
  const { cluster, reach } = await openSession(file);
  const members = wantedMembers(cluster, engines);
  const member = members.find((one) => one.name === name);
  if (!member)
    throw new UserError(
      `cluster ${cluster.name} has no member ${name}`,
      `its members: ${members.map((one) => one.name).join(', ')}`,
    );
  const host = cluster.hosts[member.host]!;
  const at = reach.host(member.host);
  if (at instanceof SshHost) {
    const script = logFragment(member, host.root, Number(options.lines), options.follow);
    return at.show(script, process.stdout, process.stderr);
  }
  const path = `${logFolder(member, host.root)}/current`;
  // A lab host's files lie on this machine, so its log can be read also while the host is off.
  const tail = spawn('tail', ['-n', options.lines, ...(options.follow ? ['-F'] : []), path], {
    stdio: 'inherit',
  });
  return new Promise((resolve, reject) => {
    tail.on('error', reject);
    tail.on('close', (exit) => resolve(exit ?? 0));
  });
}
