"""As much of JSON Schema 2020-12 as audit-record.schema.json uses. A keyword that is not known here is an error."""

import re

ANNOTATIONS = {"$schema", "$defs", "title", "description", "examples", "format", "contentEncoding"}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}


class Schema:
    def __init__(self, schema):
        self.root = schema

    def accepts(self, value):
        return self.members(self.root, value) is not None

    def members(self, schema, value):
        """The members of an object that this schema has looked at, nothing where the value is no object; None where the
        schema does not take it."""
        seen = set()
        for keyword, argument in schema.items():
            if keyword in ANNOTATIONS:
                continue
            found = getattr(self, keyword.lstrip("$"))(argument, value, schema, seen)
            if found is None or found is False:
                return None
            if isinstance(found, set):
                seen |= found
        return seen

    def ref(self, pointer, value, _schema, _seen):
        return self.members(self.root["$defs"][pointer.removeprefix("#/$defs/")], value)

    def type(self, name, value, _schema, _seen):
        # For Python true is an integer.
        return isinstance(value, TYPES[name]) and (name == "boolean") == isinstance(value, bool)

    def const(self, expected, value, _schema, _seen):
        return type(value) is type(expected) and value == expected

    def enum(self, expected, value, _schema, _seen):
        return isinstance(value, str) and value in expected

    def minimum(self, least, value, _schema, _seen):
        return value >= least

    def maximum(self, most, value, _schema, _seen):
        return value <= most

    def pattern(self, pattern, value, _schema, _seen):
        # To Python "$" matches before a line's end, too.
        return re.search(re.sub(r"\$$", r"\\Z", pattern), value, re.ASCII) is not None

    def items(self, schema, values, _schema, _seen):
        return all(self.members(schema, value) is not None for value in values)

    def required(self, names, value, _schema, _seen):
        return isinstance(value, dict) and all(name in value for name in names)

    def properties(self, properties, value, _schema, _seen):
        if not isinstance(value, dict):
            return None
        for name, schema in properties.items():
            if name in value and self.members(schema, value[name]) is None:
                return None
        return value.keys() & properties.keys()

    def oneOf(self, schemas, value, _schema, _seen):
        fitting = [seen for seen in (self.members(schema, value) for schema in schemas) if seen is not None]
        return fitting[0] if len(fitting) == 1 else None

    def propertyNames(self, schema, value, _schema, _seen):
        return all(self.members(schema, name) is not None for name in value)

    def additionalProperties(self, allowed, value, schema, _seen):
        others = value.keys() - schema.get("properties", {}).keys()
        return not others if allowed is False else self.items(allowed, [value[name] for name in others], schema, None)

    def unevaluatedProperties(self, allowed, value, _schema, seen):
        """Has to be the last keyword of its schema."""
        assert allowed is False
        return value.keys() <= seen
