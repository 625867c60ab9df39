import { type Acl, Packet } from './jute.ts';
import { noNode, types, type Wire, ZooKeeperError } from './wire.ts';

/** Bit of `create` (CreateMode.EPHEMERAL): the node goes with its session. */
const ephemeralFlag = 1;

/** What can be asked within a session. Rejects with ZooKeeperError, or with what ended the connection. */
export interface Session {
  getData(path: string): Promise<Buffer>;
  /** Names of the nodes below; with `watch`, the next change among them is told. */
  getChildren(path: string, watch: boolean): Promise<string[]>;
  /** The session that an ephemeral node belongs to (0: none), undefined when there is no such node; with `watch`, its coming or going is told. */
  ownerOf(path: string, watch: boolean): Promise<bigint | undefined>;
  /** The access list; undefined when there is no such node. */
  getAcl(path: string): Promise<Acl[] | undefined>;
  setAcl(path: string, acl: Acl[]): Promise<void>;
  create(path: string, data: Buffer, acl: Acl[], options?: { ephemeral: boolean }): Promise<void>;
  delete(path: string): Promise<void>;
  setData(path: string, data: Buffer): Promise<void>;
  /** Waits until this server has everything that the leader has. */
  sync(path: string): Promise<void>;
  /** `joining` are lines of servers, `leaving` their numbers; gives the configuration that was made. */
  reconfig(change: { joining?: string; leaving?: string }): Promise<string>;
}

export function sessionOn(wire: Wire): Session {
  const of = (path: string) => new Packet().string(path);
  /** What `asked` gives; undefined where there is no such node. */
  const ifThere = async <T>(asked: Promise<T>): Promise<T | undefined> => {
    try {
      return await asked;
    } catch (error) {
      if (error instanceof ZooKeeperError && error.code === noNode) return undefined;
      throw error;
    }
  };
  return {
    async getData(path) {
      return (await wire.request(types.getData, path, of(path).bool(false))).buffer();
    },
    async getChildren(path, watch) {
      const answer = await wire.request(types.getChildren, path, of(path).bool(watch));
      return Array.from({ length: Math.max(answer.int(), 0) }, () => answer.string());
    },
    async ownerOf(path, watch) {
      const answer = await ifThere(wire.request(types.exists, path, of(path).bool(watch)));
      // zookeeper.jute, class Stat: czxid, mzxid, ctime, mtime; version, cversion, aversion; ephemeralOwner.
      for (let i = 0; i < 4; i++) answer?.long();
      for (let i = 0; i < 3; i++) answer?.int();
      return answer?.long();
    },
    async getAcl(path) {
      return (await ifThere(wire.request(types.getAcl, path, of(path))))?.acl();
    },
    async setAcl(path, acl) {
      await wire.request(types.setAcl, path, of(path).acl(acl).int(-1));
    },
    async create(path, data, acl, options) {
      const flags = options?.ephemeral ? ephemeralFlag : 0;
      await wire.request(types.create, path, of(path).buffer(data).acl(acl).int(flags));
    },
    async delete(path) {
      await wire.request(types.delete, path, of(path).int(-1));
    },
    async setData(path, data) {
      await wire.request(types.setData, path, of(path).buffer(data).int(-1));
    },
    async sync(path) {
      await wire.request(types.sync, path, of(path));
    },
    async reconfig({ joining, leaving }) {
      const packet = new Packet().string(joining).string(leaving).string(undefined).long(-1n);
      return (await wire.request(types.reconfig, 'reconfig', packet)).string();
    },
  };
}
