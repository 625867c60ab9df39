import type { Check } from '../../../check/check.ts';

/** registrar.json, beside which the password lies in `user`. */
export interface RegistrarConfig {
  /** Name of the member's node: web@app1 */
  member: string;
  /** Servers of the ensemble, as an application is given them. */
  url: string;
  /** Path of the node that members' nodes are below. */
  path: string;
  address: string;
  port: number;
  check: Check;
  /** Milliseconds; the ensemble takes the node away after so long without a word from here. */
  sessionMs: number;
}

export const configFile = 'registrar.json';
/** name:password */
export const userFile = 'user';
/** The session's key, for whoever comes after this process. */
export const keyFile = 'session.json';
/** Holds `registered PID`, or why the member is not. */
export const stateFile = 'state';
