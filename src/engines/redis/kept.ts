/*
 * What a member keeps its data in. Redis goes by `appendonly` alone: with yes and without a log it starts empty beside a snapshot (redis/redis#12484), with no it
 * reads the snapshot, however old that is beside a log. But the file says what is to be written from now on, and it may have changed while the
 * member was stopped. So a member starts as its last process ran, and is set to the file as soon as it has read its data.
 */

/** In `data`, for as long as a member runs without a log, with its persistence: what is there of a log may be old. */
export const unlogged = 'data/.unlogged';

/** In `data`, from the first start on that writes that mark: without it the mark's absence says nothing, and a log may be what a former Phalanx left behind. */
const marks = 'data/.kept';

const manifest = 'data/appendonlydir/appendonly.aof.manifest';
/** In Redis 7.0 (openNewIncrAofForAppend in aof.c): there while the log is written anew after a full copy, or for the first time; named in no list before it is done. */
const anew = 'data/appendonlydir/temp-appendonly.aof.incr';

/** Redis's own default: for a member that is to log its writes and does not yet. */
export const snapshots = '3600 1 300 100 60 10000';

/**
 * Sh: `kept` says what holds the data that was written last, `log` or `snapshot` or nothing; `keep` prepares a start with that, for which redis-server is given
 * `$as`; `logging` is whether the log holds every write of the last process. Uses `ask`, `self` and `persistence` of the start script.
 */
export const keptScript = `
manifest=${manifest}
anew=${anew}
kept() {
  if [ -e $manifest ]; then
    if [ -e ${marks} ] && [ ! -e ${unlogged} ] && [ ! -e $anew ]; then echo log; return; fi
    if [ "$(cat ${unlogged} 2>/dev/null)" != none ] &&
      { [ ! -e data/dump.rdb ] || [ -n "$(find data/appendonlydir -type f ! -name 'temp-*' -newer data/dump.rdb)" ]; }; then echo log; return; fi
  fi
  [ ! -e data/dump.rdb ] || echo snapshot
}
# What is to log and never wrote a mark logged before as well: a former Phalanx started it as the file said.
logging() {
  [ -e $manifest ] && [ ! -e $anew ] && [ ! -e ${unlogged} ] || return 1
  case $persistence in aof | mixed) ;; *) [ -e ${marks} ] ;; esac
}
keep() {
  from=$(kept) as=
  : >${marks}
  rm -f $anew
  case $persistence in
    aof | mixed)
      # Beside the list of an old log it starts without one as well: the next log goes on from its number.
      if [ "$from" = log ] || { [ -z "$from" ] && [ ! -e $manifest ]; }; then
        rm -f ${unlogged}
      else
        echo rdb >${unlogged}
        as='--appendonly no --save ${snapshots}'
        set_log yes save ''
      fi
      ;;
    *)
      if [ "$from" = log ]; then
        rm -f ${unlogged}
        as='--appendonly yes'
        set_log no
      else
        echo "$persistence" >${unlogged}
      fi
      ;;
  esac
}
# Not while it reads a copy: Redis 7.0 stops on it. In a process that redis-server is not the parent of (guard.ts).
set_log() { # yes|no [DIRECTIVE VALUE]
  ( (
    log=$1; shift
    while sleep 1; do
      ask "$self" info persistence | grep -q '^loading:0' || continue
      case "$(ask "$self" role | tr '\\n' ' ')" in master* | 'slave '*' connected '*) ;; *) continue ;; esac
      [ $log = yes ] || echo "$persistence" >${unlogged}
      [ "$(ask "$self" config set appendonly $log "$@")" = OK ] || continue
      [ $log = no ] || rm -f ${unlogged}
      break
    done
  ) & )
}
`;
