#!/usr/bin/env python3
"""Measures the same work on Sayso, PostgreSQL and UmaDB in turn. Writes the medians to docs/performance.md.

Each round measures every kind of work on every system. Only one server runs at a time. Rounds are stored in
target/peers/rounds.jsonl and accumulate until --fresh. Uses the standard library only.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target" / "peers"
ROUNDS = TARGET / "rounds.jsonl"
PAGE = ROOT / "docs" / "performance.md"
MARKS = ("<!-- peers: written by bench/peers/run.py -->", "<!-- /peers -->")

VALUE_BYTES = 450
SUBJECTS = 1000
EVENTS_PER_MESSAGE = 64

# The kinds of work, each with its number of calls in flight. Rates count events for `ingest`, otherwise calls.
WORKLOADS = [("append", 1), ("append", 16), ("append", 64), ("ingest", 4), ("read", 64)]
SYSTEMS = ["sayso", "postgresql", "umadb"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, child, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if child.poll() is not None:
            sys.exit(f"the server exited early: {child.args}")
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"the server does not listen on port {port} after {seconds} s: {child.args}")


class Server:
    """A server that runs for one round, with its own data folder."""

    def __init__(self, folder):
        self.folder, self.port, self.child = folder, free_port(), None

    def stop(self):
        if self.child:
            self.child.send_signal(signal.SIGINT)
            self.child.wait(timeout=60)


class Sayso(Server):
    binary = ROOT / "target" / "release" / "sayso"

    def start(self):
        data = self.folder / "data"
        command = [self.binary, "--data", data, "serve", "--dev", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--http", f"127.0.0.1:{free_port()}"]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.child)
        while not (data / "dev" / "steward.token").exists():
            time.sleep(0.05)

    def measure(self, work, in_flight, seconds):
        mode = {"append": "append", "ingest": "ingest", "read": "rebuild"}[work]
        command = [self.binary, "--addr", f"http://127.0.0.1:{self.port}", "--data", self.folder / "data", "--json"]
        command += ["bench", mode, "--duration", f"{seconds}s", "--warm-up", "1s", "--concurrency", str(in_flight)]
        command += ["--subjects", str(SUBJECTS), "--value-bytes", str(VALUE_BYTES)]
        command += ["--events-per-call", str(EVENTS_PER_MESSAGE)]
        measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return {
            "calls_per_s": measured["callsPerS"],
            "events_per_s": measured["eventsPerS"],
            "p50_us": measured["p50Us"],
            "p99_us": measured["p99Us"],
            "p999_us": measured["p999Us"],
            "max_us": measured["maxUs"],
        }

    def version(self):
        version = subprocess.run([self.binary, "--version"], check=True, stdout=subprocess.PIPE, text=True)
        return version.stdout.strip()


class UmaDB(Server):
    """UmaDB with its default settings."""

    binary = TARGET / "bin" / "umadb"
    load = TARGET / "build" / "release" / "umadb-load"

    def start(self):
        command = [self.binary, "--listen", f"127.0.0.1:{self.port}", "--db-path", self.folder / "uma.db"]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.child)

    def measure(self, work, in_flight, seconds):
        command = [self.load, work, "--addr", f"http://127.0.0.1:{self.port}", "--concurrency", str(in_flight)]
        command += ["--duration-s", str(seconds), "--warm-up-s", "1", "--subjects", str(SUBJECTS)]
        command += ["--value-bytes", str(VALUE_BYTES), "--events-per-call", str(EVENTS_PER_MESSAGE)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def version(self):
        version = subprocess.run([self.binary, "--version"], check=True, stdout=subprocess.PIPE, text=True)
        return version.stdout.strip()


class PostgreSQL(Server):
    """An audit table in PostgreSQL. pgbench uses prepared statements and sends the payload as a parameter.

    The settings of memory and checkpoints follow PostgreSQL's manual (19.4: a quarter of memory for shared_buffers; 30.5: longer
    checkpoints). fsync, synchronous_commit and full_page_writes have their default: on.
    """

    def __init__(self, folder):
        super().__init__(folder)
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        # PostgreSQL refuses to run as root.
        self.as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def settings(self):
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        return {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "shared_buffers": f"{memory_mb // 4}MB",
            "effective_cache_size": f"{memory_mb * 3 // 4}MB",
            "max_wal_size": "8GB",
            "min_wal_size": "1GB",
            "checkpoint_timeout": "15min",
            "max_connections": "200",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
        }

    def start(self):
        if self.as_postgres:
            shutil.chown(self.folder, "postgres")
        data = self.folder / "data"
        initdb = [self.bin / "initdb", "-D", data, "-A", "trust", "-U", "bench", "-E", "UTF8", "--locale=C"]
        subprocess.run(self.as_postgres + initdb, check=True, stdout=subprocess.DEVNULL)
        command = [self.bin / "postgres", "-D", data]
        for name, value in self.settings().items():
            command += ["-c", f"{name}={value}"]
        self.child = subprocess.Popen(
            self.as_postgres + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        wait_for(self.port, self.child)
        self.sql((HERE / "postgresql" / "schema.sql").read_text())

    def stop(self):
        stop = [self.bin / "pg_ctl", "-D", self.folder / "data", "-m", "fast", "-w", "stop"]
        subprocess.run(self.as_postgres + stop, check=True, stdout=subprocess.DEVNULL)
        self.child.wait(timeout=60)

    def connection(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "bench"]

    def sql(self, text):
        command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", *self.connection(), "postgres"]
        subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def pgbench(self, script, in_flight, seconds, log=None):
        command = ["pgbench", *self.connection(), "-n", "-M", "prepared", "-f", script, "-T", str(seconds)]
        command += ["-c", str(in_flight), "-j", str(min(in_flight, 2)), "-D", f"payload={'p' * VALUE_BYTES}"]
        command += ["-D", f"subjects={SUBJECTS}"]
        if log:
            command += ["-l", "--log-prefix", log]
        ran = subprocess.run(command + ["postgres"], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        rate = next(line for line in ran.stdout.splitlines() if line.startswith("tps = "))
        return float(rate.split()[2])

    def measure(self, work, in_flight, seconds):
        script = HERE / "postgresql" / f"{work}.sql"
        if work == "read":
            self.sql((HERE / "postgresql" / "fill.sql").read_text())
        with tempfile.TemporaryDirectory() as folder:
            self.pgbench(script, in_flight, 1)
            calls_per_s = self.pgbench(script, in_flight, seconds, log=f"{folder}/log")
            latencies = []
            for path in pathlib.Path(folder).iterdir():
                latencies += [int(line.split()[2]) for line in path.read_text().splitlines()]
        latencies.sort()
        quantile = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))]
        events = calls_per_s * (EVENTS_PER_MESSAGE if work == "ingest" else 1)
        return {
            "calls_per_s": round(calls_per_s),
            "events_per_s": round(events),
            "p50_us": quantile(0.5),
            "p99_us": quantile(0.99),
            "p999_us": quantile(0.999),
            "max_us": latencies[-1],
        }

    def version(self):
        version = subprocess.run([self.bin / "postgres", "--version"], check=True, stdout=subprocess.PIPE, text=True)
        return version.stdout.strip()


KINDS = {"sayso": Sayso, "postgresql": PostgreSQL, "umadb": UmaDB}


def run_round(number, seconds, works):
    """Measures all work on all systems. The system that goes first changes from round to round."""
    order = SYSTEMS[number % 3:] + SYSTEMS[: number % 3]
    for system in order:
        with tempfile.TemporaryDirectory(prefix=f"peers-{system}-", dir=os.environ.get("TMPDIR")) as folder:
            server = KINDS[system](pathlib.Path(folder))
            server.start()
            try:
                for work, in_flight in works:
                    measured = server.measure(work, in_flight, seconds)
                    measured |= {"system": system, "version": server.version(), "work": work, "in_flight": in_flight}
                    with ROUNDS.open("a") as out:
                        out.write(json.dumps(measured) + "\n")
                    print(f"{system:11} {work:7} {in_flight:3} {measured['events_per_s']:>9.0f}/s  p99 {measured['p99_us']} us", flush=True)
            finally:
                server.stop()


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kernel = platform.release()
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], stdout=subprocess.PIPE, text=True)
    return f"{os.cpu_count()} cores of {model}, {memory_gib:.0f} GiB of memory, Linux {kernel}, {kind.stdout.strip()}"


def table():
    measurements = {}
    versions = {}
    for line in ROUNDS.read_text().splitlines():
        measured = json.loads(line)
        key = (measured["system"], measured["work"], measured["in_flight"])
        measurements.setdefault(key, []).append(measured)
        versions[measured["system"]] = measured["version"]
    median = lambda key, what: statistics.median(measured[what] for measured in measurements[key])
    rounds = min(len(of_key) for of_key in measurements.values())
    lines = [
        MARKS[0],
        "",
        f"{', '.join(versions[system] for system in SYSTEMS)}; {machine()}. Medians of {rounds} rounds.",
        "",
        "| work | Sayso | p99 | PostgreSQL | p99 | UmaDB | p99 | Sayso / PostgreSQL | Sayso / UmaDB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = {
        "append": "append, one event per call",
        "ingest": f"ingest, {EVENTS_PER_MESSAGE} events per message",
        "read": "read ten events of a subject",
    }
    for work, in_flight in WORKLOADS:
        keys = [(system, work, in_flight) for system in SYSTEMS]
        if not all(key in measurements for key in keys):
            continue
        rates = [median(key, "events_per_s") for key in keys]
        p99s = [median(key, "p99_us") / 1000 for key in keys]
        cells = [f"{names[work]}, {in_flight} in flight"]
        for rate, p99 in zip(rates, p99s):
            cells += [f"{rate:,.0f}/s", f"{p99:.1f} ms"]
        cells += [f"{rates[0] / rates[1]:.2f}", f"{rates[0] / rates[2]:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines + ["", MARKS[1]])


def write_page():
    text = PAGE.read_text()
    before, rest = text.split(MARKS[0], 1)
    PAGE.write_text(before + table() + rest.split(MARKS[1], 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds to add")
    parser.add_argument("--seconds", type=int, default=5, help="seconds for each measurement")
    parser.add_argument("--fresh", action="store_true", help="delete the rounds of earlier runs first")
    parser.add_argument("--no-page", action="store_true", help="print the table, do not write docs/performance.md")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        ROUNDS.unlink(missing_ok=True)
    done = len(ROUNDS.read_text().splitlines()) // (len(WORKLOADS) * len(SYSTEMS)) if ROUNDS.exists() else 0
    for number in range(arguments.rounds):
        run_round(done + number, arguments.seconds, WORKLOADS)
    print(table())
    if not arguments.no_page:
        write_page()


if __name__ == "__main__":
    main()
