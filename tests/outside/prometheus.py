#!/usr/bin/env python3
"""Checks the daemon's metrics with Prometheus: their names, the alert rules, and every query of the dashboard.

    prometheus.py SAYSO [FOLDER]

SAYSO is the built program. The script looks for `prometheus` and `promtool` in FOLDER, then in PATH. All servers listen
on the loopback interface only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# The metric families that must exist.
REQUIRED = [
    "sayso_calls_total",
    "sayso_call_duration_seconds",
    "sayso_batch_events",
    "sayso_flush_duration_seconds",
    "sayso_queued_writes",
    "sayso_events_total",
    "sayso_attributes_allowed_total",
    "sayso_attributes_withheld_total",
    "sayso_revocation_duration_seconds",
    "sayso_erasures_total",
    "sayso_erasures_unfinished",
    "sayso_restore_unconfirmed",
    "sayso_clock_skewed",
    "sayso_clock_skew_seconds",
    "sayso_log_size_bytes",
    "sayso_data_size_bytes",
    "sayso_data_free_bytes",
    "sayso_ready",
]


def get(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers["Content-Type"], response.read().decode()


def until(what, seconds, check):
    """Repeats `check` until it returns a result, and returns that. Ends the script after `seconds`."""
    for _ in range(seconds * 5):
        try:
            if result := check():
                return result
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    sys.exit(f"no {what} within {seconds} s")


def run_scenario(sayso, grpc, data):
    """Records a consent, a grant, a withdrawal and an erasure, so that the metrics have something to count."""

    def run(role, *arguments):
        environment = {
            **os.environ,
            "SAYSO_ADDR": f"http://{grpc}",
            "SAYSO_TOKEN_FILE": str(data / "dev" / f"{role}.token"),
        }
        done = subprocess.run([sayso, *arguments], env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"sayso {' '.join(arguments)}: {done.stderr}")

    run("channel", "record", "ada", "tone", "brief", "--category", "communication-style")
    run("channel", "record", "ada", "sleep", "badly", "--category", "health")
    run("steward", "notice", "publish", "welcome", "--text", "We remember facts about you.")
    give = ["consent", "give", "ada", "--purpose", "tone-adaptation", "--notice", "welcome", "--channel", "web"]
    run("steward", *give)
    run("service", "grant", "ada", "--purpose", "tone-adaptation")
    run("steward", "consent", "withdraw", "ada", "--purpose", "tone-adaptation")
    run("steward", "erase", "ada", "--scope", "all")


def check_text(promtool, http):
    kind, text = get(f"http://{http}/metrics")
    assert kind.startswith("text/plain; version=0.0.4"), kind
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr + checked.stdout
    kind, _ = get(f"http://{http}/metrics", "application/openmetrics-text")
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert not set(REQUIRED) - families, f"missing: {set(REQUIRED) - families}"
    kinds = re.findall(r'^sayso_events_total{kind="([^"]*)"', text, re.M)
    assert kinds and not any(kind.isdigit() for kind in kinds), kinds
    return families


def query(at, expression):
    url = f"http://{at}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        return json.loads(get(url)[1])["data"]["result"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{expression}: {error.read().decode()}")


def expressions():
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            # Grafana replaces this variable.
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def main(sayso, folder):
    path = os.pathsep.join([folder, os.environ["PATH"]])
    prometheus, promtool = shutil.which("prometheus", path=path), shutil.which("promtool", path=path)
    if not (prometheus and promtool):
        sys.exit("`prometheus` or `promtool` is missing; install the package `prometheus`")
    for rules in (["check", "rules", DEPLOY / "alerts.yaml"], ["test", "rules", DEPLOY / "alerts_test.yaml"]):
        subprocess.run([promtool, *rules], check=True, stdout=subprocess.DEVNULL)
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "alerts.yaml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (DEPLOY / "alerts_test.yaml").read_text()))
    assert alerts == tested, f"alerts without a test: {alerts - tested}"
    started = []
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        command = [sayso, "serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        try:
            daemon = subprocess.Popen(
                command,
                env={**os.environ, "SAYSO_DATA": str(data)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            started.append(daemon)
            ready = json.loads(daemon.stdout.readline())
            run_scenario(sayso, ready["grpc"], data)
            families = check_text(promtool, ready["http"])
            settings = Path(temporary) / "prometheus.yml"
            settings.write_text(
                "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                f"rule_files: ['{DEPLOY / 'alerts.yaml'}']\n"
                "scrape_configs:\n"
                f"  - {{job_name: sayso, static_configs: [{{targets: ['{ready['http']}']}}]}}\n"
            )
            log = (Path(temporary) / "prometheus.log").open("w+")
            at = free_address()
            server = subprocess.Popen(
                [
                    prometheus,
                    f"--config.file={settings}",
                    f"--storage.tsdb.path={temporary}/tsdb",
                    f"--web.listen-address={at}",
                ],
                stdout=log,
                stderr=log,
            )
            started.append(server)
            check_server(at, families, alerts)
        finally:
            for process in started:
                process.terminate()
                process.wait()


def free_address():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def check_server(at, families, alerts):
    until("Prometheus", 30, lambda: get(f"http://{at}/-/ready"))
    until("scrape", 30, lambda: any(one["value"][1] == "1" for one in query(at, "up{job='sayso'}")))
    # A rate needs two scrapes.
    until("second scrape", 30, lambda: query(at, "rate(sayso_batch_events_count[1m])"))

    def evaluated():
        groups = json.loads(get(f"http://{at}/api/v1/rules")[1])["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = until("evaluation", 30, evaluated)
    assert {rule["name"] for rule in rules} == alerts
    unhealthy = [rule["name"] for rule in rules if rule["health"] != "ok"]
    assert not unhealthy, unhealthy
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    assert not firing, firing
    count = 0
    for title, expression in expressions():
        count += 1
        found = query(at, expression)
        named = re.findall(r"\bsayso_\w+", expression)
        bases = [re.sub(r"_(bucket|sum|count)$", "", name) for name in named]
        # This daemon has no witnesses configured.
        pairs = [pair for pair in zip(named, bases) if not pair[0].startswith("sayso_witness_")]
        assert all(name in families or base in families for name, base in pairs), f"{title}: {named}"
        # A query may return nothing only if the scenario has no such events.
        may_be_empty = 'code!="OK"' in expression or "histogram_quantile" in expression or "viewed" in expression or "witness" in expression
        assert found or may_be_empty or "grant_" in expression, f"{title}: {expression} returns nothing"
    print(f"prometheus: {len(rules)} rules healthy and silent, {count} dashboard queries checked")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
