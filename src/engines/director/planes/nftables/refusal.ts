import type { Listen } from '../../tables.ts';

/**
 * Why plane nftables cannot carry a listen whose directors are on these hosts, as a sentence that names what can; undefined when it
 * can. What is switched at ingress (nat, dr) leaves by the wire: to the host's own address nobody there answers.
 */
export function nftablesRefuses(
  { name, forward, servers, sorry }: Listen,
  directors: readonly string[],
): string | undefined {
  if (forward === 'fullnat') return undefined;
  const own = [...servers, ...sorry].find(({ host }) => directors.includes(host));
  if (!own) return undefined;
  return `nftables cannot forward by ${forward} to ${own.name}, on a director's own host: use plane haproxy or forward fullnat for ${name}, or other hosts`;
}
