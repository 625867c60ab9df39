import { exitOf } from '../verdict.ts';
import { text } from './escape.ts';
import { count, type DrillRun, duration, faultOf, headline, lostOf } from './run.ts';

/** JUnit XML for CI: a suite per drill; a test case for the verdict and for each promise. What is unknown is an error, never a pass. */
export function renderJunit(runs: DrillRun[]): string {
  const suites = runs.map((run) => {
    const { verdict, timeline } = run;
    const { service } = verdict.drill;
    const { rto, lostWrites } = verdict.promise;
    const cases = [
      testCase(service, faultOf(run), wordOf(run), [headline(run), ...verdict.why].join('\n')),
      ...(rto === undefined
        ? []
        : [
            testCase(
              service,
              `${faultOf(run)}: back within ${duration(rto.promisedMs)}`,
              rto.result,
              rto.measuredMs === null
                ? (verdict.recovery.why ?? 'not measured')
                : `away for ${rto.atLeast ? 'at least ' : ''}${duration(rto.measuredMs)}`,
            ),
          ]),
      ...(lostWrites === undefined
        ? []
        : [
            testCase(
              service,
              `${faultOf(run)}: at most ${count(lostWrites.promised)} acknowledged writes lost`,
              lostWrites.result,
              `lost: ${lostOf(run)}`,
            ),
          ]),
    ];
    const of = (kind: string): number => cases.filter((one) => one.kind === kind).length;
    return [
      `  <testsuite name="${text(`phalanx drill ${service} ${faultOf(run)}`)}" tests="${cases.length}" failures="${of('failure')}" errors="${of('error')}" time="${(timeline.endUs / 1e6).toFixed(3)}">`,
      '    <properties>',
      ...properties(run).map(([name, value]) => `      <property name="${name}" value="${text(value)}"/>`),
      '    </properties>',
      ...cases.map((one) => one.xml),
      '  </testsuite>',
    ].join('\n');
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="phalanx drill">\n${suites.join('\n')}\n</testsuites>\n`;
}

function wordOf({ verdict }: DrillRun): 'kept' | 'broken' | 'unknown' {
  // The promises have their own cases; a loss that one of them allows is not held against the verdict.
  const unpromised = exitOf({ ...verdict, promise: { ...verdict.promise, result: null } });
  return unpromised === 0 ? 'kept' : unpromised === 4 ? 'broken' : 'unknown';
}

function testCase(service: string, name: string, result: 'kept' | 'broken' | 'unknown', message: string) {
  const kind = { kept: 'pass', broken: 'failure', unknown: 'error' }[result];
  const open = `    <testcase classname="${text(service)}" name="${text(name)}"`;
  const first = message.split('\n')[0]!;
  const xml =
    kind === 'pass'
      ? `${open}/>`
      : `${open}>\n      <${kind} type="${result}" message="${text(first)}">${text(message)}</${kind}>\n    </testcase>`;
  return { kind, xml };
}

function properties({ verdict }: DrillRun): [string, string][] {
  const { drill, history } = verdict;
  return [
    ['seed', String(drill.seed)],
    ['file.sha256', drill.file],
    ...(history.sha256 === undefined ? [] : ([['history.sha256', history.sha256]] as [string, string][])),
    ['rtoMs', String(verdict.recovery.rtoMs)],
    ['lost', String(verdict.lost)],
    ...(verdict.lasting ?? []).map(({ kind, struck, survived }): [string, string] => [
      kind,
      `${survived} of ${struck} survived`,
    ]),
    ...Object.entries(drill.versions).map(([name, version]): [string, string] => [
      `version.${text(name)}`,
      version,
    ]),
  ];
}
