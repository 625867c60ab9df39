import { spawn } from 'node:child_process';

/** nft refused: the sentence names the line it refused and what nft said of it. */
export class NftFailed extends Error {
  override name = 'NftFailed';
  /** nft's own words. */
  stderr: string;
  constructor(message: string, stderr: string) {
    super(message);
    this.stderr = stderr;
  }
}

/** Runs a command to its end; rejects only when it cannot be started. */
export function run(
  command: string,
  args: string[],
  input = '',
): Promise<{ exit: number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'ENOENT'
          ? new Error(`${command} is not installed on this host: apt-get install ${packageOf(command)}`)
          : cause,
      );
    });
    child.on('close', (code) => {
      resolve({
        exit: code ?? 1,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
    // A command that ends before it has read everything says why by its exit status; the broken pipe adds nothing.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

function packageOf(command: string): string {
  return command === 'ip' ? 'iproute2' : command === 'nft' ? 'nftables' : command;
}

/** One transaction: all of it or nothing. `check`: only ask whether the kernel would take it. */
export async function transact(lines: string[], check = false): Promise<void> {
  const { exit, stderr } = await run('nft', check ? ['-c', '-f', '-'] : ['-f', '-'], `${lines.join('\n')}\n`);
  if (exit !== 0) throw new NftFailed(sentence(lines, stderr), stderr);
}

/** nft's report ('/dev/stdin:3:1-20: Error: ...') as a sentence that quotes the line. */
export function sentence(lines: string[], stderr: string): string {
  const place = /^\S*?:(\d+):\d+(?:-\d+)?: Error: (.*)$/m.exec(stderr);
  if (!place) return `nft failed: ${stderr.trim() || 'it said nothing'}`;
  const line = lines[Number(place[1]) - 1] ?? '';
  return `nft refused line ${place[1]}, '${line.length > 200 ? `${line.slice(0, 200)}...` : line}': ${place[2]}`;
}

/** The listing of one set or map, numbers instead of names; undefined when there is none. */
export async function list(
  kind: 'set' | 'map',
  family: string,
  table: string,
  name: string,
): Promise<string | undefined> {
  const { exit, stdout, stderr } = await run('nft', ['-nn', 'list', kind, family, table, name]);
  if (exit === 0) return stdout;
  if (stderr.includes('No such file')) return undefined;
  throw new NftFailed(`nft could not list ${kind} ${family} ${table} ${name}: ${stderr.trim()}`, stderr);
}

/** 'FAMILY NAME' of every table. Cheap, whatever is in them: nft asks the kernel for their names only. */
export async function listTables(): Promise<Set<string>> {
  const { exit, stdout, stderr } = await run('nft', ['list', 'tables']);
  if (exit !== 0) throw new NftFailed(`nft could not list tables: ${stderr.trim()}`, stderr);
  return new Set([...stdout.matchAll(/^table (\S+ \S+)/gm)].map(([, name]) => name!));
}
