import type { Cluster } from '../../file/cluster.ts';
import type { Member } from '../engine.ts';
import { tlsFiles } from '../tls.ts';
import { logging, logging1, serverProperties } from './configuration.ts';
import { type KafkaService, type Seat, seatsOf, versionOf } from './seats.ts';
import { startScript } from './start.ts';

/** A broker on each host, and the controllers. */
export function kafkaMembers(service: KafkaService, cluster: Cluster): Member[] {
  const seats = seatsOf(service, cluster);
  return seats.map((seat) => member(service, cluster, seat, seats));
}

function member(service: KafkaService, cluster: Cluster, seat: Seat, seats: Seat[]): Member {
  const { spec } = service;
  const controllers = seats
    .filter(({ controller }) => controller)
    .map(({ address }) => `${address}:${spec.controllerPort}`);
  return {
    name: seat.name,
    service: service.name,
    host: seat.host,
    ...(seat.broker ? {} : { part: 'controller' }),
    kind: seat.broker ? 'broker' : 'controller',
    command: './start',
    env: {},
    files: [
      { path: 'start', content: startScript(service, cluster, seat), mode: 0o755, onChange: 'restart' },
      {
        path: 'server.properties',
        content: serverProperties(service, cluster, seat),
        mode: 0o600,
        onChange: 'restart',
        secret: true,
      },
      versionOf(service).startsWith('3.')
        ? { path: 'log4j.properties', content: logging1, mode: 0o644, onChange: 'restart' }
        : { path: 'log4j2.properties', content: logging, mode: 0o644, onChange: 'restart' },
      ...tlsFiles(service, cluster, seat),
      // Only for finding the first one: members learn of the others from the quorum.
      ...(spec.metadata === undefined
        ? [
            {
              path: 'controllers',
              content: `${controllers.join(',')}\n`,
              mode: 0o644,
              onChange: 'nothing' as const,
            },
          ]
        : []),
    ],
    limits: spec.memory === undefined ? {} : { memory: spec.memory },
    ports: [
      ...(seat.broker ? [{ proto: 'tcp' as const, port: spec.port, name: 'clients' }] : []),
      ...(seat.controller ? [{ proto: 'tcp' as const, port: spec.controllerPort, name: 'controllers' }] : []),
    ],
    // A broker hands its leaders over before it goes.
    stop: { signal: 'TERM', timeoutMs: 60_000 },
    data: ['data'],
  };
}
