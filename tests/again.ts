import { relative } from 'node:path';
import { reportOf } from './report.ts';

// The lab files with a failed test, in one line. Unit tests are pure: one that fails has failed.
const failed = reportOf(process.argv[2]!)
  .testResults.filter(({ status }) => status === 'failed')
  .map(({ name }) => relative(process.cwd(), name));
if (failed.every((name) => name.startsWith('tests/lab/'))) console.log(failed.join(' '));
