#!/usr/bin/env python3
"""Insula beside its peers: the same no-op agent over HTTP, the same client, one after the other in one run.

Needs Python 3.11, Node 20 and wrk; builds everything else under target/peers/. README.md says what is compared and what
is fair about it.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "peers"
PYTHON = BUILT / "python"
NODE = BUILT / "node"
START_SECONDS = 60
STOP_SECONDS = 20


class Failure(Exception):
    """Something that the reader has to know and that ends the run."""


# --- what the peers need -------------------------------------------------------------------------------------------


def wrk_path():
    """The path of wrk, which is installed first where it is missing and we may."""
    found = shutil.which("wrk")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("wrk is missing: apt-get install -y wrk")
        command(["apt-get", "update", "-qq"], ROOT)
        command(["apt-get", "install", "-y", "-qq", "wrk"], ROOT)
        found = shutil.which("wrk")
    if found is None:
        raise Failure("wrk is missing: install it (Debian: apt-get install wrk)")
    return found


def build_python():
    """A venv with what requirements.txt pins."""
    if not is_stale(PYTHON, [HERE / "requirements.txt"]):
        return
    say("building the environment of LangGraph")
    command([sys.executable, "-m", "venv", "--clear", str(PYTHON)], ROOT)
    command([str(PYTHON / "bin" / "pip"), "install", "-q", "-r", str(HERE / "requirements.txt")], ROOT)
    mark_built(PYTHON, [HERE / "requirements.txt"])


def build_node():
    """The packages that package-lock.json pins. Their install scripts, which only report, are not run."""
    sources = [HERE / name for name in ("package.json", "package-lock.json", "service.mjs")]
    if not is_stale(NODE, sources):
        return
    say("building the environment of Restate")
    NODE.mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copy(source, NODE)
    command(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], NODE)
    mark_built(NODE, sources)


def digest(sources):
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def is_stale(folder, sources):
    stamp = folder / "built-from"
    return not stamp.exists() or stamp.read_text() != digest(sources)


def mark_built(folder, sources):
    (folder / "built-from").write_text(digest(sources))


def command(arguments, folder):
    """Runs to the end; its output is shown only if it fails."""
    done = subprocess.run(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(arguments)} failed:\n{done.stdout}")


# --- processes -----------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A peer that is running: its processes, and the request that makes it run the agent once and wait for the end."""

    folder: pathlib.Path
    processes: list = field(default_factory=list)
    url: str = ""
    body: object = None
    expected: str = ""
    authorization: str | None = None

    def start(self, arguments, environment, stdout=None):
        """Starts a process of this peer in its folder, which also keeps what the process says."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("INSULA_", "RESTATE_", "LANG"))}
        with open(self.folder / f"{len(self.processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [str(argument) for argument in arguments],
                cwd=self.folder,
                env=own | {name: str(value) for name, value in environment.items()},
                stdin=subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def stop(self):
        """Ends these processes and their children, each by its own id."""
        pids = self.tree()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for pid in set(pids) & set(self.orphans(pids)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def orphans(self, pids):
        """Those of the ids that still run in this peer's folder: an id may have been given to somebody else meanwhile."""
        for pid in pids:
            with contextlib.suppress(OSError):
                if pathlib.Path(os.readlink(f"/proc/{pid}/cwd")) == self.folder:
                    yield pid

    def tree(self):
        """The ids of these processes and all their descendants."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        found = [process.pid for process in self.processes]
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def resident_bytes(self):
        """The resident memory of the whole tree. Pages that several of its processes share count for each."""
        pages = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def run_once(self):
        """One run, waited for. None while the server does not listen, otherwise the status and the body."""
        headers = {"Authorization": self.authorization} if self.authorization else {}
        return post(self.url, self.body, headers)

    def until(self, what, attempt):
        """Tries until the attempt gives something; fails if a process ends or the time is over."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if (given := attempt()) is not None:
                return given
            if any(process.poll() is not None for process in self.processes):
                raise Failure(f"a process ended before {what}:\n{self.last_words()}")
            time.sleep(0.01)
        raise Failure(f"{what} did not come within {START_SECONDS} s:\n{self.last_words()}")

    def last_words(self):
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in sorted(self.folder.glob("*.log")))

    def answered(self):
        """True for a good answer, None for one that may become good while the peer starts."""
        answer = self.run_once()
        return True if answer and answer[0] == 200 and self.expected in answer[1] else None


