import { expect, it } from 'vitest';
import { startedWith } from './observe.ts';

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
  // With the metadata in ZooKeeper there are no roles.
  expect(startedWith('CLIENT://10.0.0.1:9092', 'CLIENT:SASL_PLAINTEXT', '').controller).toBe(false);
});
