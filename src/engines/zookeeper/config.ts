import type { Cluster } from '../../file/cluster.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { digest, proof } from './acl.ts';
import { memberName, type ZooKeeperService } from './seats.ts';
import { timingOf } from './timing.ts';
import { words } from './words.ts';

/** Keys of zoo.cfg that Phalanx sets, and the key of the file that stands for each; '' where nothing does. */
export const owned: Record<string, string> = {
  tickTime: 'timing',
  initLimit: 'timing',
  syncLimit: 'timing',
  minSessionTimeout: 'timing',
  maxSessionTimeout: 'timing',
  cnxTimeout: 'timing',
  clientPort: 'port',
  clientPortAddress: 'port',
  secureClientPort: '',
  dataDir: '',
  dataLogDir: '',
  dynamicConfigFile: '',
  reconfigEnabled: '',
  standaloneEnabled: '',
  peerType: 'observers',
  maxClientCnxns: 'clients',
  'autopurge.snapRetainCount': 'snapshots',
  'autopurge.purgeInterval': 'snapshots',
  'admin.enableServer': '',
  '4lw.commands.whitelist': '',
  'DigestAuthenticationProvider.superDigest': '',
  'DigestAuthenticationProvider.enabled': '',
  'readonlymode.enabled': 'readOnly',
  skipACL: '',
};

/** Other keys that ZooKeeper 3.8 reads (Administrator's Guide, "Configuration Parameters"); it ignores what it does not know. */
export const known = new Set([
  ...['autopurge.snapRetainCount', 'clientPortListenBacklog', 'commitProcessor.numWorkerThreads'],
  ...['commitProcessor.maxReadBatchSize', 'commitProcessor.maxCommitBatchSize', 'commitLogCount'],
  ...['connectionMaxTokens', 'connectionTokenFillTime', 'connectionTokenFillCount', 'connectionFreezeTime'],
  ...['connectionDropIncrease', 'connectionDropDecrease', 'connectionDecreaseRatio', 'digest.enabled'],
  ...[
    'electionAlg',
    'electionPortBindRetry',
    'extendedTypesEnabled',
    'emulate353TTLNodes',
    'enforce.auth.enabled',
  ],
  ...['enforce.auth.schemes', 'enforce.quota', 'enableEagerACLCheck', 'fastleader.maxNotificationInterval'],
  ...['fastleader.minNotificationInterval', 'flushDelay', 'forceSync', 'fsync.warningthresholdms'],
  ...[
    'globalOutstandingLimit',
    'globalSessionTrackingEnabled',
    'jvm.pause.info-threshold.ms',
    'jvm.pause.monitor',
  ],
  ...[
    'jvm.pause.sleep.time.ms',
    'jvm.pause.warn-threshold.ms',
    'largeRequestMaxBytes',
    'largeRequestThreshold',
  ],
  ...[
    'leader.closeSocketAsync',
    'leaderConnectDelayDuringRetryMs',
    'leaderServes',
    'learner.asyncSending',
    'learner.closeSocketAsync',
  ],
  ...['learner.failureThreshold', 'localSessionsEnabled', 'localSessionsUpgradingEnabled', 'maxBatchSize'],
  ...[
    'maxCnxns',
    'maxResponseCacheSize',
    'maxGetChildrenResponseCacheSize',
    'maxWriteQueuePollTime',
    'metricsProvider.className',
  ],
  ...[
    'metricsProvider.exportJvmInfo',
    'metricsProvider.httpHost',
    'metricsProvider.httpPort',
    'multiAddress.enabled',
  ],
  ...[
    'nioconnections.numWorkerThreads',
    'observerMasterPort',
    'observer.election.DelayMs',
    'observer.reconnectDelayMs',
  ],
  ...[
    'observer.syncEnabled',
    'preAllocSize',
    'quorumCnxnThreads',
    'quorumListenOnAllIPs',
    'request_throttle_max_requests',
  ],
  ...['request_throttle_stall_time', 'requestThrottleLatency', 'snapCount', 'snapshot.compression.method'],
  ...[
    'snapshot.trust.empty',
    'snapSizeLimitInKb',
    'syncEnabled',
    'tcpKeepAlive',
    'throttledOpWaitTime',
    'ttl.enabled',
  ],
  ...['unsafe', 'warnThresholdNs', 'watchManagerName', 'znode.container.checkIntervalMs'],
]);

/**
 * The part of zoo.cfg that is the same whoever the members are; `start` adds the dynamic part. Keys that ZooKeeper has no
 * parser for become system properties with `zookeeper.` before them (QuorumPeerConfig.parseProperties): so the superuser's
 * hash stays in a file of mode 0600 and out of every command line.
 */
export function staticConfig(service: ZooKeeperService, cluster: Cluster, host: string): string {
  const { spec } = service;
  const timing = timingOf(service);
  const folder = memberFolder({ name: memberName(service, host) }, cluster.hosts[host]!.root);
  const keys: Record<string, string | number | boolean> = {
    dataDir: `${folder}/data`,
    tickTime: timing.tickTime,
    initLimit: timing.initLimit,
    syncLimit: timing.syncLimit,
    minSessionTimeout: timing.minSessionTimeout,
    maxSessionTimeout: timing.maxSessionTimeout,
    cnxTimeout: timing.cnxTimeout,
    reconfigEnabled: true,
    // A single server is an ensemble too: it can be grown.
    standaloneEnabled: false,
    maxClientCnxns: spec.clients,
    'autopurge.snapRetainCount': spec.snapshots.keep,
    'autopurge.purgeInterval': Math.round(spec.snapshots.every / 3_600_000),
    // It listens on every address and answers anybody.
    'admin.enableServer': false,
    // `isro` is how clients that accept a read-only server find one that is not.
    '4lw.commands.whitelist': [...words, ...(spec.readOnly ? ['isro'] : [])].join(','),
    'DigestAuthenticationProvider.superDigest': digest(proof(cluster, service, 'super')),
    ...spec.config,
  };
  return Object.entries(keys)
    .map(([key, value]) => `${key}=${String(value).replaceAll('\\', '\\\\')}\n`)
    .join('');
}
