import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { get, TestCluster, until } from '../tests/lab/cluster.ts';

/*
 * From a member's node in ZooKeeper to the first answer of that member through the VIP. The member's server stands by; its registrar is
 * stopped and started, and says in its folder when it holds the node. A client asks the VIP all the time, each time on a new connection.
 * Usage: node bench/registry.ts [ROUNDS]. Milliseconds; exit status 4 when p95 is over the target.
 */
const rounds = Number(process.argv[2] ?? 20);
const target = 100;
const name = 'zkabench';
const vip = '10.164.5.100';
const server = resolve(import.meta.dirname, '../examples/hello/server.ts');

const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(q * values.length) - 1)]!;

const cluster = new TestCluster(`
cluster: ${name}
network: 10.164.5.0/24
hosts: { lb1: {}, app1: {}, app2: {}, data1: {}, data2: {}, data3: {} }
services:
  web:
    type: app
    hosts: [app1, app2]
    command: node ${server}
    port: 8080
    check: { http: /healthz }
    uses: [locks]
    register: locks
  front: { type: director, hosts: [lb1], vip: ${vip}, listen: [{ port: 80, to: web, scheduler: rr }] }
  locks: { type: zookeeper, hosts: [data1, data2, data3], timing: fast }
`);
const folder = `/var/lib/phalanx/${name}/hosts/app2/members/web.registrar@app2`;
const state = (): string => (existsSync(`${folder}/state`) ? readFileSync(`${folder}/state`, 'utf8') : '');

try {
  await cluster.must('up');
  const who = async (): Promise<string> => (await get(`http://${vip}/who`)).body;
  const values: number[] = [];
  while (values.length < rounds) {
    // Stopped for longer than its session lives: the node is gone, and the director has seen it.
    execFileSync('s6-svc', ['-wD', '-T', '10000', '-d', `${folder}/service`]);
    let answers = 0;
    await until('nobody is sent to app2', async () => {
      answers = (await who()).includes('app2') ? 0 : answers + 1;
      return answers > 10;
    });
    const before = state();
    execFileSync('s6-svc', ['-u', `${folder}/service`]);
    let held = 0;
    const watching = (async () => {
      for (;;) {
        const now = state();
        if (now !== before && now.startsWith('registered')) {
          held = performance.now();
          return;
        }
        await new Promise((done) => setTimeout(done, 1));
      }
    })();
    while (!(await who()).includes('app2'));
    const served = performance.now();
    await watching;
    // It may be served before the registrar has heard that its node is there.
    values.push(Math.max(0, served - held));
  }
  const [p50, p95, worst] = [0.5, 0.95, 1].map((q) => Math.round(quantile(values, q)));
  const kept = p95! <= target;
  if (!kept) process.exitCode = 4;
  const load = loadavg().map((one) => Math.round(one * 10) / 10);
  console.log(JSON.stringify({ what: 'node to VIP', rounds, p50, p95, worst, kept, load }));
} finally {
  await cluster.remove();
}
