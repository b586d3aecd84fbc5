#!/usr/bin/env python3
"""What one call of each kind costs the daemon in processor time, bytes of entries and disk; into docs/capacity.md.

Processor time is the daemon's own, from the kernel's accounting, so the load's share of the machine does not count.
Standard library only.
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
GRANTS_A_DAY = 20
PEAK = 3
BUSY = 0.6

# Bench mode, what one is called, and events that one call writes.
KINDS = [
    ("append", "fact recorded, one a call", 1),
    ("ingest", "fact recorded, 64 a message", 64),
    ("grant", "new grant", 1),
    ("again", "same conversation again", None),
    ("rebuild", "profile rebuilt, 10 events", 0),
]


def cpu_seconds(daemon):
    fields = pathlib.Path(f"/proc/{daemon.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def look(daemon):
    stats = daemon.run("stats")
    return {"cpu": cpu_seconds(daemon), "events": int(stats["treeSize"]), "entry_bytes": int(stats["entryBytes"])}


def measure(daemon, mode, seconds):
    whose = ["--people", f"costs-{mode}", "--subjects", 1_000]
    # Whoever is needed is made ready first, and not counted.
    daemon.bench(mode, *whose, "--calls", 1_000)
    before = look(daemon)
    # No warm-up: everything between the two looks is counted on both sides.
    measured = daemon.bench(mode, *whose, "--prepared", "--duration", f"{seconds}s", "--warm-up", "0s")
    after = look(daemon)
    wrote = after["events"] - before["events"]
    return {
        "mode": mode,
        "per_s": measured["events_per_s"] if mode == "ingest" else measured["calls_per_s"],
        "cpu_us": (after["cpu"] - before["cpu"]) * 1e6 / (wrote if mode == "ingest" else measured["calls"]),
        "events_a_call": wrote / measured["calls"],
        "entry_bytes": (after["entry_bytes"] - before["entry_bytes"]) / wrote if wrote else 0,
    }


def table(costs, disk_factor):
    of = {each["mode"]: each for each in costs}
    lines = [MARKS[0], "", "| what | processor time of the daemon | events | bytes of an entry |", "| --- | --- | --- | --- |"]
    for mode, name, _ in KINDS:
        cost = of[mode]
        # A fact of an ingest message is counted by itself, as its processor time is.
        events = 1 if mode == "ingest" else cost["events_a_call"]
        size = f"{cost['entry_bytes']:,.0f}" if events >= 0.5 else "-"
        lines.append(f"| {name} | {cost['cpu_us']:,.0f} us | {events:.2f} | {size} |")
    a_day = PEOPLE * GRANTS_A_DAY
    mean, cpu, size = a_day / 86_400, of["grant"]["cpu_us"] / 1e6, of["grant"]["entry_bytes"]
    cores = mean * PEAK * cpu / BUSY
    lines += [
        "",
        f"Disk: {disk_factor:.2f} bytes for each byte of an entry, everything counted (segments, tree, index, keys).",
        "",
        "| for 100 million people with 20 new grants a day | |",
        "| --- | --- |",
        f"| grants a second, mean; at the peak ({PEAK} times) | {mean:,.0f}; {mean * PEAK:,.0f} |",
        f"| cores at the peak, {BUSY:.0%} busy | {cores:,.0f} |",
        f"| entries a day | {a_day / 1e9:.1f} billion, {a_day * size / 1e12:.2f} TB |",
        f"| disk a day; a year | {a_day * size * disk_factor / 1e12:.2f} TB; {a_day * size * disk_factor * 365 / 1e12:,.0f} TB |",
        "", MARKS[1],
    ]
    return "\n".join(lines)


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=int, default=6)
    asked.add_argument("--no-page", action="store_true", help="print only")
    asked = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        daemon = Daemon(folder)
        daemon.start()
        try:
            costs = [measure(daemon, mode, asked.seconds) for mode, _, _ in KINDS]
            stats = daemon.run("stats")
        finally:
            daemon.stop()
        disk_factor = bytes_below(folder / "data") / int(stats["entryBytes"])
    print(json.dumps(costs))
    text = table(costs, disk_factor)
    print(text)
    if not asked.no_page:
        page = PAGE.read_text()
        before, rest = page.split(MARKS[0], 1)
        PAGE.write_text(before + text + rest.split(MARKS[1], 1)[1])


if __name__ == "__main__":
    main()
