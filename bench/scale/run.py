#!/usr/bin/env python3
"""Grows one ledger and measures its cost at each size. Writes figures and curves to docs/.

Each person has ten events, in two visits of five that are far apart in the log. At each size the script measures:

- appends about people drawn from all people in the ledger
- rebuilds of profiles that are not cached, after a restart
- grant checks
- memory and disk
- start-up after a clean stop and after kill -9

The results are stored beside the ledger, and finished steps are not repeated. Uses the standard library only.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import draw

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target" / "release" / "sayso"
PAGE = ROOT / "docs" / "performance.md"
CURVES = ROOT / "docs" / "curves.svg"
MARKS = ("<!-- scale: written by bench/scale/run.py -->", "<!-- /scale -->")
ADDR = ("127.0.0.1:17117", "127.0.0.1:17118")

EVENTS_PER_PERSON = 10
EVENTS_PER_VISIT = 5
PEOPLE = "scale"


class Daemon:
    """The daemon (`sayso serve`) of the ledger: starts and stops it, calls it, and reads its memory."""

    def __init__(self, folder):
        self.data, self.child = folder / "data", None

    def start(self):
        """Starts the daemon. Returns the seconds until it is ready."""
        begun = time.monotonic()
        command = [BINARY, "--data", self.data, "--json", "serve", "--dev", "--listen", ADDR[0], "--http", ADDR[1]]
        with (self.data.parent / "daemon.log").open("a") as log:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        if not self.child.stdout.readline():
            sys.exit("the daemon did not start; see daemon.log for the cause")
        return time.monotonic() - begun

    def stop(self):
        begun = time.monotonic()
        self.child.send_signal(signal.SIGINT)
        self.child.wait(timeout=600)
        return time.monotonic() - begun

    def kill(self):
        self.child.kill()
        self.child.wait()

    def memory(self, what):
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) << 10
        return 0

    def command(self, *arguments):
        return [BINARY, "--addr", f"http://{ADDR[0]}", "--data", self.data, "--json", *map(str, arguments)]

    def run(self, *arguments):
        ran = subprocess.run(self.command(*arguments), check=True, stdout=subprocess.PIPE)
        return json.loads(ran.stdout)

    def bench(self, *arguments):
        return self.run("bench", *arguments)


class State:
    """The finished steps and their results, kept in a file beside the ledger."""

    def __init__(self, folder):
        self.path = folder / "state.json"
        self.now = json.loads(self.path.read_text()) if self.path.exists() else {"people": 0, "grown": [], "stages": []}

    def save(self):
        self.path.write_text(json.dumps(self.now, indent=1))


def grow(daemon, state, events):
    """Adds people until the ledger has `events` events from this script."""
    first, people = state.now["people"], events // EVENTS_PER_PERSON
    if people <= first:
        return
    measured = daemon.bench(
        "ingest", "--people", PEOPLE, "--first", first, "--subjects", people - first, "--connections", 4,
        "--concurrency", 512, "--events-per-call", EVENTS_PER_VISIT,
        "--calls", (people - first) * EVENTS_PER_PERSON // EVENTS_PER_VISIT,
    )
    stats = daemon.run("stats")
    state.now["people"] = people
    state.now["grown"].append({
        "events": int(stats["treeSize"]), "events_per_s": measured["eventsPerS"], "p50_us": measured["p50Us"],
        "p99_us": measured["p99Us"], "max_us": measured["maxUs"], "rss_bytes": daemon.memory("VmRSS"),
        "peak_rss_bytes": daemon.memory("VmHWM"),
    })
    state.save()
    print(json.dumps(state.now["grown"][-1]), flush=True)


def bytes_below(path):
    """Returns the bytes on disk below `path`. Holes in files do not count; preallocated space does."""
    return sum(each.stat().st_blocks * 512 for each in path.rglob("*") if each.is_file()) if path.exists() else 0


def drop_page_cache():
    """Empties the page cache, so that cold reads go to disk. Only root can do this."""
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def measure(daemon, state):
    """Measures everything at this size. The daemon must run before this call, and it also runs afterwards."""
    people = state.now["people"]
    people_arguments = ["--people", PEOPLE, "--subjects", people, "--prepared"]
    sample = min(20_000, people)
    append = [daemon.bench("append", *people_arguments, "--calls", min(60_000, 6 * people)) for _ in range(3)]
    append.sort(key=lambda run: run["callsPerS"])
    check = daemon.bench("check", "--subjects", 200, "--duration", "3s", "--warm-up", "1s")
    stage = {
        "people": people,
        "append_per_s": append[1]["callsPerS"], "append_p99_us": append[1]["p99Us"],
        "check_per_s": check["callsPerS"], "check_p99_us": check["p99Us"],
        "rss_bytes": daemon.memory("VmRSS"), "peak_rss_bytes": daemon.memory("VmHWM"),
        "stop_s": daemon.stop(),
    }
    stage["cache_dropped"] = drop_page_cache()
    stage["start_clean_s"] = daemon.start()
    stage["rss_started_bytes"] = daemon.memory("VmRSS")
    cold = daemon.bench("rebuild", *people_arguments, "--calls", sample)
    stage |= {"cold_rebuild_per_s": cold["callsPerS"], "cold_rebuild_p99_us": cold["p99Us"]}
    load = subprocess.Popen(
        daemon.command("bench", "append", *people_arguments, "--duration", "60s"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(4)
    daemon.kill()
    load.wait()
    drop_page_cache()
    stage["start_killed_s"] = daemon.start()
    stats = daemon.run("stats")
    stage |= {"events": int(stats["treeSize"]), "entry_bytes": int(stats["entryBytes"])}
    log = daemon.data / "log"
    stage["disk"] = {
        "segments": bytes_below(log / "segments"), "index": bytes_below(log / "index"),
        "keys": bytes_below(daemon.data / "keys"), "all": bytes_below(daemon.data),
    }
    state.now["stages"].append(stage)
    state.save()
    print(json.dumps(stage), flush=True)


def sample_while(child, daemon):
    """Waits until a child ends. Returns its duration, and the peak memory of the child and of the daemon."""
    begun, peak = time.monotonic(), 0
    while True:
        peak = max(peak, daemon.memory("VmRSS")) if daemon else 0
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            if status:
                sys.exit(f"this command failed: {child.args}")
            return {"took_s": time.monotonic() - begun, "peak_rss_bytes": usage.ru_maxrss << 10, "daemon_peak_rss_bytes": peak}
        time.sleep(0.05)


def audit(daemon, state):
    """Exports and verifies the whole log, and measures time and memory."""
    bundle = daemon.data.parent / "log.tar.zst"
    bundle.unlink(missing_ok=True)
    before = daemon.memory("VmRSS")
    export = sample_while(
        subprocess.Popen(daemon.command("audit", "export", "-o", bundle), stdout=subprocess.DEVNULL), daemon
    )
    key = daemon.data / "dev" / "log.vkey"
    verify = sample_while(subprocess.Popen([BINARY, "verify", bundle, "--key", key], stdout=subprocess.DEVNULL), None)
    events = int(daemon.run("stats")["treeSize"])
    result = {"events": events, "bundle_bytes": bundle.stat().st_size, "daemon_rss_before_bytes": before}
    bundle.unlink()
    state.now.setdefault("audits", []).append(result | {"export": export, "verify": verify})
    state.save()
    print(json.dumps(state.now["audits"][-1]), flush=True)


def table(state):
    mib = lambda count: f"{count / (1 << 20):,.0f} MiB"
    lines = [
        MARKS[0], "",
        "| events | people | append/s, 64 in flight | p99 | `CheckGrant`/s | cold rebuild/s | p99 | memory, peak under load |"
        " memory, started | disk per event | of which index | disk / entry bytes | start, clean | start, killed |",
        "| " + " | ".join(["---"] * 14) + " |",
    ]
    for stage in state.now["stages"]:
        events, disk = stage["events"], stage["disk"]
        lines.append("| " + " | ".join([
            f"{events:,}", f"{stage['people']:,}", f"{stage['append_per_s']:,.0f}", f"{stage['append_p99_us'] / 1000:.1f} ms",
            f"{stage['check_per_s']:,.0f}", f"{stage['cold_rebuild_per_s']:,.0f}",
            f"{stage['cold_rebuild_p99_us'] / 1000:.1f} ms", mib(stage["peak_rss_bytes"]), mib(stage["rss_started_bytes"]),
            f"{disk['all'] / events:,.0f} B", f"{disk['index'] / events:,.0f} B",
            f"{disk['all'] / stage['entry_bytes']:.2f}", f"{stage['start_clean_s']:.2f} s", f"{stage['start_killed_s']:.2f} s",
        ]) + " |")
    for audit in state.now.get("audits", [])[-1:]:
        export, verify = audit["export"], audit["verify"]
        lines += ["", (
            f"Audit of {audit['events']:,} entries: the export took {export['took_s']:.0f} s "
            f"({audit['events'] / export['took_s']:,.0f} entries/s) and made a bundle of "
            f"{audit['bundle_bytes'] / 1e9:.2f} GB. The daemon's memory rose from "
            f"{mib(audit['daemon_rss_before_bytes'])} to at most {mib(export['daemon_peak_rss_bytes'])}; the command took "
            f"{mib(export['peak_rss_bytes'])}. The verification took {verify['took_s']:.0f} s "
            f"({audit['events'] / verify['took_s']:,.0f} entries/s) and {mib(verify['peak_rss_bytes'])}."
        )]
    return "\n".join(lines + ["", MARKS[1]])


def write_page(state):
    text = PAGE.read_text()
    before, rest = text.split(MARKS[0], 1)
    PAGE.write_text(before + table(state) + rest.split(MARKS[1], 1)[1])
    CURVES.write_text(draw.curves(state.now["stages"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="number of events to grow to; measures at each power of ten on the way")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "scale", help="folder of the ledger")
    parser.add_argument("--only", choices=["grow", "measure", "audit", "page"], help="run only this step; default: all steps")
    arguments = parser.parse_args()
    (arguments.folder / "data").mkdir(parents=True, exist_ok=True)
    state, daemon = State(arguments.folder), Daemon(arguments.folder)
    if arguments.only != "page":
        daemon.start()
        try:
            if arguments.only == "grow":
                grow(daemon, state, arguments.events)
            elif arguments.only == "measure":
                measure(daemon, state)
            elif not arguments.only:
                sizes = [10**power for power in range(4, 12) if 10**power < arguments.events] + [arguments.events]
                for size in sizes:
                    grow(daemon, state, size)
                    if not any(stage["people"] == state.now["people"] for stage in state.now["stages"]):
                        measure(daemon, state)
            if arguments.only in (None, "audit"):
                audit(daemon, state)
        finally:
            if daemon.child.poll() is None:
                daemon.stop()
    if arguments.only in (None, "page"):
        write_page(state)


if __name__ == "__main__":
    main()
