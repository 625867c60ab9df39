import type { Cluster } from '../../file/cluster.ts';
import type { Member } from '../engine.ts';
import { staticConfig } from './config.ts';
import { seatsOf, type ZooKeeperService } from './seats.ts';
import { startScript } from './start.ts';

/** A server on each host. Who the members are is in none of these files: an ensemble that grows restarts nobody. */
export function zooKeeperMembers(service: ZooKeeperService, cluster: Cluster): Member[] {
  const { spec } = service;
  return seatsOf(service, cluster).map((seat) => ({
    name: seat.name,
    service: service.name,
    host: seat.host,
    kind: seat.role === 'observer' ? 'observer' : 'voter',
    command: './start',
    env: {},
    files: [
      { path: 'start', content: startScript(service, cluster, seat), mode: 0o755, onChange: 'restart' },
      {
        path: 'zoo.static',
        content: staticConfig(service, cluster, seat.host),
        mode: 0o600,
        onChange: 'restart',
        secret: true,
      },
    ],
    limits: spec.memory === undefined ? {} : { memory: spec.memory },
    ports: [spec.port, spec.peerPort, spec.electionPort].map((port) => ({ proto: 'tcp', port })),
    stop: { signal: 'TERM', timeoutMs: 15_000 },
    data: ['data'],
  }));
}
