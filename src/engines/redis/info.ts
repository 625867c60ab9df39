import type { LiveMember } from './live.ts';

/** INFO's lines as names and values; sections are not kept apart, their names do not clash. */
export function parseInfo(text: string): Record<string, string> {
  const result: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) result[line.slice(0, colon)] = line.slice(colon + 1);
  }
  return result;
}

/** 'a=1,b=2' as INFO writes its lists. */
export const fields = (value: string): Record<string, string> =>
  Object.fromEntries(
    value.split(',').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );

/** Names and values that come as a flat list: CONFIG GET, SENTINEL MASTER. */
export function pairs(list: unknown): Record<string, string> {
  const result: Record<string, string> = {};
  if (Array.isArray(list))
    for (let i = 0; i + 1 < list.length; i += 2) result[String(list[i])] = String(list[i + 1]);
  return result;
}

/** Role, history and keys of a member, from its INFO. */
export function fromInfo(info: Record<string, string>): Partial<LiveMember> {
  const replica = info['role'] === 'slave';
  const followers = Object.entries(info)
    .filter(([name]) => /^slave\d+$/.test(name))
    .map(([, value]) => fields(value))
    .map((one) => ({
      address: one['ip'] ?? '',
      port: Number(one['port']),
      offset: Number(one['offset']),
      online: one['state'] === 'online',
    }));
  const keys = Object.entries(info)
    .filter(([name]) => /^db\d+$/.test(name))
    .reduce((sum, [, value]) => sum + Number(fields(value)['keys'] ?? 0), 0);
  return {
    role: replica ? 'replica' : 'master',
    ...(replica
      ? { upstream: { address: info['master_host'] ?? '', port: Number(info['master_port']) } }
      : {}),
    ...(replica ? { linkUp: info['master_link_status'] === 'up' } : {}),
    replid: info['master_replid'] ?? '',
    replid2: info['master_replid2'] ?? '',
    // A replica's own place in the history; a master's is the same line.
    offset: Number(
      replica
        ? (info['slave_repl_offset'] ?? info['master_repl_offset'] ?? 0)
        : (info['master_repl_offset'] ?? 0),
    ),
    secondOffset: Number(info['second_repl_offset'] ?? -1),
    loading: info['loading'] === '1' || info['async_loading'] === '1',
    followers,
    keys,
    info,
  };
}
