import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { type Download, downloadFolder, fetchDownload, isFetched } from '../../hosts/downloads.ts';
import { quote } from '../../hosts/shell.ts';
import { StepFailed } from '../engine.ts';
import { type KafkaService, versionOf } from './seats.ts';

/** Kafka's logging goes through this; the distribution brings it, Maven's artifact of the server does not name it. */
const logging = (version: string): string[] =>
  version.startsWith('3.')
    ? ['org.slf4j:slf4j-reload4j:1.7.36']
    : ['log4j-slf4j-impl', 'log4j-core', 'log4j-api'].map(
        (artifact) => `org.apache.logging.log4j:${artifact}:2.25.5`,
      );

/** What a service runs, and how it is fetched. */
export function downloadOf(service: KafkaService): Download {
  const { spec } = service;
  const version = versionOf(service);
  return {
    name: 'kafka',
    version,
    tarball: spec.tarball,
    checksum: spec.checksum,
    maven: [
      `org.apache.kafka:kafka_2.13:${version}`,
      // Its own command line tools and performance tests.
      `org.apache.kafka:kafka-tools:${version}`,
      ...logging(version),
    ],
    // Kafka Connect with its web server: no member runs it.
    without: ['connect-api', 'connect-json', 'connect-runtime', 'connect-transforms'].map(
      (artifact) => `org.apache.kafka:${artifact}`,
    ),
  };
}

/** Folders on a host that may hold the jars, first the one that the file names. Hosts of the lab share this machine's cache, a real machine has a copy. */
export const libraries = (service: KafkaService, host: Pick<HostEntry, 'kind' | 'root'>): string[] => [
  ...(service.spec.path ? [join(service.spec.path, 'libs')] : []),
  join(host.kind === 'lab' ? downloadFolder(downloadOf(service)) : copyOn(host, service), 'libs'),
];

/** Where a real machine keeps its copy: whole, or not there. */
export const copyOn = ({ root }: Pick<HostEntry, 'root'>, service: KafkaService): string =>
  join(root, 'software', basename(downloadFolder(downloadOf(service))));

const holdsKafka = (libs: string): boolean =>
  existsSync(libs) && readdirSync(libs).some((jar) => /^kafka_[\d.]+-.*\.jar$/.test(jar));

/** Whether what the members run is on this machine. */
export const hasSoftware = (service: KafkaService): boolean =>
  (service.spec.path !== undefined && holdsKafka(join(service.spec.path, 'libs'))) ||
  isFetched(downloadOf(service));

/** Sh that is true where a real machine has what its members run. */
export const hasCopy = (host: Pick<HostEntry, 'root'>, service: KafkaService): string => {
  const { path } = service.spec;
  const own = path ? `ls ${quote(join(path, 'libs'))}/kafka_*.jar >/dev/null 2>&1 || ` : '';
  return `${own}[ -e ${quote(join(copyOn(host, service), 'whole'))} ]`;
};

const noteOf = (service: KafkaService, cluster: Cluster): string =>
  join(cluster.home, `${service.name}.not-fetched`);

/** Why the last fetch failed; undefined when it did not. */
export function notFetched(service: KafkaService, cluster: Cluster): string | undefined {
  const note = noteOf(service, cluster);
  return existsSync(note) ? readFileSync(note, 'utf8').trim() : undefined;
}

/** Fetches what the members run. When nothing gives it, the sentence that says what was tried is kept for `status`. */
export async function fetchSoftware(
  service: KafkaService,
  cluster: Cluster,
  say: (line: string) => void,
): Promise<void> {
  const note = noteOf(service, cluster);
  try {
    if (!hasSoftware(service)) await fetchDownload(downloadOf(service), say);
    await rm(note, { force: true });
  } catch (error) {
    const { path } = service.spec;
    const first = path ? `${join(path, 'libs')} holds no kafka_*.jar; ` : '';
    const sentence = `${service.name} is skipped, Kafka ${downloadOf(service).version} is to be had nowhere: ${first}${(error as Error).message}. Give it a path: or tarball: that can be reached, and run up again`;
    await writeFile(note, `${sentence}\n`);
    throw new StepFailed(sentence);
  }
}

/** The folder on this machine that holds `libs/`. */
export const softwareFolder = (service: KafkaService): string =>
  service.spec.path !== undefined && holdsKafka(join(service.spec.path, 'libs'))
    ? service.spec.path
    : downloadFolder(downloadOf(service));
