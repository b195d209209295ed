#!/usr/bin/env python3
"""Holds each line of standard input against docs/audit-record.schema.json, or the schema that is named, with Debian's jsonschema: a
validator that is nobody's here. Ends with 1 at the first that it does not take."""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

RECORDS = Path(__file__).parents[2] / "docs/audit-record.schema.json"
SCHEMA = json.loads(Path(*sys.argv[1:] or [RECORDS]).read_text())
Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = Draft202012Validator(SCHEMA)

for line in sys.stdin:
    for error in VALIDATOR.iter_errors(json.loads(line)):
        sys.exit(f"{error.message}\nin {line}")
