import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { orders } from './orders.ts';

/** A client: short connections, held connections and datagrams. Argument: how many milliseconds it waits for an answer (default 5000). */
const patience = Number(process.argv[2] ?? 5000);

interface Held {
  socket: Socket;
  lines: string[];
  wake: () => void;
  end: string | undefined;
}

const held = new Map<string, Held>();

function open(host: string, port: number, localPort?: number): Promise<Held> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, ...(localPort === undefined ? {} : { localPort }) });
    const one: Held = { socket, lines: [], wake: () => undefined, end: undefined };
    let rest = '';
    socket.setTimeout(patience, () => socket.destroy(new Error(`no answer in ${patience} ms`)));
    socket.on('data', (data) => {
      rest += data.toString();
      const lines = rest.split('\n');
      rest = lines.pop()!;
      one.lines.push(...lines);
      one.wake();
      if (one.lines.length > 0) resolve(one);
    });
    const over = (why: string) => {
      one.end ??= why;
      one.wake();
      reject(new Error(why));
    };
    socket.on('error', (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
    socket.on('close', () => over('closed'));
  });
}

async function line(one: Held): Promise<string> {
  while (one.lines.length === 0) {
    if (one.end) throw new Error(one.end);
    await new Promise<void>((resolve) => {
      one.wake = resolve;
    });
  }
  return one.lines.shift()!;
}

orders({
  /** One short connection: who answered. */
  ask: async (host: string, port: number, localPort?: number) => {
    const one = await open(host, port, localPort);
    one.socket.end();
    await new Promise((resolve) => one.socket.once('close', resolve));
    return one.lines[0];
  },
  /** Many short connections: answers by name. */
  many: async (host: string, port: number, count: number, parallel: number) => {
    const names: Record<string, number> = {};
    let left = count;
    const worker = async () => {
      while (left-- > 0) {
        let name: string;
        try {
          const one = await open(host, port);
          name = one.lines[0]!;
          const closed = new Promise((resolve) => one.socket.once('close', resolve));
          one.socket.end();
          await closed;
        } catch (error) {
          name = (error as Error).message;
        }
        names[name] = (names[name] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return names;
  },
  hold: async (id: string, host: string, port: number, localPort?: number) => {
    const one = await open(host, port, localPort);
    one.socket.setTimeout(0);
    held.set(id, one);
    return line(one);
  },
  holdMany: async (id: string, host: string, port: number, count: number) => {
    for (let i = 0; i < count; i += 50) {
      await Promise.all(
        Array.from({ length: Math.min(50, count - i) }, async (_, k) => {
          const one = await open(host, port);
          one.socket.setTimeout(0);
          held.set(`${id}${i + k}`, one);
        }),
      );
    }
  },
  say: async (id: string, text: string) => {
    const one = held.get(id)!;
    one.socket.write(`${text}\n`);
    return line(one);
  },
  /** The client's port of a held connection. */
  port: (id: string) => held.get(id)!.socket.localPort,
  /** How connections ended whose id starts so: 'open' if they did not. */
  ends: (id: string) => {
    const ends: Record<string, number> = {};
    for (const [name, one] of held) {
      if (!name.startsWith(id)) continue;
      ends[one.end ?? 'open'] = (ends[one.end ?? 'open'] ?? 0) + 1;
    }
    return ends;
  },
  drop: (id: string) => {
    for (const [name, one] of held) {
      if (!name.startsWith(id)) continue;
      one.socket.destroy();
      held.delete(name);
    }
  },
  /** One datagram from a fresh (or the given) port: who answered, or the error. */
  datagram: (host: string, port: number, localPort?: number) =>
    new Promise((resolve, reject) => {
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      const timer = setTimeout(() => {
        socket.close();
        reject(new Error(`no answer in ${patience} ms`));
      }, patience);
      const over = () => {
        clearTimeout(timer);
        socket.close();
      };
      socket.on('message', (data) => {
        over();
        resolve(data.toString());
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        over();
        reject(new Error(error.code ?? error.message));
      });
      socket.bind(localPort ?? 0, () => {
        socket.connect(port, host, () => socket.send('hello'));
      });
    }),
});
