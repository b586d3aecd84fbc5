#!/usr/bin/env python3
"""Checks access packages and their consent receipts with independent libraries.

    pip install PyLD==2.0.4 jsonschema==4.25.1 rfc3339-validator==0.1.4
    check_package.py SCHEMA FOLDER...

Each folder is an unpacked package. The script checks:

- `package.json` is valid by the JSON Schema (draft 2020-12), including the formats of strings.
- Each `receipts/*.jsonld` expands (JSON-LD 1.1) without a network and without loss. Every property and every type
  becomes an absolute IRI of a known vocabulary, and no value is dropped.
- Each expanded receipt has the fields that ISO/IEC TS 27560:2023 makes mandatory, under the IRIs of the DPV guide.

Prints one line for each folder. The first failure ends the script with exit status 1.

There is no SHACL check, because the DPV group publishes profile IRIs for ISO/IEC TS 27560 (`dpv-27560.ttl`), but no
shapes.
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker
from pyld import jsonld

DPV = "https://w3id.org/dpv#"
DCT = "http://purl.org/dc/terms/"
SCHEMA = "https://schema.org/"
VOCABULARIES = (
    DPV,
    DCT,
    SCHEMA,
    "https://w3id.org/dpv/pd#",
    "https://w3id.org/dpv/loc#",
    "https://w3id.org/dpv/legal/eu#",
    "https://w3id.org/dpv/legal/eu/gdpr#",
    "http://www.w3.org/2004/02/skos/core#",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://www.w3.org/2001/XMLSchema#",
)
# The fields that ISO/IEC TS 27560 makes mandatory, as the DPV guide maps them: those of the receipt, of the
# record, of each process, of the controller, and of each event.
RECEIPT = [DCT + "conformsTo", DPV + "hasIdentifier", DCT + "created", DPV + "hasRecordOfActivity"]
RECORD = [
    DCT + "conformsTo",
    DCT + "identifier",
    DPV + "hasDataSubject",
    DPV + "hasDataController",
    DPV + "hasJurisdiction",
    DPV + "hasProcess",
    DPV + "hasConsentControl",
    DPV + "hasRight",
    DPV + "hasConsentStatus",
]
PROCESS = ["hasPurpose", "hasPersonalData", "hasDataController", "hasRecipient", "hasStorageCondition", "hasLegalBasis"]
CONTROLLER = [DPV + "hasIdentifier", DPV + "hasName", DPV + "hasAddress", DPV + "hasContact", SCHEMA + "contactPoint"]
EVENT = ["isIndicatedAtTime", "isIndicatedBy", "hasDuration", "hasIndicationMethod"]


def require(condition: bool, reason: str) -> None:
    """Raises an error with `reason` if the condition is false. Unlike `assert`, it also works under `python -O`."""
    if not condition:
        raise ValueError(reason)


def no_network(url: str, _options: object) -> None:
    """Refuses to load documents, because a receipt contains everything that its expansion needs."""
    raise ValueError(f"the receipt loads {url}")


def leaves(value: object) -> int:
    """Counts the strings, numbers and booleans of a document without its context."""
    if isinstance(value, dict):
        return sum(leaves(child) for name, child in value.items() if name != "@context")
    if isinstance(value, list):
        return sum(leaves(child) for child in value)
    return 1


def is_known(iri: str) -> bool:
    """Whether this is an absolute IRI of a vocabulary that receipts use."""
    return any(iri.startswith(vocabulary) and len(iri) > len(vocabulary) for vocabulary in VOCABULARIES)


def check_terms(value: object) -> None:
    """Checks that properties and types are known absolute IRIs, and references are absolute or blank nodes."""
    if isinstance(value, list):
        for child in value:
            check_terms(child)
    if not isinstance(value, dict):
        return
    for name, child in value.items():
        if name == "@type":
            for iri in child if isinstance(child, list) else [child]:
                require(is_known(iri), f"unknown type {iri}")
        elif name == "@id":
            require(child.startswith(("_:", "urn:uuid:", "http://", "https://")), f"not an absolute IRI: {child}")
        elif name not in ("@value", "@language"):
            require(is_known(name), f"unknown property {name}")
            check_terms(child)


def one(node: dict, name: str) -> dict:
    """Returns the only value of a property."""
    require(len(node.get(name, [])) == 1, f"{name} must have exactly one value")
    return node[name][0]


def require_properties(node: dict, names: list, prefix: str = "") -> None:
    """Checks that the node has each property, and that none is empty."""
    for name in names:
        require(bool(node.get(prefix + name)), f"{prefix + name} is missing")


def check_receipt(document: dict) -> None:
    """Expands a receipt without loss and looks up its mandatory fields."""
    expanded = jsonld.expand(document, {"documentLoader": no_network, "base": ""})
    require(leaves(expanded) == leaves(document), "the expansion dropped a value")
    check_terms(expanded)
    require(len(jsonld.to_rdf(document, {"documentLoader": no_network})["@default"]) > 50, "the receipt must give more than 50 triples")
    require(len(expanded) == 1, "the receipt must have exactly one top-level node")
    receipt = expanded[0]
    require(receipt["@type"] == [DPV + "ConsentReceipt"], "the top-level node is not a consent receipt")
    require_properties(receipt, RECEIPT)
    record = one(receipt, DPV + "hasRecordOfActivity")
    require_properties(record, RECORD)
    require_properties(one(record, DPV + "hasDataController"), CONTROLLER)
    require_properties(one(record, DPV + "hasDataSubject"), [DCT + "identifier"])
    for process in record[DPV + "hasProcess"]:
        require_properties(process, PROCESS, DPV)
        kinds = {kind for condition in process[DPV + "hasStorageCondition"] for kind in condition["@type"]}
        require({DPV + "StorageLocation", DPV + "StorageDuration"} <= kinds, "a process has no storage location or no retention")
    given = False
    for status in record[DPV + "hasConsentStatus"]:
        require_properties(status, EVENT, DPV)
        given |= bool({DPV + "ConsentGiven", DPV + "RenewedConsentGiven"} & set(status["@type"]))
    record_id = record[DCT + "identifier"][0]["@value"]
    decisions = [status for status in record[DPV + "hasConsentStatus"] if status[DCT + "identifier"][0]["@value"] == record_id]
    require(len(decisions) == 1, "the decision of the receipt is not among the events of the record")
    if given and {DPV + "ConsentGiven", DPV + "RenewedConsentGiven"} & set(decisions[0]["@type"]):
        notice = one(record, DPV + "hasNotice")
        require_properties(notice, [DCT + "identifier", DCT + "language", SCHEMA + "sha256"])


def main() -> None:
    """Checks every folder that the command line names."""
    schema = json.loads(Path(sys.argv[1]).read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    require(len(sys.argv) > 2, "name at least one folder")
    for folder in map(Path, sys.argv[2:]):
        package = json.loads((folder / "package.json").read_text())
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(package)]
        require(not errors, "\n".join(errors))
        # The schema must also reject what is not documented. A schema that accepts everything would prove nothing.
        for change in ({"x": 1}, {"version": 2}, {"kind": "other"}):
            require(not validator.is_valid({**package, **change}), f"the schema accepts {change}")
        receipts = sorted((folder / "receipts").glob("*.jsonld"))
        require(len(receipts) == len(package["consents"]), "the package must have one receipt for each decision")
        for path in receipts:
            check_receipt(json.loads(path.read_text()))
        print(f"{folder}: valid {package['kind']} package; {len(receipts)} receipts expand without loss")


main()
