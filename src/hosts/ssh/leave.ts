import { quote } from '../shell.ts';
import { removeSettingsUnit, usersOf } from '../supervise/systemd.ts';
import { endSupervision } from '../supervise.ts';

/** Sh that finds members which were not removed: they run, or will when the machine boots. */
const installed = (root: string): string => `for service in ${quote(`${root}/members`)}/*/service; do
  [ ! -d "$service" ] || {`;

/**
 * Sh that leaves a real machine as it was: settings are undone by the scripts that were kept with them, the supervisor ends, users
 * and folders go. Data of members stays unless `purge`, and is told as {"kept":MEMBER}. Members are stopped and removed before: where one still
 * is, nothing is done, and the exit status is 1. Of the folder goes what a machine has there; a control machine that is one of the hosts keeps the cluster's
 * state in the same place.
 */
export function leaveScript(root: string, purge: boolean): string {
  const folder = quote(root);
  const goes = `for user in ${usersOf(root)}; do userdel "$user" 2>/dev/null || :; done
  rm -rf ${folder}/members
  rmdir ${folder} 2>/dev/null || :`;
  return `${installed(root)} member=\${service%/service}; echo "\${member##*/} was not stopped and removed: run down again" >&2; exit 1; }
done
for memo in ${folder}/settings/*; do
  [ ! -f "$memo" ] || { sed 1d "$memo" | sh; rm -f "$memo"; }
done
rm -rf ${folder}/settings ${folder}/boot ${folder}/software ${quote(`${root}/kept.json`)}
${removeSettingsUnit(root)}
${endSupervision(root)}
${purge ? `rm -rf ${folder}/members` : ''}
if [ -d ${folder}/members ] && [ -n "$(find ${folder}/members -type f 2>/dev/null | head -n 1)" ]; then
  for member in ${folder}/members/*; do printf '{"kept":"%s"}\\n' "\${member##*/}"; done
else
  ${goes}
fi
exit 0
`;
}

/** As `leaveScript`, data stays; but nothing where members still are, as on a machine that the file has by another name as well. */
export const leaveUnused = (root: string): string =>
  `${installed(root)} exit 0; }
done
${leaveScript(root, false)}`;
