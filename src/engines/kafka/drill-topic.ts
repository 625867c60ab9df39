/** Which brokers hold a partition, by node id; the first leads it. */
export type Assignment = number[];

/** A partition's name in histories. */
export const groupName = (partition: number): string => `p${partition}`;

/**
 * The partitions of a drill's topic. Each broker but one leads one of them and the last leads none, so that a leader and a mere
 * replica are each somebody; where there is a choice the active controller is not the last. At most five partitions: the load
 * is shared between them, and a gap is known the better the more records a second each of them has.
 */
export function assign(brokers: number[], replication: number, active: number | undefined): Assignment[] {
  const order = [...brokers].sort((a, b) => Number(b === active) - Number(a === active) || a - b).slice(0, 6);
  const leaders = order.length > 1 ? order.slice(0, -1) : order;
  return leaders.map((leader, at) => {
    const followers = [...order.slice(at + 1), ...order.slice(0, at)];
    return [leader, ...followers.slice(0, replication - 1)];
  });
}
