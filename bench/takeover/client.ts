import { connect } from 'node:net';
import { orders } from '../../tests/lab/wire/orders.ts';

/**
 * A client that asks over HTTP every few milliseconds, on a new connection each time and whatever became of the
 * questions before: what it sees is when answers come, and how long none did.
 */
const [host, port, every] = process.argv.slice(2);
/** A question is given up after this long; by then many later ones have been asked. */
const patienceMs = 500;

let last = performance.now();
let longest = 0;
let answered = 0;
let asked = 0;

function ask(): void {
  asked++;
  const socket = connect({ host: host!, port: Number(port) });
  socket.setNoDelay(true);
  socket.setTimeout(patienceMs, () => socket.destroy());
  socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
  socket.once('data', (data) => {
    if (data.toString('latin1').startsWith('HTTP/1.1 200')) {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      answered++;
    }
    socket.destroy();
  });
  socket.on('error', () => undefined);
}

setInterval(ask, Number(every));

orders({
  /** Forgets the longest gap so far. */
  mark: () => {
    longest = 0;
    answered = 0;
    asked = 0;
  },
  /** Milliseconds of the longest time between two answers since the mark, one that still lasts included; and how many there were. */
  seen: () => ({ longest: Math.max(longest, performance.now() - last), answered, asked }),
});
