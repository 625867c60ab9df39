import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { adminUser, managementPort, type RabbitService } from './names.ts';

/** The management API answered, and not with success. */
export class ApiRefused extends Error {
  override name = 'ApiRefused';
  status: number;
  body: unknown;
  constructor(what: string, status: number, body: unknown) {
    const reason = (body as { reason?: unknown })?.reason;
    super(`${what}: ${status}${reason === undefined ? '' : ` ${String(reason)}`}`);
    this.status = status;
    this.body = body;
  }
}

/** One node's management API (rabbitmq.com/management.html), as the administrator. */
export interface Api {
  host: string;
  /** JSON of the answer; undefined where there is none. Rejects with ApiRefused, or with a plain Error when nothing came in time. */
  call(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<unknown>;
}

/** `timeoutMs` is for each call, from connecting to the last byte. */
export function apiOf(
  service: RabbitService,
  cluster: Cluster,
  host: string,
  reach: Reach,
  timeoutMs: number,
): Api {
  const password = cluster.secrets[`${service.name}/admin`] ?? '';
  return {
    host,
    async call(method, path, body) {
      const at = await reach.endpoint(host, managementPort(service.spec));
      return ask(at, { method, path, auth: `${adminUser}:${password}`, timeoutMs }, body);
    },
  };
}

async function ask(
  at: { host: string; port: number },
  { method, path, auth, timeoutMs }: { method: string; path: string; auth: string; timeoutMs: number },
  body: unknown,
): Promise<unknown> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  // Loaded here: to a command that has nothing to do with RabbitMQ it would be a sixth of its time.
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        ...at,
        method,
        path,
        auth,
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
        headers:
          text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (response) => {
        let said = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          said += chunk;
        });
        response.on('error', fail);
        response.on('end', () => {
          const value = parsed(said);
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300) resolve(value);
          else reject(new ApiRefused(`${method} ${path}`, status, value));
        });
      },
    );
    const fail = (error: Error): void =>
      reject(
        error.name === 'AbortError' || error.name === 'TimeoutError'
          ? new Error(`the management API does not answer within ${timeoutMs / 1000} s`)
          : new Error(
              `the management API does not answer: ${(error as NodeJS.ErrnoException).code ?? error.message}`,
            ),
      );
    sent.on('error', fail);
    sent.end(text);
  });
}

function parsed(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
