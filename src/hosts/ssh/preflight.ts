import { quote } from '../shell.ts';
import { type Hearing, hearingScript } from './hearing.ts';

/** What one machine is asked before anything is changed. */
export interface Questions {
  /** Ports of other hosts that it has to reach, as ADDRESS:PORT. */
  reach: string[];
  modules: string[];
  packages: string[];
  /** VIPs of services that it directs: it asks the network who has them. */
  vips: string[];
  /** All of the cluster: it is asked which of them it has itself. */
  allVips: string[];
  /** Conversations with other hosts, each of which needs a word of its own that is the same on all of them. */
  hearings: (Hearing & { token: string })[];
  /** Where the members' folders will be. */
  root: string;
  /** Unit names that are to be the cluster's, systemd only. */
  units: string[];
  device?: string;
}

export interface Preflight {
  /** Seconds since 1970 by the machine's own clock, when the script began. */
  clock: number;
  /** Bytes. */
  disk: number;
  memory: number;
  memoryFree: number;
  /** Tells machines apart that two names lead to. */
  identity: string;
  /** Hardware addresses of its interfaces. */
  macs: string[];
  /** TCP ports that something listens on. */
  listening: number[];
  /** ADDRESS:PORT -> 'open', 'refused' or why not. */
  reached: Record<string, string>;
  /** Modules that the kernel has not. */
  lacking: string[];
  /** Package -> version that is or would be installed; '' where apt knows none. Absent where apt has no lists yet. */
  versions: Record<string, string>;
  /** VIP -> hardware address of whoever answers for it. */
  answered: Record<string, string>;
  /** VIPs that an interface of its own has, but for lo and tunnels, where real servers have them. */
  holds: string[];
  /** SERVICE WAY in which it spoke, and ADDRESS of whom it heard so. */
  heard: Record<string, string[]>;
  /** Units of that name that somebody else made. */
  foreign: string[];
}

/**
 * Connects to all at once and tells how each ended. Nobody has to listen: a refusal has come all the way as well. perl-base is
 * essential in Debian, nc and bash's /dev/tcp are not in every sh.
 */
const connectAll = `perl -e '
use Socket; use Fcntl; use Errno qw(EINPROGRESS ECONNREFUSED);
my %open; my $all = "";
sub ended { my ($to, $is) = @_; printf qq({"to":"%s","is":"%s"}\\n), $to, $is == 0 ? "open" : $is == ECONNREFUSED ? "refused" : do { $! = $is; "$!" } }
for my $to (@ARGV) {
  my ($address, $port) = split /:/, $to;
  socket(my $socket, PF_INET, SOCK_STREAM, 0) or next;
  fcntl($socket, F_SETFL, O_NONBLOCK);
  if (connect($socket, sockaddr_in($port, inet_aton($address)))) { ended($to, 0) }
  elsif ($! == EINPROGRESS) { $open{fileno $socket} = [$socket, $to]; vec($all, fileno $socket, 1) = 1 }
  else { ended($to, $!) }
}
my $end = time + 3;
while (%open and time < $end) {
  select(undef, my $ready = $all, undef, 0.2) or next;
  for my $at (keys %open) {
    next unless vec($ready, $at, 1);
    my ($socket, $to) = @{delete $open{$at}};
    vec($all, $at, 1) = 0;
    ended($to, unpack("i", getsockopt($socket, SOL_SOCKET, SO_ERROR)));
  }
}
printf qq({"to":"%s","is":"no answer"}\\n), $_->[1] for values %open;
'`;

/** Makes the kernel ask who has the address (a datagram to the discard port), so that the neighbour table knows the answer. */
const askForAddress = `perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 0); send(S, "", 0, sockaddr_in(9, inet_aton($_))) for @ARGV'`;

