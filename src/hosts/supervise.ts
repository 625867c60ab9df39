/**
 * Members under a host's supervisor (s6), as fragments of POSIX sh: pure, and each safe to repeat. Needs the Debian
 * packages s6 and coreutils on the host.
 */
export { type HostObserved, observeScript, parseObserved } from './supervise/observe.ts';
export { asOwner } from './supervise/owner.ts';
export { type ReleaseSource, releaseFragment } from './supervise/release.ts';
export {
  clearFragment,
  diedFragment,
  endSupervision,
  hupFragment,
  logFragment,
  pidFragment,
  removeFragment,
  restartFragment,
  startFragment,
  stopFragment,
  wantedUp,
} from './supervise/run.ts';
export { logFolder, memberFolder, restartHash } from './supervise/service.ts';
export { type Fragment, stepScript } from './supervise/steps.ts';
export { settingAtBoot } from './supervise/systemd.ts';
export { ownFiles, writeFragment } from './supervise/write.ts';
