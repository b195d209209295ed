#!/usr/bin/env python3
"""Verifies audit logs, as docs/audit.md says: another program than the agent's own, in another language, by its own reading.

verify.py LOG [ANCHORS]   prints a report and ends with the code of `agent-cli audit verify`
verify.py --many          reads lines of JSON, {"log": PATH, "anchors": [{"sequence": N, "hash": HEX}]}, and prints a report for each
"""

import json
import re
import sys
from base64 import b64decode
from collections import deque
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import ssh
from schema import Schema

SCHEMA = Schema(json.loads((Path(__file__).parents[2] / "docs/audit-record.schema.json").read_text()))
LONGEST_LINE = 1024 * 1024
EXIT_CODES = {"tampered": 10, "not_anchored": 12, "torn_tail": 11}
BEGINNING = {"sequence": 0, "hash": "0" * 64}


def read_record(line):
    """The record in a line; None where it is none."""
    try:
        record = json.loads(line.decode(), parse_float=no_number, parse_constant=no_number)
        canonical = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        if canonical != line or not SCHEMA.accepts(record):
            return None
        datetime.fromisoformat(record["time"][:19])
        return record
    except (ValueError, RecursionError):
        return None


def no_number(text):
    raise ValueError(text)


class Log:
    """The files of a log, in the order of their records."""

    def __init__(self, current):
        self.current = Path(current)
        segments = sorted(path for path in self.current.parent.iterdir() if self.last_in_name(path) is not None)
        self.files = segments + [self.current] * self.current.exists()

    def last_in_name(self, path):
        """The number of a segment's last record."""
        stem, suffix = map(re.escape, (self.current.stem, self.current.suffix))
        found = re.fullmatch(rf"{stem}\.([0-9]{{16}}){suffix}", path.name)
        return found and int(found[1])


class Verifier:
    def __init__(self, log, anchors):
        self.log = log
        self.anchors = deque(sorted(anchors, key=lambda anchor: anchor["sequence"]))
        self.head, self.intents, self.garbage = dict(BEGINNING), {}, None
        self.findings, self.beginnings, self.removed = [], [], False
        self.report = {"segments": len(log.files), "records": 0, "first": 0, "signatures": 0, "unchecked": 0,
                       "hosts_proven": 0, "anchored": 0}

    def verify(self):
        for file in self.log.files:
            self.file(file)
        if self.report["first"] > 1 and not self.removed:
            self.find("tampered", self.log.current, 0)
        for anchor in self.anchors:
            self.find("not_anchored", self.log.current, 0)
            break
        return {**self.report, "head": self.head, "findings": self.findings}

    def find(self, kind, file, number):
        self.findings.append({"kind": kind, "segment": str(file), "line": number})

    def file(self, file):
        number, ended = 0, True
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                ended = line.endswith(b"\n")
                self.line(file, number, line.removesuffix(b"\n"), ended)
        if self.garbage:
            torn = not ended and file == self.log.current
            self.find("torn_tail" if torn else "tampered", file, self.garbage[0])
            self.garbage = None
        last = self.log.last_in_name(file)
        if last is not None and last != self.head["sequence"]:
            self.find("tampered", file, 0)

    def line(self, file, number, line, ended):
        record = read_record(line) if len(line) < LONGEST_LINE else None
        if record is None:
            first, before = self.garbage or (number, None)
            self.garbage = first, line if before is None else before + b"\n" + line
            return
        self.torn(record, file, number)
        self.follows(record, file, number)
        self.report["records"] += 1
        self.head = {"sequence": record["sequence"], "hash": sha256(line).hexdigest()}
        self.request(record, file, number)
        self.anchored(file, number)
        if not ended:
            self.find("torn_tail" if file == self.log.current else "tampered", file, number)

    def torn(self, record, file, number):
        named = (record["length"], record["hash"]) if record.get("act") == "torn" else None
        garbage, self.garbage = self.garbage, None
        found = (len(garbage[1]), sha256(garbage[1]).hexdigest()) if garbage else None
        if found != named:
            self.find("tampered", file, garbage[0] if garbage else number)

    def follows(self, record, file, number):
        beginning = record["head"] if record.get("act") == "segment" else None
        expected = self.head
        if self.report["records"] == 0:
            self.report["first"] = record["sequence"]
            expected = beginning or BEGINNING
        begins_file = number == 1 and record["sequence"] > 1
        if number == 1 and beginning:
            self.beginnings.append(beginning)
        if record.get("act") == "segments_removed" and record["head"] in self.beginnings:
            self.removed = True
        if (
            (record["sequence"], record["previous"]) != (expected["sequence"] + 1, expected["hash"])
            or (beginning is not None) != begins_file
            or beginning not in (None, expected)
        ):
            self.find("tampered", file, number)

    def anchored(self, file, number):
        while self.anchors and self.anchors[0]["sequence"] <= self.head["sequence"]:
            anchor = self.anchors.popleft()
            if anchor == self.head:
                self.report["anchored"] += 1
            elif anchor["sequence"] == self.head["sequence"]:
                self.find("not_anchored", file, number)

    def request(self, record, file, number):
        if record["record"] not in ("intent", "outcome"):
            return
        name = record["agent"]["run"], record["request"]
        if record["record"] == "intent":
            self.intents[name] = record
            return
        intent = self.intents.pop(name, None)
        if record["result"] != "signed" or intent is None and self.report["first"] > 1:
            return
        self.report["signatures"] += 1
        try:
            self.signature(intent, record)
        except ssh.Malformed:
            self.find("tampered", file, number)

    def signature(self, intent, outcome):
        """Whether the signature is what its records say."""
        if intent is None:
            raise ssh.Malformed
        evidence, signature = intent["evidence"], b64decode(outcome["signature"])
        if not isinstance(evidence["key"], str) or not isinstance(evidence["data"], str):
            self.report["unchecked"] += 1
            return
        blob, data = b64decode(evidence["key"]), b64decode(evidence["data"])
        key = ssh.Key.read(blob)
        meaning, login = ssh.meaning(data, blob)
        subject = intent["subject"]
        if key.fingerprint() != subject["key"] or not key.verifies(data, signature) or meaning != subject["meaning"]:
            raise ssh.Malformed
        if subject["certificate"] != ssh.certified(blob):
            raise ssh.Malformed
        application = None if key.application is None else ssh.bounded(key.application.decode("utf-8", "replace"))
        if application != subject["application"] or not bound_alike(evidence["bindings"], subject["bindings"]):
            raise ssh.Malformed
        assertion = outcome["assertion"]
        if assertion is not None:
            flags_and_counter = assertion["flags"].to_bytes(1, "big") + assertion["counter"].to_bytes(4, "big")
            if key.application is None or signature[-5:] != flags_and_counter:
                raise ssh.Malformed
        elif key.application is not None and intent["signer"]["kind"] != "upstream":
            raise ssh.Malformed
        if login is not None:
            bound = any(proves(binding, login) for binding in evidence["bindings"])
            self.report["hosts_proven"] += login.host_key is not None or bound