def post(url, body, headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=START_SECONDS)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (ConnectionError, http.client.HTTPException):
        return None
    except TimeoutError as silence:
        raise Failure(f"{parts.path} did not answer within {START_SECONDS} s") from silence
    finally:
        connection.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# --- the peers -----------------------------------------------------------------------------------------------------


def start_insula(server, options):
    environment = {
        "INSULA_DATA_DIR": server.folder / "data",
        "INSULA_SERVE_USER_RATE": 100_000_000,
        "INSULA_SERVE_ADDRESS_RATE": 100_000_000,
    }
    arguments = [options.insula, "serve", "--json", "--listen", "127.0.0.1:0"]
    process = server.start(arguments, environment, stdout=subprocess.PIPE)
    line = process.stdout.readline()
    if not line:
        raise Failure(f"insula did not start:\n{server.last_words()}")
    said = json.loads(line)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    server.url = f"{said['listening'].rstrip('/')}/v1/runs?wait=30s"
    server.authorization = f"Bearer {said['key']}"
    server.body = {"agent": "echo", "input": "salve"}
    server.expected = '"status":"completed"'


def start_langgraph(server, _options):
    for name in ("graph.py", "langgraph.json"):
        shutil.copy(HERE / name, server.folder)
    port = free_port()
    environment = {
        "LANGGRAPH_CLI_NO_ANALYTICS": 1,
        "LANGGRAPH_NO_VERSION_CHECK": "true",
        "LANGSMITH_TRACING": "false",
        "LOG_LEVEL": "WARNING",
    }
    arguments = [PYTHON / "bin" / "langgraph", "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", port]
    server.start(arguments, environment)
    server.url = f"http://127.0.0.1:{port}/runs/wait"
    server.body = {"assistant_id": "echo", "input": {"input": "salve"}}
    server.expected = '"echo":"salve"'


def start_restate(server, _options):
    ingress, admin, fabric, service = (free_port() for _ in range(4))
    environment = {
        "DO_NOT_TRACK": 1,
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_BASE_DIR": server.folder / "data",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_ADVERTISED_HOST": "127.0.0.1",
        "RESTATE_BIND_PORT": fabric,
        "RESTATE_ADMIN__BIND_PORT": admin,
        "RESTATE_INGRESS__BIND_PORT": ingress,
        "RESTATE_LOG_FILTER": "warn",
    }
    [binary] = NODE.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
    server.start([binary, "--no-logo"], environment)
    server.start(["node", NODE / "service.mjs", service], {"NODE_ENV": "production", "RESTATE_LOGGING": "WARN"})
    registration = {"uri": f"http://127.0.0.1:{service}", "force": True}
    server.until("the registration", lambda: registered(f"http://127.0.0.1:{admin}/deployments", registration))
    server.url = f"http://127.0.0.1:{ingress}/agent/echo"
    server.body = "salve"
    server.expected = '"echo":"salve"'


def registered(url, registration):
    answer = post(url, registration, {})
    return True if answer and answer[0] in (200, 201) else None


PEERS = {"insula": start_insula, "langgraph": start_langgraph, "restate": start_restate}


