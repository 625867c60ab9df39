/** What Phalanx tells an app by its environment: of every service in `uses`, NAME_URL and so on. Throws when it is missing. */
export function given(name: string): string {
  const value = process.env[name];
  if (value === undefined)
    throw new Error(`${name} is not in the environment: is the service in this app's \`uses\`?`);
  return value;
}

export const address = process.env['ADDRESS'] ?? '127.0.0.1';
export const port = Number(process.env['PORT'] ?? 8080);
export const member = process.env['MEMBER'] ?? 'shop';

/** host:port,host:port as a client library wants it. */
export const places = (list: string): { host: string; port: number }[] =>
  list.split(',').map((one) => {
    const at = one.lastIndexOf(':');
    return { host: one.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(one.slice(at + 1)) };
  });
