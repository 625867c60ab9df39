/**
 * Why the lab cannot be built by this user, as one sentence; undefined when it can. Namespaces, links and mounts need
 * root (CAP_SYS_ADMIN and CAP_NET_ADMIN; capabilities(7)).
 */
export function needRoot(uid: number | undefined = process.getuid?.()): string | undefined {
  if (uid === 0) return undefined;
  return 'the lab makes network namespaces and needs root: run the same command with sudo, or give each host an ssh: address in the file';
}
