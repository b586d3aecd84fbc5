#!/usr/bin/env python3
"""Measures the cost of one call of each kind for the daemon: processor time, bytes of entries, disk.

Writes the table in docs/capacity.md.

The processor time comes from the kernel's accounting of the daemon's process. It does not include the load generator.
Uses the standard library only.
"""

import argparse
import json
import os
import pathlib
import tempfile

from run import ROOT, Daemon, bytes_below

PAGE = ROOT / "docs" / "capacity.md"
MARKS = ("<!-- costs: written by bench/scale/costs.py -->", "<!-- /costs -->")

PEOPLE = 100_000_000
GRANTS_PER_DAY = 20
PEAK = 3
BUSY = 0.6

# The modes of `sayso bench`, each with its name in the table.
KINDS = [
    ("append", "attribute recorded, one per call"),
    ("ingest", "attribute recorded, 64 per message"),
    ("grant", "new grant"),
    ("again", "repeated grant in the same conversation"),
    ("rebuild", "profile rebuilt, 10 events"),
]


def cpu_seconds(daemon):
    fields = pathlib.Path(f"/proc/{daemon.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def usage(daemon):
    stats = daemon.run("stats")
    return {"cpu": cpu_seconds(daemon), "events": int(stats["treeSize"]), "entry_bytes": int(stats["entryBytes"])}


def measure(daemon, mode, seconds):
    people = ["--people", f"costs-{mode}", "--subjects", 1_000]
    # Prepares the people and grants that the mode needs, before the measurement.
    daemon.bench(mode, *people, "--calls", 1_000)
    before = usage(daemon)
    # No warm-up, because the calls and the processor time must cover the same period.
    measured = daemon.bench(mode, *people, "--prepared", "--duration", f"{seconds}s", "--warm-up", "0s")
    after = usage(daemon)
    written = after["events"] - before["events"]
    return {
        "mode": mode,
        "per_s": measured["eventsPerS"] if mode == "ingest" else measured["callsPerS"],
        "cpu_us": (after["cpu"] - before["cpu"]) * 1e6 / (written if mode == "ingest" else int(measured["calls"])),
        "events_per_call": written / int(measured["calls"]),
        "entry_bytes": (after["entry_bytes"] - before["entry_bytes"]) / written if written else 0,
    }


def table(costs, disk_factor):
    by_mode = {cost["mode"]: cost for cost in costs}
    lines = [MARKS[0], "", "| call | processor time of the daemon | events | bytes of an entry |", "| --- | --- | --- | --- |"]
    for mode, name in KINDS:
        cost = by_mode[mode]
        # For ingest, the processor time and the number of events are per attribute.
        events = 1 if mode == "ingest" else cost["events_per_call"]
        size = f"{cost['entry_bytes']:,.0f}" if events >= 0.5 else "-"
        lines.append(f"| {name} | {cost['cpu_us']:,.0f} us | {events:.2f} | {size} |")
    per_day = PEOPLE * GRANTS_PER_DAY
    grant = by_mode["grant"]
    mean, cpu, size = per_day / 86_400, grant["cpu_us"] / 1e6, grant["entry_bytes"]
    cores = mean * PEAK * cpu / BUSY
    lines += [
        "",
        f"Disk: {disk_factor:.2f} bytes for each byte of an entry, everything included (segments, tree, index, keys).",
        "",
        "| for 100 million people with 20 new grants a day | |",
        "| --- | --- |",
        f"| grants per second, mean; at the peak ({PEAK} times) | {mean:,.0f}; {mean * PEAK:,.0f} |",
        f"| cores at the peak, {BUSY:.0%} busy | {cores:,.0f} |",
        f"| entries per day | {per_day / 1e9:.1f} billion, {per_day * size / 1e12:.2f} TB |",
        f"| disk per day; per year | {per_day * size * disk_factor / 1e12:.2f} TB; {per_day * size * disk_factor * 365 / 1e12:,.0f} TB |",
        "", MARKS[1],
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=6, help="seconds to measure each kind of call")
    parser.add_argument("--no-page", action="store_true", help="print the table, do not write docs/capacity.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        daemon = Daemon(folder)
        daemon.start()
        try:
            costs = [measure(daemon, mode, arguments.seconds) for mode, _ in KINDS]
            stats = daemon.run("stats")
        finally:
            daemon.stop()
        disk_factor = bytes_below(folder / "data") / int(stats["entryBytes"])
    print(json.dumps(costs))
    text = table(costs, disk_factor)
    print(text)
    if not arguments.no_page:
        page = PAGE.read_text()
        before, rest = page.split(MARKS[0], 1)
        PAGE.write_text(before + text + rest.split(MARKS[1], 1)[1])


if __name__ == "__main__":
    main()