/** Sh that answers the questions in JSON lines; changes nothing. */
export function preflightScript(asked: Questions): string {
  const four = asked.vips.filter((vip) => !vip.includes(':'));
  const on = asked.device === undefined ? '' : ` dev ${asked.device}`;
  const clear = four.map((vip) => `ip neigh del ${vip}${on} 2>/dev/null`).join('\n');
  return `printf '{"clock":%s}\\n' "$(date +%s.%N)"
has_module() {
  [ -d "/sys/module/$1" ] || modprobe -nq "$1" 2>/dev/null || grep -qs "/$1.ko" "/lib/modules/$(uname -r)/modules.builtin" || [ ! -d "/lib/modules/$(uname -r)" ]
}
# Before what takes a machine its own time: those that are to hear each other begin together.
${asked.hearings.map((hearing) => `${hearingScript(hearing, hearing.token)} &`).join('\n')}
df -Pk ${quote(asked.root.slice(0, asked.root.lastIndexOf('/')))} /var/lib 2>/dev/null | awk 'NR == 2 { printf "{\\"disk\\":%.0f}\\n", $4 * 1024 }'
awk '$1 == "MemTotal:" { total = $2 } $1 == "MemAvailable:" { free = $2 } END { printf "{\\"memory\\":%.0f,\\"memoryFree\\":%.0f}\\n", total * 1024, free * 1024 }' /proc/meminfo
printf '{"identity":"%s %s"}\\n' "$(cat /proc/sys/kernel/random/boot_id)" "$(readlink /proc/self/ns/net)"
ip -o link show | sed -n 's/.*link\\/ether \\([0-9a-f:]*\\) .*/{"mac":"\\1"}/p'
# State 0A is LISTEN (proc(5)).
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' | sort -u | while read -r port; do
  printf '{"listening":%d}\\n' "0x$port"
done
for module in ${asked.modules.map(quote).join(' ')}; do
  has_module "$module" || printf '{"lacking":"%s"}\\n' "$module"
done
if [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || [ -n "$(ls /var/lib/apt/lists/*.lz4 2>/dev/null)" ]; then
  ${
    asked.packages.length === 0
      ? ':'
      : `LC_ALL=C apt-cache policy ${asked.packages.map(quote).join(' ')} 2>/dev/null | awk '
function say() { if (name != "") printf "{\\"package\\":\\"%s\\",\\"version\\":\\"%s\\"}\\n", name, installed != "(none)" ? installed : candidate == "(none)" ? "" : candidate }
/^[^ ]/ { say(); name = $1; sub(/:$/, "", name) }
$1 == "Installed:" { installed = $2 }
$1 == "Candidate:" { candidate = $2 }
END { say() }'`
  }
fi
for unit in ${asked.units.map(quote).join(' ')}; do
  file=/etc/systemd/system/$unit
  [ ! -e "$file" ] || grep -qF ${quote(`${asked.root}/`)} "$file" || printf '{"foreign":"%s"}\\n' "$unit"
done
${asked.allVips.map((vip) => `ip -o addr show to ${vip} | awk '$2 != "lo" && $2 !~ /^tunl/ { print "{\\"holds\\":\\"${vip}\\"}"; exit }'`).join('\n')}
${asked.reach.length === 0 ? '' : `${connectAll} ${asked.reach.map(quote).join(' ')} &`}
${
  four.length === 0
    ? ''
    : `${clear}
${askForAddress} ${four.join(' ')}
sleep 1.5
${four.map((vip) => `ip -o neigh show to ${vip}${on} | sed -n 's/.* lladdr \\([0-9a-f:]*\\).*/{"vip":"${vip}","answered":"\\1"}/p'`).join('\n')}`
}
wait
true`;
}

/** The answer of `preflightScript`; a package that apt has never heard of it does not even name. */
export function parsePreflight(asked: Questions, lines: Record<string, unknown>[]): Preflight {
  const number = (key: string): number => Number(lines.find((line) => key in line)?.[key] ?? 0);
  const all = <T>(key: string, give: (line: Record<string, unknown>) => T): T[] =>
    lines.filter((line) => key in line).map(give);
  const pairs = (key: string, value: string): Record<string, string> =>
    Object.fromEntries(all(key, (line) => [String(line[key]), String(line[value])]));
  const unheard = Object.fromEntries(asked.packages.map((name) => [name, '']));
  return {
    clock: number('clock'),
    disk: number('disk'),
    memory: number('memory'),
    memoryFree: number('memoryFree'),
    identity: String(lines.find((line) => 'identity' in line)?.['identity'] ?? ''),
    macs: all('mac', (line) => String(line['mac'])),
    listening: all('listening', (line) => Number(line['listening'])),
    reached: pairs('to', 'is'),
    lacking: all('lacking', (line) => String(line['lacking'])),
    versions: { ...(lines.some((line) => 'package' in line) ? unheard : {}), ...pairs('package', 'version') },
    answered: pairs('vip', 'answered'),
    holds: all('holds', (line) => String(line['holds'])),
    heard: Object.fromEntries(
      lines
        .filter((line) => 'speaks' in line)
        .map(({ speaks, with: token }) => [
          `${asked.hearings.find((hearing) => hearing.token === token)?.service} ${speaks}`,
          lines
            .filter((line) => line['hears'] === speaks && line['with'] === token)
            .map((line) => String(line['from'])),
        ]),
    ),
    foreign: all('foreign', (line) => String(line['foreign'])),
  };
}
