import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchCluster } from '../cluster.ts';
import { nginxFolders } from '../nginx.ts';
import type { Stage } from '../stage.ts';

const subnet = '10.96.2';
export const vips = { phalanx: `${subnet}.100`, keepalived: `${subnet}.200` };

/** A director pair before one server; and beside it keepalived as its manual's first example has it (advert 1 s), an nginx on both hosts. */
export function takeoverCluster(stage: Stage): BenchCluster {
  const nginx = (name: string, port: number): string => {
    const path = join(stage.folder, `${name}.conf`);
    writeFileSync(
      path,
      `worker_processes 1;
error_log stderr;
events { worker_connections 4096; }
http {
${nginxFolders(stage.folder)}
  access_log off;
  server { listen ${port}; location / { return 200 "ok\\n"; } }
}
`,
    );
    return `/usr/sbin/nginx -e stderr -c ${path} -g "daemon off; pid ${stage.folder}/$MEMBER.pid;"`;
  };
  const plain = (host: string, state: string, priority: number): string => {
    const path = join(stage.folder, `${host}.conf`);
    writeFileSync(
      path,
      `vrrp_instance plain {
    state ${state}
    interface eth0
    virtual_router_id 51
    priority ${priority}
    advert_int 1
    virtual_ipaddress {
        ${vips.keepalived}
    }
}
`,
    );
    return `/usr/sbin/keepalived -n -l -D -P -f ${path} -p ${stage.folder}/${host}.pid -r ${stage.folder}/${host}.vrrp.pid`;
  };
  const running = 'check: { script: "true" }';
  return new BenchCluster(
    stage,
    'bntake',
    `cluster: bntake
network: ${subnet}.0/24
hosts: { lb1: {}, lb2: {}, app: {}, ka1: {}, ka2: {}, client: {} }
services:
  web: { type: app, hosts: [app], port: 8080, command: ${JSON.stringify(nginx('web', 8080))} }
  front:
    type: director
    hosts: [lb1, lb2]
    vip: ${vips.phalanx}
    listen: [{ port: 80, to: web, scheduler: rr }]
  plain: { type: app, hosts: [ka1, ka2], port: 80, command: ${JSON.stringify(nginx('plain', 80))} }
  first:  { type: app, hosts: [ka1], port: 1, ${running}, command: ${JSON.stringify(plain('ka1', 'MASTER', 150))} }
  second: { type: app, hosts: [ka2], port: 1, ${running}, command: ${JSON.stringify(plain('ka2', 'BACKUP', 100))} }
`,
  );
}
