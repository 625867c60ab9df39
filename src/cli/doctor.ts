import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Checkup, type Finding, type Nearness, StepFailed, StepHeld } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { locate } from '../file/document.ts';
import { parseDuration, sizeText } from '../file/units.ts';
import { UserError } from './error.ts';
import { bold, columns, dim, green, red, yellow } from './paint.ts';
import { openSession } from './session.ts';

export interface DoctorCommand {
  file?: string;
  json?: boolean;
  for?: string;
}

const shades = { data: red, service: yellow, speed: dim };

/** `phalanx doctor [SERVICE]`: what hurts or will, and what mends it. Exit status 0 nothing found, 3 findings, 1 it could not be looked at. */
export async function doctor(named: string | undefined, options: DoctorCommand): Promise<number> {
  const forMs = options.for === undefined ? 10_000 : parseDuration(options.for);
  if (forMs === undefined || forMs <= 0)
    throw new UserError(`--for ${options.for}: a duration such as 10s or 5m`);
  const { cluster, reach } = await openSession(options.file);
  if (named !== undefined && !cluster.services[named])
    throw new UserError(
      `${cluster.file} has no service "${named}"`,
      `its services are ${Object.keys(cluster.services).join(', ')}`,
    );
  const services = Object.values(cluster.services).filter(
    (service) => engines[service.type]!.doctor && (named ?? service.name) === service.name,
  );
  if (services.length === 0)
    throw new UserError(
      named === undefined
        ? 'no service of this file has a doctor'
        : `there is no doctor for a service of type ${cluster.services[named]!.type}`,
      'phalanx status shows its health',
    );
  const checkups: Record<string, Checkup> = {};
  await Promise.all(
    services.map(async (service) => {
      try {
        checkups[service.name] = await engines[service.type]!.doctor!(service, cluster, reach, {
          forMs,
          say: (line) => {
            if (!options.json) console.error(dim(`  ${service.name}: ${line}`));
          },
        });
      } catch (error) {
        if (error instanceof StepFailed || error instanceof StepHeld)
          throw new UserError(error.message, 'is it up? phalanx status, phalanx up');
        throw error;
      }
    }),
  );
  const place = placing(cluster.file);
  const found = services.flatMap((service) => checkups[service.name]!.findings).map((one) => place(one));
  if (options.json)
    console.log(
      JSON.stringify({
        cluster: cluster.name,
        findings: found,
        services: Object.fromEntries(
          services.map(({ name }) => [
            name,
            { limits: checkups[name]!.limits, looked: checkups[name]!.looked },
          ]),
        ),
      }),
    );
  else
    for (const { name, type } of services)
      console.log(
        page(
          name,
          type,
          found.filter((one) => one.service === name),
          checkups[name]!,
        ).join('\n'),
      );
  return found.length === 0 ? 0 : 3;
}

type Placed = Finding & { at?: string };

/** Findings with the place in the user's file that they are about: shop.yaml:23. */
function placing(file: string): (finding: Finding) => Placed {
  const document = locate(readFileSync(file, 'utf8'), file);
  const shown = relative(process.cwd(), file);
  const name = shown.startsWith('..') ? file : shown;
  return (finding) => (finding.key ? { ...finding, at: `${name}:${document.line(finding.key)}` } : finding);
}

function page(name: string, type: string, found: Placed[], checkup: Checkup): string[] {
  const counted = found.length === 1 ? '1 finding' : `${found.length} findings`;
  return [
    `${bold(name)} ${dim(type)}  ${found.length === 0 ? green('nothing found') : yellow(counted)}`,
    ...found.flatMap((one) => [
      '',
      `  ${shades[one.risk](one.risk.padEnd(7))} ${one.where ? `${bold(one.where)} ` : ''}${one.what}`,
      `          ${dim('why')}   ${one.why}`,
      `          ${dim('mend')}  ${one.at ? `${one.at}: ` : ''}${one.mend}`,
      ...(one.source ? [`          ${dim('see')}   ${one.source}`] : []),
    ]),
    ...(checkup.limits.length > 0 ? ['', ...limitLines(checkup.limits)] : []),
    ...(checkup.looked.length > 0 ? ['', ...checkup.looked.map((line) => dim(`  looked at ${line}`))] : []),
    '',
  ];
}

/** A row a member, a column a limit. */
function limitLines(limits: Nearness[]): string[] {
  const heads = [...new Set(limits.map((one) => one.limit))];
  const members = [...new Set(limits.map((one) => one.member))];
  const cell = (member: string, head: string): string => {
    const one = limits.find((each) => each.member === member && each.limit === head);
    if (!one) return '';
    const text = one.unit === 'bytes' ? roundSize(one.used, one.of) : `${one.used} of ${one.of}`;
    const share = one.used / one.of;
    const shade = share >= 0.95 ? red : share >= 0.8 ? yellow : (same: string): string => same;
    return shade(`${text} (${Math.round(100 * share)}%)`);
  };
  return columns([
    ['  limits', ...heads].map((head) => dim(head)),
    ...members.map((member) => [`  ${member}`, ...heads.map((head) => cell(member, head))]),
  ]);
}

/** Both in whole megabytes once the limit has some. */
function roundSize(used: number, of: number): string {
  const unit = of >= 2 ** 20 ? 2 ** 20 : 1;
  return `${sizeText(Math.round(used / unit) * unit)} of ${sizeText(Math.round(of / unit) * unit)}`;
}
