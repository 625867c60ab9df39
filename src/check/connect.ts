import { connect, isIPv6 } from 'node:net';
import { getSystemErrorName } from 'node:util';

/** Ends the attempt; nothing is reported afterwards. */
export type Cancel = () => void;

/**
 * One TCP handshake, ended with a reset so that neither side is left in TIME_WAIT. `done` is called once, with the
 * error's code when it failed. At ten thousand checks a second node's Socket spends most of a core on streams that
 * nobody reads (63 µs a probe here against 44), so the handle beneath it is used where node still hands it out.
 */
export function shake(address: string, port: number, done: (error?: string) => void): Cancel {
  return handles ? shakeHandle(handles, address, port, done) : shakeSocket(address, port, done);
}

interface Handle {
  connect(request: object, address: string, port: number): number;
  connect6(request: object, address: string, port: number): number;
  reset(): number;
  close(): void;
}

interface Handles {
  TCP: new (kind: number) => Handle;
  TCPConnectWrap: new () => { oncomplete?: (status: number) => void };
  constants: { SOCKET: number };
}

const handles = findHandles();

/** process.binding is deprecated in documentation only; when node drops it, sockets carry the checks. */
function findHandles(): Handles | undefined {
  try {
    const binding = (process as unknown as { binding?: (name: string) => Handles }).binding?.('tcp_wrap');
    if (!binding?.TCP || !binding.TCPConnectWrap || !('reset' in binding.TCP.prototype)) return undefined;
    return binding;
  } catch {
    return undefined;
  }
}

function shakeHandle(from: Handles, address: string, port: number, done: (error?: string) => void): Cancel {
  let open = true;
  const handle = new from.TCP(from.constants.SOCKET);
  const request = new from.TCPConnectWrap();
  request.oncomplete = (status) => {
    if (!open) return;
    open = false;
    if (status === 0) handle.reset();
    else handle.close();
    done(status === 0 ? undefined : getSystemErrorName(status));
  };
  const status = isIPv6(address)
    ? handle.connect6(request, address, port)
    : handle.connect(request, address, port);
  if (status !== 0) {
    open = false;
    handle.close();
    queueMicrotask(() => done(getSystemErrorName(status)));
  }
  return () => {
    if (!open) return;
    open = false;
    handle.close();
  };
}

/** The same over node's public Socket. */
export function shakeSocket(address: string, port: number, done: (error?: string) => void): Cancel {
  const socket = connect({ host: address, port, autoSelectFamily: false });
  socket.once('connect', () => {
    socket.resetAndDestroy();
    done();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    done(error.code ?? error.message);
  });
  return () => {
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.destroy();
  };
}
