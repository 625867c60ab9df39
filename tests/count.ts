import { reportOf } from './report.ts';

// vitest's own summary is not a line that CI counts by: this is. A file that could not even load is a failure. Of a file that was
// run once more the later run counts, and what failed in the first is named. ENDED is vitest's exit status: what is wrong beside the tests (an
// error that nobody caught, a worker that died with its tests) is in no report, and is a failure.
const [first, second] = process.argv.slice(2).map(reportOf);
const later = new Set(second?.testResults.map(({ name }) => name));
const files = [...first!.testResults.filter(({ name }) => !later.has(name)), ...(second?.testResults ?? [])];
const tests = files.flatMap(({ assertionResults }) => assertionResults);
const unloaded = files.filter(
  ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
);
const count = (status: string): number => tests.filter((test) => test.status === status).length;
const passed = count('passed');
const told = count('failed') + unloaded.length;
const ended = Number(process.env['ENDED'] ?? 0);
const failed = told === 0 && ended !== 0 ? 1 : told;
if (failed !== told) console.log(`vitest ended with ${ended}, though no test failed: its errors are above`);

const stillFailing = new Set(
  tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
);
const unsteady = first!.testResults
  .filter(({ name }) => later.has(name))
  .flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === 'failed'))
  .filter(({ fullName }) => !stillFailing.has(fullName));
for (const { fullName } of unsteady)
  console.log(`unsteady, a defect of the test or of the product: ${fullName}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
