import { readFileSync } from 'node:fs';

/** What is read of vitest's JSON report. */
export interface Report {
  testResults: {
    /** Path of the file. */
    name: string;
    status: string;
    assertionResults: { fullName: string; status: string }[];
  }[];
}

export const reportOf = (path: string): Report => JSON.parse(readFileSync(path, 'utf8')) as Report;
