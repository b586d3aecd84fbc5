#!/usr/bin/env python3
"""Checks a package and its consent receipts with libraries that nobody here wrote.

    pip install PyLD==2.0.4 jsonschema==4.25.1 rfc3339-validator==0.1.4
    check_package.py SCHEMA FOLDER...

Each folder is an unpacked package. `package.json` has to be valid by the JSON Schema (draft 2020-12), with formats
checked. Each `receipts/*.jsonld` has to expand (JSON-LD 1.1) without a network and without loss: every property and
every type becomes an absolute IRI of a known vocabulary, and not a single value is dropped. Then the fields that
ISO/IEC TS 27560:2023 makes mandatory are looked up in the expanded form, by the IRIs of the DPV guide. Prints one line a
folder; exit status 1 at the first failure.

There is no SHACL here: the DPV group publishes profile IRIs for ISO/IEC TS 27560 (`dpv-27560.ttl`), but no shapes.
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
# Mandatory by 27560 (party fields of the controller; event fields of each event), as the guide maps them.
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


def require(holds: bool, reason: str) -> None:
    """Raises `reason` unless it holds; unlike `assert`, under `python -O` too."""
    if not holds:
        raise ValueError(reason)


def no_network(url: str, _options: object) -> None:
    """A receipt needs nothing from anywhere."""
    raise ValueError(f"the receipt loads {url}")


def leaves(value: object) -> int:
    """How many strings, numbers and booleans a document holds, its context left out."""
    if isinstance(value, dict):
        return sum(leaves(of) for name, of in value.items() if name != "@context")
    if isinstance(value, list):
        return sum(leaves(of) for of in value)
    return 1


def is_known(iri: str) -> bool:
    """An absolute IRI of a vocabulary that receipts use."""
    return any(iri.startswith(vocabulary) and len(iri) > len(vocabulary) for vocabulary in VOCABULARIES)


def check_terms(value: object) -> None:
    """Every property and every type is a known, absolute IRI; every reference is absolute or a blank node."""
    if isinstance(value, list):
        for of in value:
            check_terms(of)
    if not isinstance(value, dict):
        return
    for name, of in value.items():
        if name == "@type":
            for iri in of if isinstance(of, list) else [of]:
                require(is_known(iri), f"unknown type {iri}")
        elif name == "@id":
            require(of.startswith(("_:", "urn:uuid:", "http://", "https://")), f"not an absolute IRI: {of}")
        elif name not in ("@value", "@language"):
            require(is_known(name), f"unknown property {name}")
            check_terms(of)


def one(node: dict, name: str) -> dict:
    """The only value of a property."""
    require(len(node.get(name, [])) == 1, f"{name} is not there once")
    return node[name][0]


def has(node: dict, names: list, prefix: str = "") -> None:
    """Every property is there and not empty."""
    for name in names:
        require(bool(node.get(prefix + name)), f"{prefix + name} is missing")


def check_receipt(document: dict) -> None:
    """Expands a receipt without loss and looks up its mandatory fields."""
    expanded = jsonld.expand(document, {"documentLoader": no_network, "base": ""})
    require(leaves(expanded) == leaves(document), "expansion dropped something")
    check_terms(expanded)
    require(len(jsonld.to_rdf(document, {"documentLoader": no_network})["@default"]) > 50, "hardly any triples")
    require(len(expanded) == 1, "more than one node at the top")
    receipt = expanded[0]
    require(receipt["@type"] == [DPV + "ConsentReceipt"], "no receipt")
    has(receipt, RECEIPT)
    record = one(receipt, DPV + "hasRecordOfActivity")
    has(record, RECORD)
    has(one(record, DPV + "hasDataController"), CONTROLLER)
    has(one(record, DPV + "hasDataSubject"), [DCT + "identifier"])
    for process in record[DPV + "hasProcess"]:
        has(process, PROCESS, DPV)
        kinds = {kind for condition in process[DPV + "hasStorageCondition"] for kind in condition["@type"]}
        require({DPV + "StorageLocation", DPV + "StorageDuration"} <= kinds, "storage location or retention missing")
    given = False
    for status in record[DPV + "hasConsentStatus"]:
        has(status, EVENT, DPV)
        given |= bool({DPV + "ConsentGiven", DPV + "RenewedConsentGiven"} & set(status["@type"]))
    own = record[DCT + "identifier"][0]["@value"]
    mine = [of for of in record[DPV + "hasConsentStatus"] if of[DCT + "identifier"][0]["@value"] == own]
    require(len(mine) == 1, "the decision is not among the events")
    if given and {DPV + "ConsentGiven", DPV + "RenewedConsentGiven"} & set(mine[0]["@type"]):
        notice = one(record, DPV + "hasNotice")
        has(notice, [DCT + "identifier", DCT + "language", SCHEMA + "sha256"])


def main() -> None:
    """Checks every folder named."""
    schema = json.loads(Path(sys.argv[1]).read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    require(len(sys.argv) > 2, "no folder named")
    for folder in map(Path, sys.argv[2:]):
        package = json.loads((folder / "package.json").read_text())
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(package)]
        require(not errors, "\n".join(errors))
        # What is not documented is refused: a schema that takes anything would prove nothing.
        for change in ({"x": 1}, {"version": 2}, {"kind": "other"}):
            require(not validator.is_valid({**package, **change}), f"the schema takes {change}")
        receipts = sorted((folder / "receipts").glob("*.jsonld"))
        require(len(receipts) == len(package["consents"]), "not one receipt a decision")
        for path in receipts:
            check_receipt(json.loads(path.read_text()))
        print(f"{folder}: valid {package['kind']} package; {len(receipts)} receipts expand without loss")


main()
