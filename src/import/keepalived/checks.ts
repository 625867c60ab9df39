import { isIPv4, isIPv6 } from 'node:net';
import type { CheckWords, Note } from '../model.ts';
import type { Statement } from './blocks.ts';
import { Section } from './section.ts';

/** Times that a virtual server gives its real servers and these give their checks, in seconds. */
export interface Times {
  delay: number | undefined;
  retry: number | undefined;
  pause: number | undefined;
  timeout: number | undefined;
}

export interface FoundCheck {
  check: CheckWords;
  port?: number;
}

export const checkers = [
  'TCP_CHECK',
  'HTTP_GET',
  'SSL_GET',
  'MISC_CHECK',
  'SMTP_CHECK',
  'DNS_CHECK',
  'UDP_CHECK',
  'PING_CHECK',
  'BFD_CHECK',
  'FILE_CHECK',
];

/** What keepalived itself takes where the file says nothing (keepalived.conf(5)). */
const defaults = { delay: 60, timeout: 5, retry: 1, httpRetry: 3, dnsRetry: 3, miscRetry: 0 };

/** The times of a block, falling back to those of the block around it. */
export function timesOf(section: Section, outer?: Times): Times {
  return {
    delay: section.number('delay_loop') ?? outer?.delay,
    retry: section.number('retry', 'nb_get_retry', 'nb_sock_retry') ?? outer?.retry,
    pause: section.number('delay_before_retry') ?? outer?.pause,
    timeout: section.number('connect_timeout') ?? outer?.timeout,
  };
}

/** Seconds of keepalived in our words, within what our file takes. */
export function seconds(value: number, least = 10, most = 3_600_000): string {
  const ms = Math.min(most, Math.max(least, Math.round(value * 1000)));
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

/** Whole seconds, at least one, as the options of commands want them. */
const whole = (timeout: number): number => Math.max(1, Math.ceil(timeout));

/** A word of a shell command, safe whatever it holds. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

interface Context {
  notes: Note[];
  times: Times;
  virtualhost: string | undefined;
  /** The real server's own. */
  address: string;
  /** The real server's port; undefined: all. */
  port: number | undefined;
}

/** A checker of a real server as one of our checks. */
export function checkOf(statement: Statement, context: Context): FoundCheck {
  const kind = statement.words[0]!;
  const section = new Section(statement, context.notes);
  const times = timesOf(section, context.times);
  const http = kind === 'HTTP_GET' || kind === 'SSL_GET';
  const retry =
    times.retry ??
    (http
      ? defaults.httpRetry
      : kind === 'DNS_CHECK'
        ? defaults.dnsRetry
        : kind === 'MISC_CHECK'
          ? defaults.miscRetry
          : defaults.retry);
  const delay = times.delay ?? defaults.delay;
  const misc = kind === 'MISC_CHECK' ? section.number('misc_timeout') : undefined;
  const timeout = misc ?? (kind === 'MISC_CHECK' ? delay : (times.timeout ?? defaults.timeout));
  const words: CheckWords = {
    interval: seconds(delay),
    timeout: seconds(timeout, 1, 600_000),
    fall: Math.min(1000, retry + 1),
  };
  if (times.pause !== undefined && times.pause !== delay && retry > 0)
    section.note(
      'differs',
      statement,
      `after a failure keepalived asks again after ${times.pause} s (delay_before_retry); Phalanx keeps its interval of ${delay} s, and takes a server out after ${retry + 1} failures in a row`,
    );

  section.tell('ours', 'every agent starts its checks at once; one address and port is asked once', 'warmup');
  section.tell('ours', 'a server is out until its first check has passed', 'alpha');
  section.tell(
    'lost',
    'checks leave from the director’s own address',
    'bindto',
    'bind_port',
    'bind_if',
    'fwmark',
  );
  section.tell(
    'lost',
    'every failed check is in the agent’s status; it has no log of them',
    'log_all_failures',
  );
  const elsewhere = section.one('connect_ip');
  const written = section.number('connect_port');
  const port = written === undefined || written === context.port ? undefined : written;
  const address = elsewhere && addressOf(elsewhere, section);
  const made = wordsOf(kind, section, context, { port, address, timeout });
  section.rest();
  return { check: { ...made, ...words }, ...(port === undefined ? {} : { port }) };
}

