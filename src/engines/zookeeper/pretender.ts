import { createServer, type Server, type Socket } from 'node:net';
import { Answer, Packet } from './jute.ts';
import { nodeExists, noNode, types } from './wire.ts';

/**
 * For the tests of what keeps a session: servers on loopback that share one tree, and can be frozen, stopped and made to forget
 * sessions. Of ZooKeeper's protocol only what we speak; that we speak it right is shown by lab tests with the real one.
 */
export class Pretender {
  readonly nodes = new Map<string, bigint>([['/locks', 0n]]);
  readonly servers: { port: number; frozen: boolean; electing: boolean }[] = [];
  readonly sessions = new Set<bigint>();
  /** Sessions as they were opened, in order; each time anew or gone on with. */
  readonly opened: bigint[] = [];
  readonly timeoutMs: number;
  pings = 0;
  #next = 100n;
  #watches: { path: string; wire: Socket }[] = [];
  #listening: Server[] = [];
  #sockets = new Map<Socket, number>();

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
  }

  async listen(): Promise<void> {
    const nth = this.servers.length;
    const server = createServer((socket) => this.#serve(socket, nth));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    this.#listening.push(server);
    this.servers.push({ port: (server.address() as { port: number }).port, frozen: false, electing: false });
  }

  get url(): string {
    return `${this.servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}/locks`;
  }

  /** Servers accept, and say nothing more. */
  freeze(...which: number[]): void {
    for (const [nth, server] of this.servers.entries()) server.frozen = which.includes(nth);
  }

  /** Servers are without a majority: they accept, and hang up on whoever asks for a session. The others are not. */
  elect(...which: number[]): void {
    for (const [nth, server] of this.servers.entries()) server.electing = which.includes(nth);
    for (const [socket, nth] of this.#sockets) if (which.includes(nth)) socket.destroy();
  }

  /** How many connections there are to each. */
  connections(): number[] {
    return this.servers.map((_, nth) => [...this.#sockets.values()].filter((one) => one === nth).length);
  }

  /** The session is over, with its nodes; whoever it was has to begin anew. */
  expire(session: bigint): void {
    this.sessions.delete(session);
    for (const [path, owner] of this.nodes) if (owner === session) this.remove(path);
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  add(path: string, owner = 0n): void {
    this.nodes.set(path, owner);
    this.#tell(path);
  }

  remove(path: string): void {
    this.nodes.delete(path);
    this.#tell(path);
  }

  close(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
    for (const server of this.#listening) server.close();
  }

  #tell(path: string): void {
    const above = path.slice(0, path.lastIndexOf('/'));
    const hit = this.#watches.filter((watch) => watch.path === path || watch.path === above);
    this.#watches = this.#watches.filter((watch) => !hit.includes(watch));
    for (const watch of hit) {
      const event = new Packet().int(-1).long(-1n).int(0).int(1).int(3).string(watch.path);
      watch.wire.write(event.frame());
    }
  }

  #serve(socket: Socket, nth: number): void {
    this.#sockets.set(socket, nth);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#watches = this.#watches.filter((watch) => watch.wire !== socket);
    });
    let session: bigint | undefined;
    let rest = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      if (this.servers[nth]!.frozen) return;
      if (this.servers[nth]!.electing) {
        socket.destroy();
        return;
      }
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE()) {
        const frame = rest.subarray(4, 4 + rest.readInt32BE());
        rest = rest.subarray(4 + frame.length);
        if (session === undefined) session = this.#open(socket, new Answer(frame));
        else this.#answer(socket, session, new Answer(frame));
      }
    });
  }

  #open(socket: Socket, hello: Answer): bigint {
    hello.int();
    hello.long();
    hello.int();
    const asked = hello.long();
    const known = this.sessions.has(asked);
    const id = asked === 0n ? this.#next++ : asked;
    if (asked === 0n) this.sessions.add(id);
    const good = asked === 0n || known;
    if (good) this.opened.push(id);
    socket.write(
      new Packet()
        .int(0)
        .int(good ? this.timeoutMs : 0)
        .long(good ? id : 0n)
        .buffer(Buffer.alloc(16, 7))
        .bool(false)
        .frame(),
    );
    if (!good) socket.end();
    return id;
  }

  #answer(socket: Socket, session: bigint, asked: Answer): void {
    const xid = asked.int();
    const result = this.#result(asked.int(), asked, session, socket);
    const error = typeof result === 'number' ? result : 0;
    const header = new Packet().int(xid).long(1n).int(error);
    socket.write((typeof result === 'number' ? header : result(header)).frame());
  }

  /** What the answer has behind its header, or the error. */
  #result(
    type: number,
    asked: Answer,
    session: bigint,
    socket: Socket,
  ): number | ((header: Packet) => Packet) {
    const nothing = (header: Packet): Packet => header;
    if (type === types.ping) this.pings++;
    if (type === types.ping || type === types.auth) return nothing;
    const path = asked.string();
    const owner = this.nodes.get(path);
    const above = path.slice(0, path.lastIndexOf('/'));
    const watch = (): void => {
      if (asked.bool()) this.#watches.push({ path, wire: socket });
    };
    switch (type) {
      case types.exists:
        watch();
        if (owner === undefined) return noNode;
        return (header) => {
          for (let i = 0; i < 4; i++) header.long(0n);
          return header.int(0).int(0).int(0).long(owner).int(0).int(0).long(0n);
        };
      case types.getChildren: {
        if (owner === undefined) return noNode;
        watch();
        const names = [...this.nodes.keys()]
          .filter((one) => one.slice(0, one.lastIndexOf('/')) === path)
          .map((one) => one.slice(path.length + 1));
        return (header) => names.reduce((made, name) => made.string(name), header.int(names.length));
      }
      case types.create:
        asked.buffer();
        asked.acl();
        if (!this.nodes.has(above)) return noNode;
        if (owner !== undefined) return nodeExists;
        this.add(path, asked.int() === 1 ? session : 0n);
        return (header) => header.string(path);
      case types.delete:
        if (owner === undefined) return noNode;
        this.remove(path);
        return nothing;
      default:
        return (header) => header.string(path);
    }
  }
}
