"""A stock client (redis-py) that writes keys without a pause: JSON lines on standard output, until its input ends.

What an application is told comes in its environment: HOSTS, MODE, PASSWORD, and with sentinels SENTINELS and MASTER_NAME. It is set up as
redis-py's own documentation says for the mode. At the end every key that was acknowledged is read back.
"""

import json
import logging
import os
import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.sentinel import Sentinel


def say(**line):
    print(json.dumps(line), flush=True)


def places(name):
    return [(host, int(port)) for host, port in (one.split(":") for one in os.environ[name].split(","))]


# It tells of every lost connection itself; what an application sees is what is raised.
logging.disable(logging.CRITICAL)
# Nor what its half made objects say as they are thrown away.
sys.unraisablehook = lambda _: None
password = os.environ["PASSWORD"]
patience = {"socket_timeout": 1, "socket_connect_timeout": 1}


def connected():
    if os.environ["MODE"] == "cluster":
        nodes = [ClusterNode(host, port) for host, port in places("HOSTS")]
        return RedisCluster(startup_nodes=nodes, password=password, cluster_error_retry_attempts=1, **patience)
    sentinel = Sentinel(places("SENTINELS"), sentinel_kwargs={"password": password, **patience})
    return sentinel.master_for(os.environ["MASTER_NAME"], password=password, **patience)


client = connected()

going = True


def until_end():
    global going
    sys.stdin.read()
    going = False


threading.Thread(target=until_end, daemon=True).start()
acknowledged = []
number = 0
while going:
    number += 1
    key = f"python:{number}"
    try:
        client = client or connected()
        client.set(key, number)
        acknowledged.append(key)
        say(ok=number, at=time.monotonic() * 1000)
    except (RedisError, OSError) as error:
        say(error=repr(error))
        time.sleep(0.02)
    except (RedisClusterException, TypeError, AttributeError) as error:
        # Seen in 4.3.4, as Debian 12 has it: while it looks for the cluster again it copies a lock, which cannot be copied, and
        # never works again. An application makes a new client.
        say(error=repr(error))
        client = None
client = connected()
say(missing=[key for key in acknowledged if client.get(key) != key[len("python:"):].encode()])
