/** How a real machine is written in the file: `user@host`, an alias of ssh_config, either with `:port` behind it. */
export interface SshName {
  /** As ssh takes it for its destination; a port makes it a URI (ssh(1)). */
  destination: string;
  /** Without user and port: a name, an alias or an address. */
  host: string;
}

/** Takes apart what the file says behind `ssh:`. An IPv6 address with a port stands in brackets: `root@[fd00::1]:22`. */
export function sshName(written: string): SshName {
  const at = written.lastIndexOf('@') + 1;
  const user = written.slice(0, at);
  const place = written.slice(at);
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(place);
  const plain = /^([^:]+):(\d+)$/.exec(place);
  const [, host = place, port] = bracketed ?? plain ?? [];
  if (port === undefined) return { destination: `${user}${host}`, host };
  return { destination: `ssh://${user}${bracketed ? `[${host}]` : host}:${port}`, host };
}
