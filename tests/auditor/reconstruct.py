#!/usr/bin/env python3
"""What an auditor wants to know of each request, from `agent-cli audit show --json` alone: who, when, to which host, through
which hosts, with which key and whose token, whether it was touched and its user verified, and how it ended. docs/audit.md says
what the members mean."""

import json
import sys

USER_PRESENT, USER_VERIFIED = 1, 4


def reconstruct(entry):
    intent, outcome = entry["intent"], entry["outcome"]
    subject = intent["subject"] if intent else outcome["subject"]
    meaning, bindings = subject["meaning"], subject["bindings"]
    bound = [binding["host_key"] for binding in bindings if not binding["forwarding"]]
    assertion = outcome.get("assertion")
    signer = intent and intent["signer"]["kind"]
    return {
        "when": entry["time"],
        "who": meaning.get("user"),
        "what": meaning["namespace"] if meaning["kind"] == "signature" else meaning["kind"],
        # What the login itself names is signed; else it is what the connection is bound to.
        "host": meaning.get("host_key") or (bound[-1] if bound else None),
        "through": [binding["host_key"] for binding in bindings if binding["forwarding"]],
        "asked_by": subject["peer"]["programs"][0]["name"],
        "key": subject["key"],
        "signer": signer,
        "touched": assertion and bool(assertion["flags"] & USER_PRESENT),
        "verified": assertion and bool(assertion["flags"] & USER_VERIFIED),
        "by": assertion and assertion["user_verification"],
        "failed_before": [attempt["error"] for attempt in entry["attempts"]],
        "decision": outcome.get("code", outcome["result"]),
    }


for line in sys.stdin:
    entry = json.loads(line)
    if entry["what"] == "request":
        print(json.dumps(reconstruct(entry)))
