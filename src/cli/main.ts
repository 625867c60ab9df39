import { Command } from 'commander';
import { FileErrors } from '../file/read.ts';
import type { DoctorCommand } from './doctor.ts';
import type { DrillOptions } from './drill.ts';
import { UserError } from './error.ts';
import type { ImportOptions } from './import.ts';
import { red } from './paint.ts';
import type { SwitchoverCommand } from './switchover.ts';

// Meant for this process only; see the launcher.
delete process.env['NODE_COMPILE_CACHE'];

interface Common {
  file?: string;
  hosts?: string;
  json?: boolean;
}

const program = new Command('phalanx')
  .description('Builds, runs and proves a highly available server cluster of real engines, from one file.')
  .version('0.1.0')
  .showHelpAfterError('(phalanx --help lists the commands)')
  .configureHelp({ showGlobalOptions: true });

/** A command with what all that print text of their own take; its module is loaded only when it runs, since loading costs more than the work. */
function command(name: string, description: string): Command {
  return passing(name, description).option('--json', 'for machines: JSON on standard output');
}

/** A command that passes on what is written already. */
function passing(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option('-f, --file <file>', 'the cluster file (default: ./phalanx.yaml, else examples/shop.yaml)')
    .option('--hosts <file>', 'a second file whose hosts stand in for those of the first')
    .hook('preAction', async (called) => {
      const { hosts } = called.opts<Common>();
      if (hosts !== undefined) (await import('./session.ts')).useHosts(hosts);
    });
}

const exit = (code: number): void => {
  process.exitCode = code;
};

command('up [file]', 'plan, show the plan, carry it out; goes on where an interrupted run stopped')
  .option('-y, --yes', 'never ask')
  .option('--allow-data-loss <service...>', 'services whose data may be destroyed')
  .action(async (file: string | undefined, options: Common & { yes?: boolean; allowDataLoss?: string[] }) => {
    const { up } = await import('./up.ts');
    exit(await up(file ?? options.file, options));
  });

command(
  'plan [file]',
  'what up would do and why, changing nothing (exit status 2: there are changes)',
).action(async (file: string | undefined, options: Common) => {
  const { planCommand } = await import('./plan.ts');
  exit(await planCommand(file ?? options.file, options));
});

command('status [file]', "every member's live role and health (exit status 3: degraded)").action(
  async (file: string | undefined, options: Common) => {
    const { status } = await import('./status.ts');
    exit(await status(file ?? options.file, options));
  },
);

command('down [file]', 'stop the cluster and remove everything of it but its data')
  .option('--purge', 'remove its data as well')
  .action(async (file: string | undefined, options: Common & { purge?: boolean }) => {
    const { down } = await import('./down.ts');
    exit(await down(file ?? options.file, options));
  });

command(
  'adopt [file]',
  'take over a running cluster of real machines whose control machine is lost: reads first (exit status 2: only shown)',
)
  .option('-y, --yes', 'keep it on this machine without asking')
  .action(async (file: string | undefined, options: Common & { yes?: boolean }) => {
    const { adopt } = await import('./adopt.ts');
    exit(await adopt(file ?? options.file, options));
  });

command(
  'forget <host>',
  'a real machine that left the file, or has another in its place there, and is gone for good is not asked any more',
).action(async (host: string, options: Common) => {
  const { forgetCommand } = await import('./forget.ts');
  exit(await forgetCommand(host, options));
});

command(
  'check [file]',
  'everything that would keep real machines from being the cluster, before anything is changed (exit status 1: something would)',
).action(async (file: string | undefined, options: Common) => {
  const { check } = await import('./check.ts');
  exit(await check(file ?? options.file, options));
});

command(
  'weight <server> <weight>',
  "set a real server's weight now, at every director ('file': as the file says; 'drain': no new connections)",
).action(async (server: string, weight: string, options: Common) => {
  const { weightCommand } = await import('./weight.ts');
  exit(await weightCommand(server, weight, options));
});

const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

command(
  'drill [service]',
  'faults under client load: how long it was away, what was lost (exit status 4: a promise broken, 5: unknown)',
)
  .option('--fault <verb-role>', 'only this fault, for example kill-master; may be repeated', several)
  .option(
    '--end-to-end',
    'customers send whole transactions through the VIP while one service after the other is struck (--fault cart.kill-master: only that)',
  )
  .option(
    '--sweep <setting=values>',
    'try each value of a setting, as in advert=20ms,50ms,1s: time away, false failovers, and the one that we would take',
  )
  .option(
    '--repeat <n>',
    'each fault so many times: median, 95th percentile and worst time away (a sweep: 3)',
  )
  .option('--watch <duration>', 'a sweep: how long roles are watched with every core busy (default: 20s)')
  .option('--for <duration>', 'how long the fault stands, for example 20s')
  .option('--seed <n>', 'the same operations and the same choices again')
  .option('--html <file>', 'write a report that stands alone')
  .option('--junit <file>', 'write JUnit XML')
  .option('--out <folder>', "keep the evidence here (default: drills in the cluster's folder)")
  .option('--degraded', 'drill although the cluster is not steady')
  .option('--i-mean-it <host...>', 'real machines that may be struck')
  .option('--verify <history>', 'the verdict again, from a history alone')
  .action(async (service: string | undefined, options: DrillOptions) => {
    const { drill } = await import('./drill.ts');
    exit(await drill(service, options));
  });

