"""XMP packets: reading a rating, and writing one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from dcnn_fast.xmp import XmpError
from dcnn_fast.xmp.packet import Rating, rating_in, with_rating
from fuzz.target import FoundError, Target
from tests.xmp.samples import ADOBE, DARKTABLE, ELEMENT, rated

_PARTS = (
    "<rdf:RDF>", "</rdf:RDF>", "<rdf:Description>", "</rdf:Description>", "<rdf:Description/>", 'xmp:Rating="3"',
    "xmp:Rating=''", "<xmp:Rating>", "</xmp:Rating>", 'dcnnfast:Rating="3"', "xmlns:xmp='http://ns.adobe.com/xap/1.0/'",
    "<!-- -->", "<!-- > -->", "<?p >?>", "<![CDATA[ <a> ]]>", "&#0;", "&#10;", "&e;", "<!DOCTYPE a [<!ENTITY e 'x'>]>", "-1",
    "6", "\ufeff", "\r\n", ">", "", '<?xml version="1.0" encoding="UTF-16"?>', '<?xml version="1.0" encoding="latin-1"?>',
)  # fmt: skip


def _read(data: bytes) -> None:
    before = rating_in(data)
    if before.by_a_person:
        return
    after = with_rating(data, 4)
    if rating_in(after) != Rating(4, 4):
        raise FoundError(f"the rating must be read again, got {rating_in(after)}")
    if with_rating(after, 4) != after:
        raise FoundError("the same rating once more must change nothing")


def _seeds() -> Mapping[str, bytes]:
    ours = with_rating(ADOBE.encode(), 2)
    return {
        "darktable": DARKTABLE.encode(), "adobe": ADOBE.encode(), "ours": ours, "new": with_rating(None, 3),
        "element": ELEMENT.format(stars=0).encode(), "rated": rated(3).encode(), "utf-16": rated(0).encode("utf-16"),
        "latin-1": b'<?xml version="1.0" encoding="iso-8859-1"?>' + rated(0).encode() + b"<!-- \xe9 -->",
    }  # fmt: skip


def _mutated(data: bytes, longest: int, random: Random) -> bytes:
    """Insert, remove or repeat tags and attributes."""
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 1, 5, 40)))
        text = text[:start] + random.choice((*_PARTS, text[start:end] * 2)) + text[end:]
    return text.encode("utf-8", "surrogateescape")[:longest]


TARGET = Target(_read, (XmpError,), _seeds, mutated=_mutated)
