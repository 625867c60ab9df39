import { createHash } from 'node:crypto';
import type { HostSetting, Step } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import { quote } from '../hosts/shell.ts';
import { settingAtBoot } from '../hosts/supervise.ts';

const nameOf = (title: string): string => createHash('sha256').update(title).digest('hex').slice(0, 16);

/**
 * Settings are remembered on their host as `settings/NAME`, first line the title and then the script that undoes it,
 * written before the setting is made: whatever happens after, the next run knows how to take it back. One that is to be
 * made differently is taken back first, by what was remembered of it: a route in another table leaves none in the former.
 */
export function settingSteps(
  cluster: Cluster,
  wanted: HostSetting[],
  found: { ok: Record<string, Record<string, boolean>>; remembered: Record<string, string[]> },
): Step[] {
  const steps: Step[] = [];
  for (const [host, titles] of Object.entries(found.remembered)) {
    const keep = new Set(wanted.filter((setting) => setting.host === host).map((setting) => setting.title));
    const root = cluster.hosts[host]?.root;
    if (!root) continue;
    for (const title of titles.filter((one) => !keep.has(one))) {
      const memo = quote(`${root}/settings/${nameOf(title)}`);
      steps.push({
        id: `unset ${host}: ${title}`,
        verb: 'unset',
        target: host,
        host,
        why: 'no service needs it any more',
        needs: [],
        do: {
          kind: 'script',
          script: `sed 1d ${memo} | sh && rm -f ${memo} ${quote(`${root}/boot/${nameOf(title)}`)}`,
          timeoutMs: 10_000,
        },
      });
    }
  }
  for (const setting of wanted) {
    if (found.ok[setting.host]?.[setting.title] && found.remembered[setting.host]?.includes(setting.title))
      continue;
    const { kind, root } = cluster.hosts[setting.host]!;
    const folder = quote(`${root}/settings`);
    const file = quote(`${root}/settings/${nameOf(setting.title)}`);
    const memo = quote(`${setting.title}\n${setting.undo}\n`);
    // A lab host's settings end with it; a real machine has to make them again when it boots.
    const atBoot = kind === 'ssh' ? `${settingAtBoot(root, nameOf(setting.title), setting.apply)}\n` : '';
    steps.push({
      id: `set ${setting.host}: ${setting.title}`,
      verb: 'set',
      target: setting.host,
      host: setting.host,
      service: setting.service,
      why: `needed by ${setting.service}`,
      needs: [],
      do: {
        kind: 'script',
        script: `mkdir -p ${folder} || exit 1
if [ -f ${file} ] && ! printf %s ${memo} | cmp -s - ${file}; then sed 1d ${file} | sh; fi
printf %s ${memo} > ${file} || exit 1
${atBoot}${setting.apply}`,
        timeoutMs: 10_000,
      },
    });
  }
  return steps;
}

/** Sh that tells which settings were made on a host: a JSON line each, {"remembered": title}. Titles hold no quote or backslash. */
export const rememberedScript = (root: string): string =>
  `for f in ${quote(`${root}/settings`)}/*; do [ -f "$f" ] && { read -r t < "$f"; printf '{"remembered":"%s"}\\n' "$t"; }; done\n`;