command('heal [file]', 'undo every fault of the lab that a drill or a person left standing').action(
  async (file: string | undefined, options: Common) => {
    const { healCommand } = await import('./drill.ts');
    exit(await healCommand(file ?? options.file, options));
  },
);

command('show <service>', 'what a service holds: topics, partitions, groups').action(
  async (service: string, options: Common) => {
    const { show } = await import('./show.ts');
    exit(await show(options.file, service, options));
  },
);

command('backup <service>', "a consistent copy of a service's data, with a manifest and checksums")
  .option('--to <folder>', "where backups are kept (default: backups in the cluster's folder)")
  .action(async (service: string, options: Common & { to?: string }) => {
    const { backup } = await import('./backup.ts');
    exit(await backup(options.file, service, options));
  });

command('restore <service> <from>', 'a backup into an empty service, of any number of shards')
  .option('--foreign', 'also a backup of another cluster or service')
  .action(async (service: string, from: string, options: Common & { foreign?: boolean }) => {
    const { restore } = await import('./restore.ts');
    exit(await restore(options.file, service, from, options));
  });

command(
  'switchover <service>',
  'another member leads, as planned: writes are held for a moment, and none is lost',
)
  .option('--to <member>', 'who is to lead (default: the replica that is furthest)')
  .option('--force', 'the present leader is dead: do not ask it')
  .option('--allow-data-loss', 'give up writes that only other members hold')
  .action(async (service: string, options: SwitchoverCommand) => {
    const { switchoverCommand } = await import('./switchover.ts');
    exit(await switchoverCommand(service, options));
  });

command(
  'repair <member>',
  "what is damaged of a member's data, who has newer, and the steps that mend it (exit status 2: not told to)",
)
  .option('-y, --yes', 'do it without asking')
  .option('--way <way>', 'how, where there are several ways; each is named where it is possible')
  .option('--allow-data-loss <service...>', 'services whose data may be destroyed')
  .action(
    async (member: string, options: Common & { yes?: boolean; way?: string; allowDataLoss?: string[] }) => {
      const { repair } = await import('./repair.ts');
      exit(await repair(options.file, member, options));
    },
  );

command(
  'doctor [service]',
  'what hurts or will, why, and what mends it, without hurting a busy server (exit status 3: findings)',
)
  .option('--for <duration>', 'how long to look at samples (default: 10s); longer sees more')
  .action(async (service: string | undefined, options: DoctorCommand) => {
    const { doctor } = await import('./doctor.ts');
    exit(await doctor(service, options));
  });

passing('logs <member>', "a member's log")
  .option('-n, --lines <n>', 'how many lines', '50')
  .option('--follow', 'go on as it grows')
  .action(async (member: string, options: Common & { lines: string; follow?: boolean }) => {
    const { logs } = await import('./logs.ts');
    exit(await logs(options.file, member, options));
  });

program
  .command('import <file>')
  .description(
    'a keepalived.conf, or the output of ipvsadm-save -n, as a file of ours; what has no equal is listed',
  )
  .option('-o, --out <file>', 'write it there (default: standard output)')
  .option('--name <cluster>', 'name of the cluster')
  .option('--ssh [user]', 'for the real machines, over ssh (default: namespaces of this machine, to try it)')
  .option(
    '--director <address>',
    'address of a director, where the file does not say it; may be repeated',
    several,
  )
  .option('--id <id>', 'read conditions (@id) as keepalived -i id does')
  .option('--json', 'for machines: JSON on standard output')
  .action(async (file: string, options: ImportOptions) => {
    const { importCommand } = await import('./import.ts');
    exit(importCommand(file, options));
  });

program
  .command('schema')
  .description('the JSON Schema of the cluster file, for editors')
  .action(async () => {
    const { jsonSchema } = await import('../file/schema.ts');
    const { engines } = await import('../engines/index.ts');
    console.log(JSON.stringify(jsonSchema(Object.values(engines)), null, 2));
  });

// A reader that has seen enough (| head) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = 1;
  if (error instanceof FileErrors) console.error(error.message);
  else if (error instanceof UserError) {
    console.error(`${red('phalanx')}: ${error.message}`);
    if (error.next) console.error(`  ${error.next}`);
  } else {
    console.error(`${red('phalanx')}: ${(error as Error).message}`);
    if (process.env['PHALANX_DEBUG']) console.error(error);
    else
      console.error(
        '  this is a defect of Phalanx or of the machine; PHALANX_DEBUG=1 shows where it happened',
      );
  }
}
