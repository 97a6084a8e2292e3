#!/usr/bin/env python3
"""Stands in for `homecore` in the checks of the pods' script, where only the script is on trial.

It keeps the promises of the command line that the script builds on: founding only on an empty volume,
joining with a shared secret, an id that is known is refused, /livez and /readyz, a clean stop on TERM.
A "cluster" is one JSON file under a lock in the founder's state directory ($STUB_CLUSTERS).
"""
import fcntl
import http.server
import json
import os
import pathlib
import secrets
import signal
import sys
import threading
import urllib.request

DATA = pathlib.Path(os.environ.get("HOMECORE__CORE__DATA", "/var/lib/homecore"))
CLUSTERS = pathlib.Path(os.environ.get("STUB_CLUSTERS", "/tmp"))


def fail(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def options(arguments):
    """--name value pairs; a name may come more than once."""
    found, names = {}, iter(arguments)
    for name in names:
        if name in ("--json", "--no-serve", "--abandon-users"):
            found[name] = [True]
        elif name.startswith("--"):
            found.setdefault(name, []).append(next(names))
        else:
            found.setdefault("", []).append(name)
    return found


class Cluster:
    """The shared file, locked while it is used."""

    def __init__(self, name):
        self.path = CLUSTERS / f"{name}.json"

    def __enter__(self):
        self.file = open(self.path, "a+", encoding="utf8")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.file.seek(0)
        self.state = json.loads(self.file.read() or '{"next": 1, "cores": {}}')
        return self.state

    def __exit__(self, *_):
        self.file.seek(0)
        self.file.truncate()
        json.dump(self.state, self.file)
        self.file.close()


def identity():
    return json.loads((DATA / "platform" / "identity.json").read_text())


def admit(cluster, core, key, http):
    with Cluster(cluster) as state:
        known = state["cores"].get(core)
        if known and known["key"] != key:
            return None
        if not known:
            state["cores"][core] = {"node": state["next"], "key": key, "http": http, "removed": False}
            state["next"] += 1
        return state["cores"][core]["node"]


def write_identity(cluster, core, node):
    target = DATA / "platform" / "identity.json"
    target.parent.mkdir(exist_ok=True)
    target.with_suffix(".tmp").write_text(json.dumps({"cluster": cluster, "core": core, "node": node}))
    target.with_suffix(".tmp").rename(target)
    # Where a core notes by which it knows a copy of its data; the checks of the script take it away.
    (DATA / "original").write_text("{}")


def alive(address):
    try:
        with urllib.request.urlopen(f"http://{address}/livez", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def status():
    me = identity()
    with Cluster(me["cluster"]) as state:
        cores = dict(state["cores"])
    # "removed" stays in the list, as in the platform store.
    rows = [
        {"core": name, "node": core["node"], "state": "removed" if core["removed"] else "serving",
         "role": "removed" if core["removed"] else ("voter" if alive(core["http"]) else "unreachable")}
        for name, core in cores.items()
    ]
    voters = [row for row in rows if row["state"] != "removed"]
    up = [row for row in voters if row["role"] == "voter"]
    return {"cluster": me["cluster"], "core": me["core"], "quorum": 2 * len(up) > len(voters), "cores": rows}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/livez": b"ok", "/readyz": b"ok", "/status": b""}.get(self.path)
        if self.path == "/reg/service/info":
            body = json.dumps({"name": "stub"}).encode()
        if self.path == "/status":
            body = json.dumps(status()).encode()
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"{}")

    def log_message(self, *_):
        pass


def serve(given):
    core = os.environ["HOMECORE__CORE__ID"]
    listen = os.environ.get("HOMECORE__HTTP__LISTEN", "0.0.0.0:3000")
    if not (DATA / "platform" / "identity.json").exists():
        if "cluster.found=true" not in given.get("--set", []):
            fail(f"{DATA} holds no core and cluster.found is not set")
        if any(DATA.iterdir()):
            fail(f"{DATA} is not empty, not founding")
        cluster = "c" + secrets.token_hex(8)
        write_identity(cluster, core, admit(cluster, core, "", listen))
    if identity()["core"] != core:
        fail(f"{DATA} holds {identity()['core']}, not {core}")
    with Cluster(identity()["cluster"]) as state:
        removed = state["cores"][core]["removed"]
    if removed:
        fail(f"{core} was removed from the cluster")
    host, port = listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


def join(given):
    core, key_file = given["--id"][0], DATA / "node.key"
    secret = pathlib.Path(given["--secret-file"][0]).read_text()
    if not key_file.exists():
        key_file.write_text(secrets.token_hex(8))
    # The rpc address of a stub is its HTTP address: the script passes seeds and peers through unread.
    for seed in given.get("--seed", []):
        try:
            with urllib.request.urlopen(f"http://{seed}/status", timeout=2) as answer:
                cluster = json.load(answer)["cluster"]
        except (OSError, ValueError):
            continue
        if not secret.strip():
            fail("the join secret is empty")
        node = admit(cluster, core, key_file.read_text(), os.environ["HOMECORE__HTTP__LISTEN"])
        if node is None:
            fail(f"refused: a core called {core} exists already (core-exists)")
        write_identity(cluster, core, node)
        return
    fail("none of the seeds answered")


def main():
    command, given = sys.argv[1], options(sys.argv[2:])
    if command == "--version":
        print("homecore 0.0.0-stub")
    elif command == "serve":
        serve(given)
    elif command == "join":
        join(given)
    elif command == "status":
        if not alive(os.environ["HOMECORE__HTTP__LISTEN"]):
            fail("the core does not run")
        print(json.dumps(status()))
    elif command == "remove":
        with Cluster(identity()["cluster"]) as state:
            state["cores"][given[""][0]]["removed"] = True
    elif command == "healthcheck":
        address = given.get("--url", ["http://127.0.0.1:3000"])[0].removeprefix("http://").rstrip("/")
        sys.exit(0 if alive(address) else 1)
    elif command == "drain":
        sys.exit(0)
    else:
        print(f"usage: no command {command}", file=sys.stderr)
        sys.exit(2)


main()
