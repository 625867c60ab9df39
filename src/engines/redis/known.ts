const words = (text: string): Set<string> => new Set(text.trim().split(/\s+/));

/** Directives that a running Redis 7.0 refuses to change (CONFIG SET: "can't set immutable config"), found by trying each. */
export const immutable = words(`
  aclfile always-show-logo aof_rewrite_cpulist appenddirname appendfilename bgsave_cpulist
  bio_cpulist cluster-config-file cluster-enabled cluster-port daemonize databases dbfilename dir
  disable-thp enable-debug-command enable-module-command enable-protected-configs io-threads
  io-threads-do-reads logfile pidfile rdbchecksum replicaof server_cpulist set-proc-title slaveof
  socket-mark-id supervised syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket
  unixsocketperm
`);

/** Directives that CONFIG SET of Redis 7.0 accepts. */
export const mutable = words(`
  acl-pubsub-default acllog-max-len active-defrag-cycle-max active-defrag-cycle-min
  active-defrag-ignore-bytes active-defrag-max-scan-fields active-defrag-threshold-lower
  active-defrag-threshold-upper active-expire-effort activedefrag activerehashing aof-disable-auto-gc
  aof-load-truncated aof-rewrite-incremental-fsync aof-timestamp-enabled aof-use-rdb-preamble
  appendfsync appendonly auto-aof-rewrite-min-size auto-aof-rewrite-percentage bind bind-source-addr
  busy-reply-threshold client-output-buffer-limit client-query-buffer-limit
  cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down cluster-allow-replica-migration
  cluster-announce-bus-port cluster-announce-hostname cluster-announce-ip cluster-announce-port
  cluster-announce-tls-port cluster-link-sendbuf-limit cluster-migration-barrier cluster-node-timeout
  cluster-preferred-endpoint-type cluster-replica-no-failover cluster-replica-validity-factor
  cluster-require-full-coverage cluster-slave-no-failover cluster-slave-validity-factor
  crash-log-enabled crash-memcheck-enabled dynamic-hz hash-max-listpack-entries
  hash-max-listpack-value hash-max-ziplist-entries hash-max-ziplist-value hll-sparse-max-bytes hz
  ignore-warnings jemalloc-bg-thread latency-monitor-threshold latency-tracking
  latency-tracking-info-percentiles lazyfree-lazy-eviction lazyfree-lazy-expire
  lazyfree-lazy-server-del lazyfree-lazy-user-del lazyfree-lazy-user-flush lfu-decay-time
  lfu-log-factor list-compress-depth list-max-listpack-size list-max-ziplist-size loglevel
  lua-time-limit masterauth masteruser maxclients maxmemory maxmemory-clients
  maxmemory-eviction-tenacity maxmemory-policy maxmemory-samples min-replicas-max-lag
  min-replicas-to-write min-slaves-max-lag min-slaves-to-write no-appendfsync-on-rewrite
  notify-keyspace-events oom-score-adj oom-score-adj-values port proc-title-template
  propagation-error-behavior protected-mode proto-max-bulk-len rdb-del-sync-files
  rdb-save-incremental-fsync rdbcompression repl-backlog-size repl-backlog-ttl
  repl-disable-tcp-nodelay repl-diskless-load repl-diskless-sync repl-diskless-sync-delay
  repl-diskless-sync-max-replicas repl-ping-replica-period repl-ping-slave-period repl-timeout
  replica-announce-ip replica-announce-port replica-announced replica-ignore-disk-write-errors
  replica-ignore-maxmemory replica-lazy-flush replica-priority replica-read-only
  replica-serve-stale-data requirepass sanitize-dump-payload save set-max-intset-entries
  shutdown-on-sigint shutdown-on-sigterm shutdown-timeout slave-announce-ip slave-announce-port
  slave-ignore-maxmemory slave-lazy-flush slave-priority slave-read-only slave-serve-stale-data
  slowlog-log-slower-than slowlog-max-len stop-writes-on-bgsave-error stream-node-max-bytes
  stream-node-max-entries tcp-keepalive timeout tls-auth-clients tls-ca-cert-dir tls-ca-cert-file
  tls-cert-file tls-ciphers tls-ciphersuites tls-client-cert-file tls-client-key-file
  tls-client-key-file-pass tls-cluster tls-dh-params-file tls-key-file tls-key-file-pass tls-port
  tls-prefer-server-ciphers tls-protocols tls-replication tls-session-cache-size
  tls-session-cache-timeout tls-session-caching tracking-table-max-keys zset-max-listpack-entries
  zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value
`);

