import { quote } from '../shell.ts';

/** A way by which hosts speak to each other that is no TCP port: whether it is let through can only be found out by speaking. */
export interface Way {
  /** For a person: 'VRRP (IP protocol 112)'. No colon and no quote. */
  name: string;
  /** The multicast group that they speak to; without one each peer is spoken to. */
  group?: string;
  /** UDP to this port; without one packets of IP protocol 112. */
  port?: number;
  /** Only where the kernel has this module. */
  module?: string;
  /** What comes of it when they do not hear each other so, as the rest of a sentence. */
  matters: string;
}

/** One host's conversation with others that have the same one with it, at the same time. */
export interface Hearing {
  service: string;
  own: string;
  peers: string[];
  ways: Way[];
}

/** Looks at its sockets five times a second, for at most so many times. */
const looks = 50;

/**
 * Speaks to its peers and listens to them, in all ways at once, until everybody has heard everybody or time is over. Its words are no valid VRRP
 * (version 5), so that who speaks that already drops them. perl-base is essential in Debian.
 */
const converse = `perl -e '
use Socket;
my ($own, $token, $looks, $peers, @ways) = @ARGV;
my @peers = split /,/, $peers;
my (@open, %heard, %told);
for (@ways) {
  my ($name, $port, $group) = split /:/;
  my $socket;
  if ($port) {
    socket($socket, PF_INET, SOCK_DGRAM, 17) && bind($socket, sockaddr_in($port, INADDR_ANY)) or next;
  } else { socket($socket, PF_INET, SOCK_RAW, 112) or next }
  if ($group) {
    setsockopt($socket, 0, 35, inet_aton($group) . inet_aton($own)) or next;
    setsockopt($socket, 0, 32, inet_aton($own));
    setsockopt($socket, 0, 34, pack("i", 0));
  }
  push @open, [$name, $port, $group, $socket];
  print qq({"speaks":"$name","with":"$token"}\\n);
}
my $more = 3;
while ($looks-- > 0 and $more > 0) {
  my $whole = 1;
  for (@open) {
    my ($name, $port, $group, $socket) = @$_;
    my $words = join " ", "Phalanx", $token, $own, grep { $heard{"$name $_"} } @peers;
    send($socket, $words, 0, sockaddr_in($port || 0, inet_aton($_))) for $group ? $group : @peers;
    for (;;) {
      my $ready = ""; vec($ready, fileno $socket, 1) = 1;
      last unless select($ready, undef, undef, 0) > 0;
      my $said; defined recv($socket, $said, 2000, 0) or last;
      $said = substr($said, 4 * (ord($said) & 15)) unless $port;
      my ($who, $with, $from, @hears) = split / /, $said;
      next unless $who eq "Phalanx" and $with eq $token;
      $heard{"$name $from"} = 1;
      $told{"$name $from"} = 1 if grep { $_ eq $own } @hears;
    }
    for (@peers) { $whole = 0 unless $told{"$name $_"} }
  }
  $more-- if $whole;
  select(undef, undef, undef, 0.2);
}
for (sort keys %heard) { my ($name, $from) = /(.*) (\\S+)$/; print qq({"hears":"$name","with":"$token","from":"$from"}\\n) }
'`;

/**
 * Sh that has the conversation, and tells in JSON lines what it speaks and whom it hears. A way that is in use here already, by what the cluster
 * runs, is left alone. \`token\` is the same on all hosts. Needs the function has_module.
 */
export function hearingScript({ own, peers, ways }: Hearing, token: string): string {
  const words = ways.map(({ name, port, group, module }) => {
    const way = `set -- "$@" ${quote(`${name}:${port ?? ''}:${group ?? ''}`)}`;
    const free = port === undefined ? `! grep -qs ':0070 ' /proc/net/raw` : '';
    const conditions = [free, module === undefined ? '' : `has_module ${module}`].filter(Boolean);
    return conditions.length === 0 ? way : `if ${conditions.join(' && ')}; then ${way}; fi`;
  });
  return `( set --
${words.join('\n')}
[ $# -eq 0 ] || ${converse} ${own} ${token} ${looks} ${peers.join(',')} "$@"
)`;
}