@contextlib.contextmanager
def started(name, options):
    """A peer with a new data folder that has answered its first run; yields it with the seconds that took."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=BUILT)).resolve()
    server = Server(folder)
    try:
        begin = time.monotonic()
        PEERS[name](server, options)
        server.until("the first answered run", server.answered)
        yield server, time.monotonic() - begin
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# --- measuring -----------------------------------------------------------------------------------------------------


def load(wrk, server, clients, seconds):
    """What so many clients got who each began the next run when the last one had ended."""
    environment = os.environ | {"PEER_BODY": json.dumps(server.body), "PEER_EXPECTED": server.expected}
    if server.authorization:
        environment["PEER_AUTHORIZATION"] = server.authorization
    arguments = [wrk, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(HERE / "load.lua"), server.url]
    with watched_memory(server) as peak:
        done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"wrk failed:\n{done.stdout}")
    said = json.loads(done.stdout.splitlines()[-1])
    return {
        "clients": clients,
        "runs_per_second": said["answered"] * 1e6 / said["micros"],
        "p50_ms": said["p50_micros"] / 1000,
        "p99_ms": said["p99_micros"] / 1000,
        "failed": said["failed"],
        "peak_resident_bytes": max(peak),
    }


@contextlib.contextmanager
def watched_memory(server):
    """Samples the resident memory four times a second into the list that it yields."""
    samples, over = [server.resident_bytes()], threading.Event()

    def sample():
        while not over.wait(0.25):
            samples.append(server.resident_bytes())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def measure(name, wrk, options):
    """All figures of one peer. Each start has a new folder; the last one is also loaded."""
    cold = []
    for _ in range(options.starts - 1):
        with started(name, options) as (_, seconds):
            cold.append(seconds)
    with started(name, options) as (server, seconds):
        cold.append(seconds)
        time.sleep(1)
        idle = server.resident_bytes()
        if options.warmup > 0:
            load(wrk, server, 32, options.warmup)
        loads = [load(wrk, server, clients, options.seconds) for clients in options.clients]
    return {"cold_start_seconds": statistics.median(cold), "idle_resident_bytes": idle, "loads": loads}


# --- the report ----------------------------------------------------------------------------------------------------


def rows(results):
    """The figures as (what, {peer: number}, decimals), in the order of the table."""
    first = next(iter(results.values()))["loads"]
    for place, level in enumerate(first):
        at = f"at {level['clients']}"
        of = {name: result["loads"][place] for name, result in results.items()}
        yield f"runs/s {at}", {name: of[name]["runs_per_second"] for name in of}, 0
        yield f"P50 {at}, ms", {name: of[name]["p50_ms"] for name in of}, 2
        yield f"P99 {at}, ms", {name: of[name]["p99_ms"] for name in of}, 2
        yield f"failed {at}", {name: of[name]["failed"] for name in of}, 0
        yield f"peak resident {at}, MB", {name: of[name]["peak_resident_bytes"] / 1e6 for name in of}, 0
    yield "resident after the first run, MB", {n: r["idle_resident_bytes"] / 1e6 for n, r in results.items()}, 0
    yield "cold start to first run, s", {n: r["cold_start_seconds"] for n, r in results.items()}, 2


def table(results):
    """Markdown. A ratio is the peer's figure divided by Insula's."""
    others = [name for name in results if name != "insula" and "insula" in results]
    head = ["", *results, *(f"{name} / insula" for name in others)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for what, figures, decimals in rows(results):
        cells = [f"{figures[name]:,.{decimals}f}" for name in results]
        cells += [ratio(figures[name], figures["insula"]) for name in others]
        lines.append("| " + " | ".join([what, *cells]) + " |")
    return "\n".join(lines)


def ratio(theirs, ours):
    return f"{theirs / ours:.3g} ×" if theirs and ours else ""


def environment_facts(options):
    return {
        "processors": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "kernel": os.uname().release,
        "seconds": options.seconds,
        "starts": options.starts,
    }


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--insula", type=pathlib.Path, default=ROOT / "target" / "release" / "insula", help="its binary")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="all by default")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 32, 100], help="1 32 100 by default")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each number of clients, 5 by default")
    parser.add_argument("--warmup", type=int, default=2, help="seconds of load by 32 clients before, 2 by default")
    parser.add_argument("--starts", type=int, default=3, help="cold starts, of which the median counts; 3 by default")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    options = parser.parse_args()
    if options.starts < 1 or options.seconds < 1 or min(options.clients) < 1:
        parser.error("starts, seconds and clients are at least 1")
    options.insula = options.insula.resolve()
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    BUILT.mkdir(parents=True, exist_ok=True)
    if "insula" in options.peers and not options.insula.exists():
        raise Failure(f"{options.insula} is missing: cargo build --release -p insula-app, or --insula PATH")
    wrk = wrk_path()
    for name, build in (("langgraph", build_python), ("restate", build_node)):
        if name in options.peers:
            build()
    facts, results = environment_facts(options), {}
    for name in options.peers:
        say(f"measuring {name}")
        results[name] = measure(name, wrk, options)
    print(json.dumps(facts | {"peers": results}) if options.json else table(results))
    return 1 if any(level["failed"] for result in results.values() for level in result["loads"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        say(str(failure))
        sys.exit(2)
