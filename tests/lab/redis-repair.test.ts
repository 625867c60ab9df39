import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart } from './redis-clients.ts';

const file = (name: string, hosts: string[], spec: string): string => `
cluster: ${name}
network: 10.162.11.0/24
hosts: { ${hosts.map((host) => `${host}: {}`).join(', ')} }
services:
  cart: { type: redis, hosts: [${hosts.join(', ')}], timing: fast, ${spec} }
`;

const log = 'appendonlydir/appendonly.aof.1.incr.aof';

/** A cluster whose members' files are damaged on purpose. */
class Patient {
  readonly cluster: TestCluster;
  readonly cart: Cart;

  constructor(yaml: string) {
    this.cluster = new TestCluster(yaml);
    this.cart = new Cart(this.cluster);
  }

  async root(member: string): Promise<string> {
    const { cluster } = await this.cart.session();
    return cluster.hosts[member.slice(member.indexOf('@') + 1)]!.root;
  }

  /** Sh in the member's data folder, on its host. */
  async inData(member: string, script: string): Promise<string> {
    const folder = `${await this.root(member)}/members/${member}/data`;
    return (await this.cart.on(member.slice(member.indexOf('@') + 1), `cd '${folder}'\n${script}`)).trim();
  }

  /** Kills the member, does this to its files, whose times stay as they were, and lets the supervisor start it again. */
  async damage(member: string, path: string, script: string): Promise<void> {
    const scan = `${await this.root(member)}/scan/${member}`;
    await this.inData(
      member,
      `s6-svc -wD -T 10000 -O -k '${scan}'
cp -p ${path} /tmp/before
FILE=${path}; SIZE=$(stat -c %s "$FILE")
${script}
touch -r /tmp/before "$FILE"
s6-svc -u '${scan}'`,
    );
  }

  row = async (member: string) => (await this.cluster.status()).rows.find((one) => one.name === member)!;

  /** The member waits for a repair, and says why. */
  found(member: string): Promise<string> {
    return until(`${member} is found to be damaged`, async () => {
      const { why } = await this.row(member);
      return why?.startsWith('its data is damaged') && why;
    });
  }

  async keys(member: string): Promise<number | undefined> {
    return (await this.cart.member(member))?.keys;
  }

  async write(count: number): Promise<void> {
    const client = await this.cart.client();
    for (let n = 0; n < count; n++) await client.set(`key:${n}`, `value ${n}`);
    client.disconnect();
  }
}

const cutOff = 'truncate -s $((SIZE - 10)) "$FILE"';
const scratch = `printf 'XXXX' | dd of="$FILE" bs=1 seek=$((SIZE / 2)) conv=notrunc 2>/dev/null`;

