import type { Connection } from '@platformatic/kafka';
import type { Kafka } from './client.ts';
import { controllerListener } from './configuration.ts';
import { toDashed } from './uuid.ts';

/*
 * Changing who the controllers are (KIP-853). The client library has no words for it: AddRaftVoterRequest.json and
 * RemoveRaftVoterRequest.json of Kafka 4, version 0. Brokers pass both on to the active controller.
 */

const timeoutMs = 15_000;

export interface Voter {
  id: number;
  /** In Kafka's form, base64url. */
  directory: string;
}

/** Gives a controller that runs and has caught up its vote. Rejects with Kafka's sentence when it may not be. */
export function addVoter(
  api: Kafka,
  connection: Connection,
  cluster: string,
  voter: Voter,
  at: { address: string; port: number },
): Promise<void> {
  return send(connection, 80, () =>
    api.Writer.create()
      .appendString(cluster)
      .appendInt32(timeoutMs)
      .appendInt32(voter.id)
      .appendUUID(toDashed(voter.directory))
      .appendArray([at], (writer, { address, port }) => {
        writer.appendString(controllerListener).appendString(address).appendUnsignedInt16(port);
      })
      .appendTaggedFields(),
  );
}

/** Takes a controller's vote. */
export function removeVoter(
  api: Kafka,
  connection: Connection,
  cluster: string,
  voter: Voter,
): Promise<void> {
  return send(connection, 81, () =>
    api.Writer.create()
      .appendString(cluster)
      .appendInt32(voter.id)
      .appendUUID(toDashed(voter.directory))
      .appendTaggedFields(),
  );
}

function send(
  connection: Connection,
  key: number,
  request: () => ReturnType<Kafka['Writer']['create']>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.send<void>(
      key,
      0,
      request,
      (_correlation, _key, _version, reader) => {
        reader.readInt32();
        const code = reader.readInt16();
        const message = reader.readNullableString();
        if (code !== 0) throw new Error(message ?? `error ${code}`);
      },
      true,
      true,
      (error) => (error ? reject(error) : resolve()),
    );
  });
}
