import zookeeper, { type Client } from 'node-zookeeper-client';
import { given } from './settings.ts';
import { Late, within } from './tier.ts';

/** ZooKeeper counts the children of a node, so the name of a sequential child is a number that nobody else was given. */
const parent = '/numbers';
const sessionMs = 4_000;
/** Only whoever has the same user and password. */
const owners = [new zookeeper.ACL(zookeeper.Permission.ALL, new zookeeper.Id('auth', ''))];

let open: Client | undefined;

function session(): Client {
  if (open) return open;
  const client = zookeeper.createClient(given('LOCKS_URL'), {
    sessionTimeout: sessionMs,
    spinDelay: 100,
    retries: 0,
  });
  client.addAuthInfo('digest', Buffer.from(given('LOCKS_AUTH')));
  client.on('expired', () => renew(client));
  client.connect();
  open = client;
  return client;
}

/** The library waits for ever on a server that is frozen: whoever has waited too long begins anew, with a server that answers. */
function renew(client: Client): void {
  if (open === client) open = undefined;
  client.close();
}

function create(client: Client, path: string, mode: number): Promise<string> {
  return new Promise((resolve, reject) => {
    client.create(path, owners, mode, (error, made) => (error ? reject(error) : resolve(made)));
  });
}

/** An order number: never the same twice, growing; numbers may be left out. */
export async function nextNumber(): Promise<number> {
  const client = session();
  try {
    return await within(take(client), 900);
  } catch (error) {
    if (error instanceof Late) renew(client);
    throw error;
  }
}

async function take(client: Client): Promise<number> {
  const { EPHEMERAL_SEQUENTIAL, PERSISTENT } = zookeeper.CreateMode;
  const path = await create(client, `${parent}/n-`, EPHEMERAL_SEQUENTIAL).catch(async (error) => {
    if (error.getCode?.() !== zookeeper.Exception.NO_NODE) throw error;
    await create(client, parent, PERSISTENT).catch((late) => {
      if (late.getCode?.() !== zookeeper.Exception.NODE_EXISTS) throw late;
    });
    return create(client, `${parent}/n-`, EPHEMERAL_SEQUENTIAL);
  });
  // Only its number was wanted; should this fail, the node goes with the session.
  client.remove(path, -1, () => undefined);
  return Number(path.slice(path.lastIndexOf('-') + 1)) + 1;
}

export function close(): void {
  open?.close();
}
