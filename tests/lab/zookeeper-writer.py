"""A stock client (kazoo) that writes numbers without a pause: JSON lines on standard output, until its input ends.

Arguments: hosts/chroot, name:password, session timeout in seconds. Each write is retried as kazoo's own documentation says (client.retry), so that what
is printed as an error is what an application would have to bear.
"""

import json
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.security import make_digest_acl


def say(**line):
    print(json.dumps(line), flush=True)


hosts, auth, session = sys.argv[1:4]
often = {"max_tries": -1, "delay": 0.02, "backoff": 1, "max_jitter": 0.02}
client = KazooClient(
    hosts=hosts,
    auth_data=[("digest", auth)],
    default_acl=[make_digest_acl(*auth.split(":"), all=True)],
    timeout=float(session),
    connection_retry=often,
    command_retry=often,
)


def listener(state):
    say(state=state, session=str(client.client_id[0]) if client.client_id else None)


client.add_listener(listener)
client.start(timeout=30)
client.ensure_path("/numbers")
going = True


def until_end():
    global going
    sys.stdin.read()
    going = False


threading.Thread(target=until_end, daemon=True).start()
number = 0
while going:
    number += 1
    try:
        client.retry(client.set, "/numbers", str(number).encode())
        say(ok=number, at=time.monotonic() * 1000)
    except Exception as error:
        say(error=repr(error))
say(last=int(client.retry(client.get, "/numbers")[0]))
client.remove_listener(listener)
client.stop()
