import { expect, it } from 'vitest';
import { liveOf, quorum, sample, view } from './sample.ts';
import { rabbitStatus } from './status.ts';

const hosts = ['h1', 'h2', 'h3'];

it('a queue of the file that is not there is told, and what may go with its node is no fault', () => {
  const { service, cluster } = sample(hosts, {
    queues: { mail: {}, gone: {}, scratch: { type: 'classic', durable: false } },
  });
  const live = liveOf(view(hosts, [quorum('mail', hosts)]), { h1: false, h2: false, h3: false });
  const rows = rabbitStatus(service, cluster, live).filter(({ name }) => name.startsWith('queue '));
  expect(rows.map(({ name, health }) => `${name}: ${health}`)).toEqual([
    'queue mail: ok',
    'queue gone: down',
    'queue scratch: ok',
  ]);
  expect(rows[1]!.why).toBe('it is not there: phalanx up');
});

it('a stream is as well as the nodes that have it, and of a type that nobody knows it is unknown', () => {
  const { service, cluster } = sample(hosts);
  const of = (type: string, down: string[]) => {
    const queue = { ...quorum('log', hosts, hosts.slice(0, 1)), type };
    const rows = rabbitStatus(service, cluster, liveOf(view(hosts, [queue], down), { h1: false }));
    return rows.find(({ name }) => name === 'queue log')?.health ?? 'ok';
  };
  expect(of('stream', [])).toBe('ok');
  expect(of('stream', ['h3'])).toBe('degraded');
  expect(of('stream', ['h2', 'h3'])).toBe('down');
  expect(of('rabbit_mqtt_qos0_queue', ['h2', 'h3'])).toBe('unknown');
});