/**
 * What an untouched Redis 7.0 answers to CONFIG GET for those of `mutable` that Phalanx leaves to the file's `config`, by 7.0.15 of Debian 12. Each of them once, by its newer name. Of
 * other versions nothing is said here.
 */
export const defaults: Record<string, string> = Object.fromEntries(
  `
  acl-pubsub-default resetchannels
  acllog-max-len 128
  active-defrag-cycle-max 25
  active-defrag-cycle-min 1
  active-defrag-ignore-bytes 104857600
  active-defrag-max-scan-fields 1000
  active-defrag-threshold-lower 10
  active-defrag-threshold-upper 100
  active-expire-effort 1
  activedefrag no
  activerehashing yes
  aof-disable-auto-gc no
  aof-rewrite-incremental-fsync yes
  aof-timestamp-enabled no
  appendfsync everysec
  auto-aof-rewrite-min-size 67108864
  auto-aof-rewrite-percentage 100
  bind-source-addr
  busy-reply-threshold 5000
  client-query-buffer-limit 1073741824
  cluster-allow-pubsubshard-when-down yes
  cluster-allow-reads-when-down no
  cluster-announce-bus-port 0
  cluster-announce-hostname
  cluster-announce-port 0
  cluster-announce-tls-port 0
  cluster-link-sendbuf-limit 0
  cluster-migration-barrier 1
  cluster-preferred-endpoint-type ip
  cluster-replica-validity-factor 10
  cluster-require-full-coverage yes
  crash-log-enabled yes
  crash-memcheck-enabled yes
  dynamic-hz yes
  hash-max-listpack-entries 512
  hash-max-listpack-value 64
  hll-sparse-max-bytes 3000
  hz 10
  ignore-warnings
  jemalloc-bg-thread yes
  latency-monitor-threshold 0
  latency-tracking yes
  latency-tracking-info-percentiles 50 99 99.9
  lazyfree-lazy-eviction no
  lazyfree-lazy-expire no
  lazyfree-lazy-server-del no
  lazyfree-lazy-user-del no
  lazyfree-lazy-user-flush no
  lfu-decay-time 1
  lfu-log-factor 10
  list-compress-depth 0
  list-max-listpack-size -2
  loglevel notice
  maxmemory-clients 0
  maxmemory-eviction-tenacity 10
  maxmemory-samples 5
  no-appendfsync-on-rewrite no
  notify-keyspace-events
  oom-score-adj no
  oom-score-adj-values 0 200 800
  proc-title-template {title} {listen-addr} {server-mode}
  propagation-error-behavior ignore
  proto-max-bulk-len 536870912
  rdb-del-sync-files no
  rdb-save-incremental-fsync yes
  rdbcompression yes
  repl-backlog-size 1048576
  repl-backlog-ttl 3600
  repl-disable-tcp-nodelay no
  repl-diskless-load disabled
  repl-diskless-sync yes
  repl-diskless-sync-delay 5
  repl-diskless-sync-max-replicas 0
  repl-ping-replica-period 10
  repl-timeout 60
  replica-announced yes
  replica-ignore-disk-write-errors no
  replica-ignore-maxmemory yes
  replica-lazy-flush no
  replica-serve-stale-data yes
  sanitize-dump-payload no
  set-max-intset-entries 512
  shutdown-on-sigint default
  shutdown-on-sigterm default
  shutdown-timeout 10
  slowlog-log-slower-than 10000
  slowlog-max-len 128
  stop-writes-on-bgsave-error yes
  stream-node-max-bytes 4096
  stream-node-max-entries 100
  tcp-keepalive 300
  timeout 0
  tls-ca-cert-dir
  tls-ciphers
  tls-ciphersuites
  tls-client-cert-file
  tls-client-key-file
  tls-client-key-file-pass
  tls-dh-params-file
  tls-key-file-pass
  tls-prefer-server-ciphers no
  tls-protocols
  tls-session-cache-size 20480
  tls-session-cache-timeout 300
  tls-session-caching yes
  tracking-table-max-keys 1000000
  zset-max-listpack-entries 128
  zset-max-listpack-value 64
`
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', ...value] = line.trim().split(' ');
      return [name, value.join(' ')];
    }),
);

/** The newer name of a directive that has two. */
export const newerName = (name: string): string =>
  name === 'lua-time-limit'
    ? 'busy-reply-threshold'
    : name.replace('slave', 'replica').replace('ziplist', 'listpack');