def bound_alike(evidence, named):
    """Whether the record names the hosts of its evidence."""
    def alike(binding, name):
        known = isinstance(binding["host_key"], str)
        host = not known or ssh.host_fingerprint(b64decode(binding["host_key"])) == name["host_key"]
        return host and binding["forwarding"] == name["forwarding"]

    return len(evidence) == len(named) and all(map(alike, evidence, named))


def proves(binding, login):
    """Whether a host has signed the identifier of the login's session."""
    session = b64decode(binding["session_id"])
    if session != login.session or not isinstance(binding["host_key"], str):
        return False
    key = ssh.read_key(b64decode(binding["host_key"]))
    return key is not None and key.verifies(session, b64decode(binding["signature"]))


def verify(path, anchors):
    log = Log(path)
    if not log.files:
        raise FileNotFoundError(f"{path}: there is no audit log")
    report = Verifier(log, anchors).verify()
    kinds = {finding["kind"] for finding in report["findings"]}
    return {**report, "code": next((code for kind, code in EXIT_CODES.items() if kind in kinds), 0)}


def read_anchors(path):
    anchors = []
    for line in Path(path).read_text(errors="replace").splitlines():
        words = re.findall("[A-Za-z0-9]+", line.split("audit head ", 1)[-1])
        if len(words) >= 2 and words[0].isdecimal() and re.fullmatch("[0-9a-f]{64}", words[1]):
            anchors.append({"sequence": int(words[0]), "hash": words[1]})
    return anchors


def main(arguments):
    if arguments == ["--many"]:
        for line in sys.stdin:
            task = json.loads(line)
            print(json.dumps(verify(task["log"], task["anchors"])), flush=True)
        return 0
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 64
    try:
        report = verify(arguments[0], read_anchors(arguments[1]) if len(arguments) == 2 else [])
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(report))
    return report["code"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
