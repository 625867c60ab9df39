# The twenty steps of steady.yaml, in pyinfra's words.
from io import StringIO

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, server

root = host.data.root
base = f"{root}/by-pyinfra"
own = {"user": "root", "group": "root"}

apt.packages(name="packages", packages=["s6", "iproute2"])
files.put(name="what the host holds", src=StringIO(host.data.kept), dest=f"{base}/kept.json", mode="600", **own)
for name, port in (("web", 8001), ("api", 8002), ("jobs", 8003)):
    files.directory(name=f"{name}: folder", path=f"{base}/{name}", mode="755", **own)
    environment = f"{host.data.environment_of}PORT={port}\n"
    files.put(name=f"{name}: environment", src=StringIO(environment), dest=f"{base}/{name}/env", mode="600", **own)
    files.put(name=f"{name}: run", src=StringIO(host.data.run_script), dest=f"{base}/{name}/run", mode="755", **own)
    files.put(name=f"{name}: log", src=StringIO(host.data.log_script), dest=f"{base}/{name}/log", mode="755", **own)
    files.sync(name=f"{name}: release", src=host.data.release, dest=f"{base}/{name}/release", mode="644", **own)
    scan = f"{root}/scan/{name}@{host.name}"
    if host.get_fact(Command, f"s6-svstat -o up {scan}") != "true":
        server.shell(name=f"{name}: runs", commands=[f"s6-svc -u {scan}"])
