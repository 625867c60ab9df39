import { describe, expect, it } from 'vitest';
import type { LiveNode, Quorum } from './live.ts';
import { disowned, type Found, startedWith, tellerOf } from './observe.ts';

it('what a member was started with is read from its own configuration', () => {
  expect(
    startedWith(
      'CLIENT://10.0.0.1:9092,CONTROLLER://10.0.0.1:9093',
      'CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT',
      'broker,controller',
    ),
  ).toEqual({ port: 9092, controllerPort: 9093, tls: false, controller: true });
  expect(startedWith('CLIENT://[fd00::1]:9192', 'CLIENT:SASL_SSL,CONTROLLER:SASL_SSL', 'broker')).toEqual({
    port: 9192,
    tls: true,
    controller: false,
  });
  expect(
    startedWith('CLIENT://10.0.0.1:9092', '', 'broker', '10.0.0.4:9093,10.0.0.5:9093').controllers,
  ).toEqual(['10.0.0.4:9093', '10.0.0.5:9093']);
  // With the metadata in ZooKeeper there are no roles.
  expect(startedWith('CLIENT://10.0.0.1:9092', 'CLIENT:SASL_PLAINTEXT', '').controller).toBe(false);
});

describe('who speaks for the cluster', () => {
  const broker = (id: number, brokers: number[], state: LiveNode['state'] = 'serving'): Found => ({
    node: { name: `events@d${id}`, host: `d${id}`, id, state },
    lacking: false,
    partitions: [],
    brokers,
  });
  const controller = (id: number): Found => ({
    node: { name: `events.controller@c${id}`, host: `c${id}`, id, state: 'serving' },
    lacking: false,
  });
  const one = (id: number, caughtUp = true) => ({ id, directory: `dir${id}`, caughtUp });
  const apart: Quorum = {
    leader: 12,
    epoch: 3,
    voters: [one(11), one(12), one(13)],
    observers: [one(1, false), one(2), one(3)],
  };
  const controllers = [11, 12, 13].map(controller);
  const idOf = (found: Found | undefined) => found?.node.id;

  it('with controllers of their own: none that is cut off, wherever it stands in the file; and nobody counts on that', () => {
    const found = [broker(1, [1, 2, 3]), broker(2, [2, 3]), broker(3, [2, 3]), ...controllers];
    const teller = tellerOf(found, apart);
    expect(idOf(teller)).toBe(2);
    expect(disowned(found, teller, apart).map(idOf)).toEqual([1]);
  });

  it('where brokers are controllers: the active one', () => {
    const found = [broker(1, [1, 2, 3]), broker(2, [2, 3]), broker(3, [2, 3])];
    const quorum = { leader: 3, epoch: 1, voters: [one(1, false), one(2), one(3)], observers: [] };
    expect(idOf(tellerOf(found, quorum))).toBe(3);
    expect(disowned(found, found[2], quorum).map(idOf)).toEqual([1]);
  });

  it('without a quorum: one that serves before any other, and it speaks of nobody else', () => {
    const found = [broker(1, [2], 'fenced'), broker(2, [2]), broker(3, [2, 3])];
    expect(idOf(tellerOf(found, undefined))).toBe(2);
    expect(disowned(found, found[1], undefined)).toEqual([]);
    expect(idOf(tellerOf(found.slice(0, 1), undefined))).toBe(1);
    expect(tellerOf(controllers, apart)).toBeUndefined();
  });
});
