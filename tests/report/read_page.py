#!/usr/bin/env python3
"""What is in the page on standard input, as JSON: its elements and attributes, where its links lead, its policy beside the hashes of
its style and script, and its rows. Read by Python's own parser of HTML, which knows nothing of who wrote the page."""

import base64
import hashlib
import json
import sys
from collections import Counter
from html.parser import HTMLParser


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes = Counter(), Counter()
        self.links, self.rows, self.policy = [], [], None
        self.inline = {"style": [], "script": []}
        self.into = None
        self.outside = []

    def handle_starttag(self, tag, attributes):
        self.elements[tag] += 1
        attributes = dict(attributes)
        self.attributes.update(attributes.keys())
        if "href" in attributes:
            self.links.append(attributes["href"])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag in self.inline:
            self.into = self.inline[tag]
        elif tag == "details":
            row = {"id": attributes["id"], "class": attributes["class"], "summary": [], "says": [], "facts": []}
            self.rows.append(row)
        elif tag == "summary":
            self.into = self.rows[-1]["summary"]
        elif tag == "ul" and attributes.get("class") == "says":
            self.into = self.rows[-1]["says"]
        elif tag == "pre":
            self.into = self.rows[-1]["facts"]

    def handle_endtag(self, tag):
        if tag in ("style", "script", "summary", "ul", "pre"):
            self.into = None

    def handle_data(self, data):
        (self.outside if self.into is None else self.into).append(data)


page = Page()
page.feed(sys.stdin.buffer.read().decode())
page.close()
for row in page.rows:
    for part in ("summary", "says", "facts"):
        row[part] = "".join(row[part])
text = {name: "".join(parts).encode() for name, parts in page.inline.items()}
json.dump({
    "elements": page.elements,
    "attributes": page.attributes,
    "links": sorted(set(page.links)),
    "policy": page.policy,
    "hashes": {name: "'sha256-" + base64.b64encode(hashlib.sha256(of).digest()).decode() + "'" for name, of in text.items()},
    "text": " ".join("".join(page.outside).split()),
    "rows": page.rows,
}, sys.stdout)