function addressOf(statement: Statement, section: Section): string | undefined {
  const address = statement.words[1] ?? '';
  if (isIPv4(address) || isIPv6(address)) return address;
  section.note('lost', statement, 'not an address');
  return undefined;
}

interface Aim {
  /** Another port than the server's. */
  port: number | undefined;
  /** Another address than the server's. */
  address: string | undefined;
  timeout: number;
}

function wordsOf(kind: string, section: Section, context: Context, aim: Aim): CheckWords {
  if (kind === 'HTTP_GET' || kind === 'SSL_GET') return httpWords(kind, section, context, aim);
  if (kind === 'MISC_CHECK') return miscWords(section, context);
  if (kind === 'PING_CHECK') return pingWords(aim);
  if (kind === 'DNS_CHECK') return dnsWords(section, aim);
  const { statement } = section;
  if (kind === 'BFD_CHECK' || kind === 'FILE_CHECK') {
    section.tell('lost', 'belongs to the check', 'name', 'track_file', 'dynamic', 'weight');
    section.note('lost', statement, 'has no equal: the port is asked instead');
  }
  if (kind === 'SMTP_CHECK') {
    section.tell('lost', 'belongs to the conversation in SMTP', 'helo_name');
    section.tell('lost', 'one address is asked, the real server’s own', 'host');
    section.note('differs', statement, 'that the port accepts a connection is enough; no SMTP is spoken');
  }
  if (kind === 'UDP_CHECK') {
    section.tell(
      'lost',
      'no datagram is sent',
      'payload',
      'require_reply',
      'min_reply_length',
      'max_reply_length',
    );
    section.note('differs', statement, 'the host is asked by ping: nothing of ours speaks UDP to a server');
    return pingWords(aim);
  }
  return tcpWords(aim);
}

function tcpWords({ port, address, timeout }: Aim): CheckWords {
  if (port === undefined && address === undefined) return { tcp: true };
  // bash is on every Debian; its /dev/tcp connects.
  const to = `${address ?? '$ADDRESS'}/${port ?? '$PORT'}`;
  return { script: `timeout ${whole(timeout)} bash -c "</dev/tcp/${to}"` };
}

function pingWords({ address, timeout }: Aim): CheckWords {
  const to = address === undefined ? '"$ADDRESS"' : shellWord(address);
  return { script: `ping -q -c 1 -W ${whole(timeout)} ${to}` };
}

function dnsWords(section: Section, { port, address, timeout }: Aim): CheckWords {
  const type = section.value('type') ?? 'SOA';
  const name = section.value('name') ?? '.';
  section.note('differs', section.statement, 'asked by dig: the directors need the package bind9-dnsutils');
  const to = address === undefined ? '"@$ADDRESS"' : shellWord(`@${address}`);
  return {
    script: `dig +tries=1 +time=${whole(timeout)} ${to} -p ${port ?? '"$PORT"'} ${shellWord(type)} ${shellWord(name)} | grep -q 'status: NOERROR'`,
  };
}