describe('a log that was cut off, and nobody else has the data', () => {
  const patient = new Patient(file('rdalone', ['d1'], 'mode: replication, replicas: 0'));
  const { cluster } = patient;
  beforeAll(async () => {
    await cluster.must('up');
    await patient.write(100);
  });
  afterAll(() => cluster.remove());

  it('a member that was only killed starts at once, and its files are not read a second time for it', async () => {
    await patient.damage('cart@d1', log, ':');
    await until('it serves', async () => (await patient.keys('cart@d1')) === 100);
    expect(await patient.inData('cart@d1', 'ls -a')).not.toMatch(/\.sound|\.damage|\.checked/);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('is found: status, plan and up say where and what is lost, and it is not started again and again', async () => {
    await patient.damage('cart@d1', log, cutOff);
    const why = await patient.found('cart@d1');
    expect(why).toMatch(
      /appendonly\.aof\.1\.incr\.aof cannot be read from byte \d+ of \d+ on: \d+ bytes, at most 1 write/,
    );
    expect(why).toContain('no other member that answers has its data: phalanx repair cart@d1');
    const { exit, out } = await cluster.run(['plan']);
    expect(exit).toBe(2);
    expect(out).toContain('hold  cart@d1  its data is damaged');
    const up = await cluster.run(['up']);
    expect(up.exit).toBe(1);
    expect(up.out).toContain('HELD hold cart@d1: its data is damaged');
    const starts = 'grep -c "Redis version=" ../log/current';
    const before = await patient.inData('cart@d1', starts);
    expect((await cluster.run(['status'])).exit).toBe(3);
    expect(await patient.inData('cart@d1', starts)).toBe(before);
  });

  it('is shown with what would mend it, and nothing is done without being told', async () => {
    const sum = `sha256sum ${log}`;
    const before = await patient.inData('cart@d1', sum);
    const { exit, out } = await cluster.run(['repair', 'cart@d1']);
    expect(exit).toBe(2);
    expect(out).toMatch(
      /repair +cart@d1 +appendonlydir\S+ is shortened to \d+ of \d+ bytes by redis-check-aof, on a copy/,
    );
    expect(out).toContain('nothing was changed');
    expect(await patient.inData('cart@d1', sum)).toBe(before);
    expect((await patient.row('cart@d1')).health).toBe('down');
  });

  it('is held as well when everything was down: up says so at once instead of waiting', async () => {
    await cluster.must('down');
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toContain('HELD ready cart@d1: its data is damaged');
  });

  it('a member that is added meanwhile starts as an empty master, and is no copy', async () => {
    cluster.write(file('rdalone', ['d1', 'd2'], 'mode: replication'));
    await patient.cart.session(true);
    expect((await cluster.run(['up'])).exit).toBe(1);
    await until('it serves', async () => (await patient.keys('cart@d2')) === 0);
    const { exit, out } = await cluster.run(['repair', 'cart@d1']);
    expect(exit).toBe(2);
    expect(out).toContain('no other member that answers has its data');
    expect(out).toMatch(/repair +cart@d1 +appendonlydir\S+ is shortened to/);
  });

  it('is repaired when told: the last write is gone, no other, and the original is kept', async () => {
    const before = (await patient.inData('cart@d1', `sha256sum <${log}`)).split(' ')[0];
    await cluster.must('repair', 'cart@d1', '--yes');
    await cluster.must('up');
    expect(await patient.keys('cart@d1')).toBe(99);
    const kept = await patient.inData('cart@d1', 'sha256sum damaged-*/appendonly.aof.1.incr.aof');
    expect(kept.split(' ')[0]).toBe(before);
    expect(await cluster.must('repair', 'cart@d1')).toContain('nothing to repair');
  });
});

describe('a log that was cut off, and a replica has it whole', () => {
  const patient = new Patient(file('rdpair', ['d1', 'd2'], 'mode: replication'));
  const { cluster } = patient;
  beforeAll(async () => {
    await cluster.must('up');
    await patient.write(100);
    await until('the replica has it', async () => (await patient.keys('cart@d2')) === 100);
  });
  afterAll(() => cluster.remove());

  it('the replica is said to have the data, leads, and is copied: nothing is lost', async () => {
    await patient.damage('cart@d1', log, cutOff);
    expect(await patient.found('cart@d1')).toMatch(/cart@d2 copied it until [\d:]+ and holds 100 keys/);
    // As long as it cannot be asked, what is left of the log is not made all that there is.
    const pid = (await patient.cart.member('cart@d2'))!.info!['process_id'];
    await patient.cart.on('d2', `kill -STOP ${pid}`);
    const alone = await cluster.run(['repair', 'cart@d1', '--yes']);
    await patient.cart.on('d2', `kill -CONT ${pid}`);
    expect(alone.exit).toBe(1);
    expect(alone.out).toMatch(/cart@d2 does not answer .*, and may have all of it/);
    await until('it answers again', async () => (await patient.keys('cart@d2')) === 100);
    const shown = await cluster.run(['repair', 'cart@d1']);
    expect(shown.exit).toBe(2);
    expect(shown.out).toMatch(/promote +cart@d2/);
    expect(await patient.cart.masters()).toEqual([]);
    // Shortening would make less of the data than there is: not unless that is said.
    const shorten = await cluster.run(['repair', 'cart@d1', '--way', 'shorten', '--yes']);
    expect(shorten.exit).toBe(1);
    expect(shorten.out).toContain('--allow-data-loss cart');
    await cluster.must('repair', 'cart@d1', '--yes');
    await patient.cart.asTheFileSays();
    expect(await patient.cart.masters()).toEqual(['cart@d2']);
    expect(await patient.keys('cart@d1')).toBe(100);
    expect(await patient.inData('cart@d1', 'ls damaged-*/appendonlydir')).toContain('incr.aof');
  });

  it('of a replica: it copies its master anew', async () => {
    await patient.damage('cart@d1', 'appendonlydir/$(ls appendonlydir | grep base)', scratch);
    expect(await patient.found('cart@d1')).toContain('cart@d2 is master of its data, with 100 keys');
    await cluster.must('repair', 'cart@d1', '--yes');
    await patient.cart.asTheFileSays();
    expect(await patient.keys('cart@d1')).toBe(100);
  });
});

describe('a damaged log in a cluster', () => {
  const patient = new Patient(file('rdshards', ['d1', 'd2', 'd3'], 'mode: cluster'));
  const { cluster, cart } = patient;
  beforeAll(async () => {
    await cluster.must('up');
    await patient.write(300);
  });
  afterAll(() => cluster.remove());

  it('a replica has taken over and is named; the damaged member copies it, and every key is there', async () => {
    const { members } = await cart.live();
    const master = members.find((one) => one.name === 'cart@d1')!;
    const before = master.keys!;
    await patient.damage('cart@d1', log, scratch);
    const why = await until('somebody leads its slots', async () => {
      const said = await patient.found('cart@d1');
      return said.includes('is master of its data') && said;
    });
    expect(why).toContain(`with ${before} keys`);
    await cluster.must('repair', 'cart@d1', '--yes');
    await cart.asTheFileSays();
    expect((await cart.member('cart@d1'))!.role).toBe('replica');
    const client = await cart.client();
    for (let n = 0; n < 300; n++) expect(await client.get(`key:${n}`)).toBe(`value ${n}`);
    client.disconnect();
  });
});

describe('a damaged snapshot that nobody else has', () => {
  const patient = new Patient(file('rdsnap', ['d1'], 'mode: replication, replicas: 0, persistence: rdb'));
  const { cluster } = patient;
  beforeAll(async () => {
    await cluster.must('up');
    await patient.write(50);
    // A clean stop writes the snapshot.
    await cluster.must('down');
    await cluster.must('up');
    expect(await patient.keys('cart@d1')).toBe(50);
  });
  afterAll(() => cluster.remove());

  it('cannot be repaired: it is held, and what a person can do is said', async () => {
    await patient.damage('cart@d1', 'dump.rdb', `cp -p "$FILE" ../sound.rdb; ${scratch}`);
    expect(await patient.found('cart@d1')).toMatch(
      /dump\.rdb cannot be read from byte \d+ on .* a snapshot is read whole or not at all/,
    );
    const { exit, out } = await cluster.run(['repair', 'cart@d1', '--yes']);
    expect(exit).toBe(1);
    expect(out).toContain('--way empty --allow-data-loss cart');
    const shorten = await cluster.run(['repair', 'cart@d1', '--way', 'shorten', '--yes']);
    expect(shorten.exit).toBe(1);
    expect(shorten.out).toContain('only the last file of a log can be shortened');
    const empty = await cluster.run(['repair', 'cart@d1', '--way', 'empty', '--yes']);
    expect(empty.exit).toBe(1);
    expect(empty.out).toContain('allow it with --allow-data-loss cart');
    expect((await patient.row('cart@d1')).health).toBe('down');
  });

  it('a sound file in its place is taken', async () => {
    await patient.inData('cart@d1', 'cp -p ../sound.rdb dump.rdb; rm .damage');
    await until('it serves', async () => (await patient.keys('cart@d1')) === 50);
  });

  it('is left behind when a person says so, and kept', async () => {
    await patient.damage('cart@d1', 'dump.rdb', scratch);
    await patient.found('cart@d1');
    const told = ['--way', 'empty', '--yes', '--allow-data-loss', 'cart'];
    await cluster.must('repair', 'cart@d1', ...told);
    expect(await patient.keys('cart@d1')).toBe(0);
    expect(await patient.inData('cart@d1', 'ls damaged-*')).toContain('dump.rdb');
  });
});
