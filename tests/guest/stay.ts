import { Guest } from './guest.ts';
import { image } from './image.ts';

// While one works on the tests: a guest that stays, until this process is ended. Prints what PHALANX_GUEST is to be.
const say = (line: string): void => console.error(line);
const guest = await Guest.boot(image(say), say);
console.log(`PHALANX_GUEST=${guest.reached.config}`);
process.on('SIGINT', () => void guest.close());
process.on('SIGTERM', () => void guest.close());