function miscWords(section: Section, context: Context): CheckWords {
  const path = section.one('misc_path');
  section.tell('lost', 'a check says healthy or not; it sets no weight', 'misc_dynamic');
  section.tell('lost', 'checks run as the agent does', 'user');
  if (!path || path.words.length < 2) {
    section.note('lost', section.statement, 'has no misc_path: the port is asked instead');
    return { tcp: true };
  }
  const words =
    path.words.length > 2 ? path.words.slice(1) : path.words[1]!.split(/\s+(?=(?:[^']*'[^']*')*[^']*$)/);
  // All servers of a listen have one check: what is said of this one is said of each.
  const own = new Map([
    [context.address, '"$ADDRESS"'],
    ...(context.port === undefined ? [] : [[String(context.port), '"$PORT"'] as const]),
  ]);
  const command = words
    .map((word) => own.get(word) ?? (path.words.length > 2 ? shellWord(word) : word))
    .join(' ');
  if (/[`;&|<>*?()\\]/.test(command))
    section.note(
      'differs',
      path,
      'a shell runs it here: signs that a shell reads mean what they mean to one',
    );
  section.note('differs', path, 'the script must be on every director: Phalanx does not bring it');
  return { script: command };
}

/** Statuses that keepalived takes for good when the file names none. */
const goodStatus = '200-299';

function httpWords(
  kind: string,
  section: Section,
  context: Context,
  { port, address, timeout }: Aim,
): CheckWords {
  section.tell('ours', 'one request with a connection of its own', 'http_protocol', 'fast_recovery');
  const inherited = section.value('virtualhost') ?? context.virtualhost;
  const sni = section.flag('enable_sni');
  const urls = section.all('url');
  const [first] = urls;
  for (const other of urls.slice(1)) section.note('lost', other, 'a check asks one path: the first');
  const url = first ? new Section(first, context.notes) : undefined;
  const path = url?.value('path') ?? '/';
  const host = url?.value('virtualhost') ?? inherited;
  const statuses = url?.one('status_code')?.words.slice(1) ?? [goodStatus];
  url?.tell('lost', 'the body is not looked at, the status is', 'digest', 'regex', 'regex_no_match');
  url?.tell(
    'lost',
    'belongs to a pattern',
    'regex_options',
    'regex_stack',
    'regex_min_offset',
    'regex_max_offset',
  );
  url?.rest();
  const ranges = statuses.filter((word) => /^[1-5]\d\d(-[1-5]\d\d)?$/.test(word));
  const good = path.startsWith('/') && !/\s/.test(path) ? path : `/${encodeURI(path.trim())}`;

  if (kind === 'HTTP_GET' && port === undefined && address === undefined) {
    if (ranges.length > 1 && first)
      section.note('differs', first, `a check takes one range of statuses: ${ranges[0]}`);
    return {
      http: good,
      ...(host === undefined ? {} : { host }),
      status: ranges[0] ?? goodStatus,
    };
  }
  const to = address === undefined ? '$ADDRESS' : isIPv6(address) ? `[${address}]` : address;
  const at = `"${to}:${port ?? '$PORT'}"`;
  const scheme = kind === 'SSL_GET' ? 'https' : 'http';
  const named = host !== undefined && sni !== undefined;
  const target = named
    ? `--connect-to ${shellWord(`${host}::`)}${at} ${shellWord(`${scheme}://${host}${good}`)}`
    : `${host === undefined ? '' : `-H ${shellWord(`Host: ${host}`)} `}${scheme}://${at}${shellWord(good)}`;
  const pattern = ranges.length > 0 ? ranges.map(statusPattern).join('|') : statusPattern(goodStatus);
  section.note(
    'differs',
    section.statement,
    `${kind === 'SSL_GET' ? 'asked over TLS' : 'asked elsewhere than at its own port'} by curl, which the directors need; ${kind === 'SSL_GET' ? 'the certificate is not verified, as keepalived does not' : 'the status counts'}`,
  );
  return {
    script: `curl -sk -o /dev/null -m ${whole(timeout)} -w '%{http_code}' ${target} | grep -Eqx '${pattern}'`,
  };
}

/** `200-299` as a pattern for grep -E. */
function statusPattern(range: string): string {
  const [low = 0, high = low] = range.split('-').map(Number);
  if (high < low) return String(low);
  if (low % 100 === 0 && high === low + 99) return `${low / 100}..`;
  return Array.from({ length: high - low + 1 }, (_, i) => low + i).join('|');
}
