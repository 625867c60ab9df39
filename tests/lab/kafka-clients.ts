import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ProduceAcks, Producer, stringSerializers } from '@platformatic/kafka';
import { openSession } from '../../src/cli/session.ts';
import { kafkaAddress } from '../../src/engines/kafka/address.ts';
import { type KafkaService, versionOf } from '../../src/engines/kafka/seats.ts';
import { libraries } from '../../src/engines/kafka/software.ts';
import type { TestCluster } from './cluster.ts';

export interface Access {
  brokers: string[];
  user: string;
  password: string;
  libs: string;
  protocol: string;
  version: string;
  /** The authority's certificate, with TLS. */
  ca?: string;
}

/** What an app that `uses: [events]` is told. */
export async function accessOf({ file }: TestCluster): Promise<Access> {
  const { cluster } = await openSession(file);
  const service = cluster.services['events'] as KafkaService;
  const given = kafkaAddress(service, cluster);
  return {
    brokers: given['URL']!.split(','),
    user: given['USER']!,
    password: given['PASSWORD']!,
    libs: libraries(service, { kind: 'lab', root: '' }).at(-1)!,
    protocol: given['PROTOCOL']!,
    version: versionOf(service),
    ...(given['CA'] ? { ca: given['CA'].replaceAll('\\n', '\n') } : {}),
  };
}

export interface Written {
  /** Values whose record was acknowledged by all copies in step. */
  acknowledged: string[];
  errors: string[];
}

export interface Writer {
  stop(): Promise<Written>;
  /** How many were acknowledged. */
  sofar(): number;
  /** Whether every partition that was ever written has acknowledged one sent later than that. */
  allSince(at: number): boolean;
  /** The longest time between two acknowledgements of one partition since `resetGap`, milliseconds. */
  longestGapMs(): number;
  resetGap(): void;
}

/**
 * A stock client that writes unique values with acks=all, some at a time, until stopped. A value is never sent twice by us. It
 * waits `patienceMs` for an answer: that is how soon it notices a frozen broker.
 */
export function writer(
  access: Access,
  topic: string,
  { patienceMs = 10_000, acks = ProduceAcks.ALL }: { patienceMs?: number; acks?: number } = {},
): Writer {
  const producer = new Producer({
    clientId: 'writer',
    bootstrapBrokers: access.brokers,
    serializers: stringSerializers,
    sasl: { mechanism: 'SCRAM-SHA-512', username: access.user, password: access.password },
    ...(access.ca ? { tls: { ca: access.ca } } : {}),
    retries: 3,
    retryDelay: 100,
    connectTimeout: Math.min(3_000, patienceMs),
    requestTimeout: patienceMs,
    metadataMaxAge: 1_000,
  });
  const written: Written = { acknowledged: [], errors: [] };
  const run = Math.random().toString(36).slice(2, 8);
  let going = true;
  let longest = 0;
  /** By partition: when the last was acknowledged, and when it had been sent. */
  const last = new Map<number, { at: number; sent: number }>();
  const work = Array.from({ length: 8 }, async (_, who) => {
    for (let i = 0; going; i++) {
      const value = `${run}-${who}-${i}`;
      const sent = performance.now();
      try {
        // Here and not in the Producer's options: those are ignored (2.12.1), and acks=1 loses records whenever a leader changes.
        const { offsets } = await producer.send({
          acks,
          messages: [{ topic, key: value, value }],
        });
        written.acknowledged.push(value);
        const at = performance.now();
        for (const { partition } of offsets ?? []) {
          longest = Math.max(longest, at - (last.get(partition)?.at ?? at));
          last.set(partition, { at, sent });
        }
      } catch (error) {
        written.errors.push((error as Error).message);
        await wait(50);
      }
      await wait(2);
    }
  });
  return {
    sofar: () => written.acknowledged.length,
    allSince: (at) => [...last.values()].every(({ sent }) => sent > at),
    longestGapMs: () => longest,
    resetGap: () => {
      longest = 0;
    },
    async stop() {
      going = false;
      await Promise.all(work);
      await producer.close().catch(() => {});
      return written;
    },
  };
}

