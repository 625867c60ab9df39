import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchCluster } from '../cluster.ts';
import { nginxFolders } from '../nginx.ts';
import type { Stage } from '../stage.ts';

/** A way from the client to the one real server: who is asked. */
export interface Path {
  name: string;
  url: string;
}

const subnet = '10.96.1';
/** Ports of the one nginx. Replies from the first go back through the director, those from the second belong to the VIP of `dr`. */
const ports = { nat: 8080, dr: 8081, plain: 8082 };
/** Hosts that packets of a measured path pass. */
export const onTheWay = ['client', 'app', 'proxy', 'lb-nat', 'lb-dr', 'lb-fullnat', 'lb-haproxy'];
const places = { app: `${subnet}.11`, proxy: `${subnet}.12` };

/**
 * One real server, one client, and every way between them, each on hosts of its own, so that all have the same
 * number of links: client, switch, the one in the middle, switch, server. All of it is one Phalanx file; haproxy and
 * nginx by hand are apps in it.
 */
export function buildPaths(stage: Stage): { cluster: BenchCluster; paths: Path[] } {
  const conf = (name: string, text: string): string => {
    const path = join(stage.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const server = conf('server.conf', webServer(stage.folder));
  const stream = conf('stream.conf', streamProxy(stage.folder));
  const haproxy = conf('haproxy.cfg', tcpProxy(8001, 1));
  const haproxy2 = conf('haproxy2.cfg', tcpProxy(8002, 2));
  const nginx = (file: string) => `/usr/sbin/nginx -e stderr -c ${file} -g "daemon off;"`;
  const director = (name: string, vip: number, listen: string) => `
  ${name}:
    type: director
    hosts: [lb-${name}]
    vip: ${subnet}.${vip}
    listen: [{ scheduler: rr, ${listen} }]`;
  const yaml = `cluster: bnthru
network: ${subnet}.0/24
hosts:
  app: { address: ${places.app} }
  proxy: { address: ${places.proxy} }
  client: { address: ${subnet}.13 }
  lb-nat: {}
  lb-dr: {}
  lb-fullnat: {}
  lb-haproxy: {}
services:
  # One nginx, which listens on all three ports; the other two services only name its ports.
  web:    { type: app, hosts: [app], port: ${ports.nat}, command: '${nginx(server)}' }
  web-dr: { type: app, hosts: [app], port: ${ports.dr}, command: sleep infinity }
  plain:  { type: app, hosts: [app], port: ${ports.plain}, command: sleep infinity }
  by-haproxy:  { type: app, hosts: [proxy], port: 8001, command: '/usr/sbin/haproxy -db -f ${haproxy}' }
  by-haproxy2: { type: app, hosts: [proxy], port: 8002, command: '/usr/sbin/haproxy -db -f ${haproxy2}' }
  by-stream:   { type: app, hosts: [proxy], port: 8003, command: '${nginx(stream)}' }
${director('nat', 101, 'port: 80, to: web, forward: nat')}
${director('dr', 102, `port: ${ports.dr}, to: web-dr, forward: dr`)}
${director('fullnat', 103, 'port: 80, to: plain, forward: fullnat')}
${director('haproxy', 104, 'port: 80, to: plain, plane: haproxy')}
`;
  return {
    cluster: new BenchCluster(stage, 'bnthru', yaml),
    paths: [
      { name: 'direct', url: `http://${places.app}:${ports.plain}/` },
      { name: 'nat', url: `http://${subnet}.101/` },
      { name: 'dr', url: `http://${subnet}.102:${ports.dr}/` },
      { name: 'fullnat', url: `http://${subnet}.103/` },
      { name: 'haproxy plane', url: `http://${subnet}.104/` },
      { name: 'haproxy', url: `http://${places.proxy}:8001/` },
      { name: 'haproxy (2 threads)', url: `http://${places.proxy}:8002/` },
      { name: 'nginx stream', url: `http://${places.proxy}:8003/` },
    ],
  };
}

const webServer = (folder: string): string => `worker_processes 1;
pid ${folder}/server.pid;
error_log stderr;
events { worker_connections 2048; }
http {
${nginxFolders(folder)}
  access_log off;
  keepalive_requests 1000000000;
  server {
${Object.values(ports)
  .map((port) => `    listen ${port} backlog=4096;`)
  .join('\n')}
    location / { return 200 "ok\\n"; }
  }
}
`;

const streamProxy = (folder: string): string => `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
pid ${folder}/stream.pid;
error_log stderr;
events { worker_connections 2048; }
stream {
  server {
    listen 8003 backlog=4096;
    proxy_pass ${places.app}:${ports.plain};
  }
}
`;

const tcpProxy = (port: number, threads: number): string => `global
  nbthread ${threads}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen front
  bind :${port}
  server app ${places.app}:${ports.plain}
`;
