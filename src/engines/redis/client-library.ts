/*
 * The client library, in a file of its own to be imported when it is needed: it is CommonJS, whose names only a static import finds both
 * in Node and in the launcher's bundle (src/cli/build.ts).
 */
export { Redis } from 'ioredis';