/** Writes the values, a hundred at a time, each batch acknowledged by all copies in step. */
export async function writeAll(access: Access, topic: string, values: string[]): Promise<void> {
  const producer = new Producer({
    clientId: 'bulk',
    bootstrapBrokers: access.brokers,
    serializers: stringSerializers,
    sasl: { mechanism: 'SCRAM-SHA-512', username: access.user, password: access.password },
  });
  for (let i = 0; i < values.length; i += 100)
    await producer.send({
      acks: ProduceAcks.ALL,
      messages: values.slice(i, i + 100).map((value) => ({ topic, key: value.slice(0, 12), value })),
    });
  await producer.close();
}

/** How a client in Java connects as an application's user. */
export function properties(access: Access, folder: string): string {
  if (access.ca) writeFileSync(`${folder}/ca.pem`, access.ca);
  return `bootstrap.servers=${access.brokers.join(',')}
security.protocol=${access.protocol}
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="${access.user}" password="${access.password}";
${access.ca ? `ssl.truststore.type=PEM\nssl.truststore.location=${folder}/ca.pem\n` : ''}`;
}

/** One of Kafka's own tools in Java, as an application's user; gives standard output. */
export async function javaTool(
  access: Access,
  folder: string,
  main: string,
  args: string[],
): Promise<string> {
  const config = `${folder}/client.properties`;
  writeFileSync(config, properties(access, folder), { mode: 0o600 });
  const { stdout } = await promisify(execFile)(
    // A tool whose cluster is gone tries for ever, also when the test that started it was killed.
    'timeout',
    [
      '180',
      'java',
      '-Xmx128m',
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      '-Dlog4j2.level=OFF',
      '-cp',
      `${access.libs}/*`,
      main,
      ...args.map((arg) => (arg === 'PROPERTIES' ? config : arg)),
    ],
    { maxBuffer: 2 ** 28 },
  );
  return stdout;
}

/**
 * kcat (librdkafka) as an application's user, fed with `input`; gives standard output. Rejects with what it said when it fails.
 * Debian 12's does SCRAM as Kafka 3 overlooks it and Kafka 4 does not: there PLAIN, under TLS.
 */
export async function kcat(access: Access, folder: string, args: string[], input = ''): Promise<string> {
  const config = `${folder}/kcat.conf`;
  if (access.ca) writeFileSync(`${folder}/ca.pem`, access.ca);
  writeFileSync(
    config,
    `bootstrap.servers=${access.brokers.join(',')}
security.protocol=${access.protocol}
sasl.mechanisms=${access.ca ? 'PLAIN' : 'SCRAM-SHA-512'}
sasl.username=${access.user}
sasl.password=${access.password}
${access.ca ? `ssl.ca.location=${folder}/ca.pem\n` : ''}`,
    { mode: 0o600 },
  );
  const running = promisify(execFile)('kcat', ['-F', config, ...args], {
    maxBuffer: 2 ** 28,
    timeout: 60_000,
  });
  running.child.stdin!.end(input);
  return (await running).stdout;
}

/** Everything in the topic, as Kafka's own console consumer reads it. */
export async function everything(access: Access, folder: string, topic: string): Promise<string[]> {
  const out = await javaTool(access, folder, 'org.apache.kafka.tools.consumer.ConsoleConsumer', [
    '--bootstrap-server',
    access.brokers.join(','),
    '--topic',
    topic,
    '--from-beginning',
    '--timeout-ms',
    '15000',
    access.version.startsWith('3.') ? '--consumer.config' : '--command-config',
    'PROPERTIES',
  ]);
  return out.split('\n').filter(Boolean);
}

/** Acknowledged values that are not in the topic. */
export async function lost(
  access: Access,
  folder: string,
  topic: string,
  written: Written,
): Promise<string[]> {
  const found = new Set(await everything(access, folder, topic));
  return written.acknowledged.filter((value) => !found.has(value));
}

/** The secrets of a cluster, for looking where they must not be. */
export const secretsOf = (cluster: string): string[] =>
  Object.values(
    JSON.parse(readFileSync(`/var/lib/phalanx/${cluster}/secrets.json`, 'utf8')) as Record<string, string>,
  );
