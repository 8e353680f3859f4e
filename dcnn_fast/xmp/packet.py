"""An XMP packet: reads its rating, and writes a rating while changing nothing else.

A rating is `xmp:Rating` of the packet's only resource: 1 to 5 stars, 0 for none, -1 for rejected. A rating by this program is
marked by `dcnnfast:Rating` with the same value; where the two differ, somebody has rated the photograph since. Nothing in a
packet is fetched or expanded: a packet with a DTD is refused before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import zip_longest

from lxml import etree

from dcnn_fast.printable import printable, quoted
from dcnn_fast.xmp import MOST_BYTES, XmpError
from dcnn_fast.xmp.encoding import decode

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_OURS = "urn:dcnn-fast:xmp/1.0/"
_ROOT, _DESCRIPTION, _ABOUT = f"{{{_RDF}}}RDF", f"{{{_RDF}}}Description", f"{{{_RDF}}}about"
_RATING, _MARK = f"{{{_XMP}}}Rating", f"{{{_OURS}}}Rating"
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{0,9})?")
_SOLID = re.compile(r"[^ \t\r\n]")
_MISC = (("<?", "?>"), ("<!--", "-->"))
_MOST_PARTS = 100_000  # elements and attributes
_MOST_ATTRIBUTES = 1_000  # of an element: copying takes time quadratic in their number
_CANDIDATES = 8  # candidate end tags of the root element: the last one, unless comments contain more

_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="dcnn-fast">\n'
    f' <rdf:RDF xmlns:rdf="{_RDF}">\n'
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="w"?>\n'
).encode()


@dataclass(frozen=True)
class Rating:
    """A packet's rating of its photograph.

    Attributes:
        stars: `xmp:Rating`, None where there is none.
        written: The rating by this program, None where it gave none.
    """

    stars: float | None = None
    written: int | None = None

    @property
    def by_a_person(self) -> bool:
        """Whether somebody has rated the photograph, or has removed our rating: the packet must stay unchanged."""
        return self.stars not in (None, 0) if self.written is None else self.stars != self.written


@dataclass(frozen=True)
class _Place:
    """A property's location: an attribute of the element or, without `attribute`, the element's text."""

    element: etree._Element
    attribute: str | None

    @property
    def text(self) -> str:
        return (self.element.get(self.attribute) if self.attribute else self.element.text) or ""

    def put(self, text: str) -> None:
        if self.attribute:
            self.element.set(self.attribute, text)
        else:
            self.element.text = text


def rating_in(content: bytes) -> Rating:
    """Read a packet's rating.

    Args:
        content: The packet.

    Returns:
        The rating.

    Raises:
        XmpError: The packet is larger than `MOST_BYTES`, not XMP, or has a rating of unknown form.
    """
    return _rating(_resource(_parsed(decode(_bounded(content)).text)))


def with_rating(content: bytes | None, stars: int) -> bytes:
    """Put this program's rating into a packet.

    Everything else is unchanged: elements, attributes, comments, namespaces, the encoding, and the text around the root
    element.

    Args:
        content: The packet; None makes a new one.
        stars: 1 to 5.

    Returns:
        The packet with the rating.

    Raises:
        XmpError: As `rating_in` raises it, and for a packet with a person's rating.
    """
    return _rated(content, lambda now: Rating(float(stars), stars), persons_stays=True)


def with_choice(content: bytes | None, rating: int) -> bytes:
    """Put a person's rating into a packet, replacing any.

    Everything else is unchanged, as with `with_rating`.

    Args:
        content: The packet; None makes a new one.
        rating: 1 to 5 stars, 0 for none, -1 for rejected.

    Returns:
        The packet with the rating.

    Raises:
        XmpError: As `rating_in` raises it.
    """

    def chosen(now: Rating) -> Rating:
        written = now.written
        if rating == 0 and written is None:  # no stars without our mark would count as unrated
            written = 1
        if written == rating:  # our mark with a different number tells that somebody has rated it since
            written = rating % 5 + 1
        return Rating(float(rating), written)

    return _rated(content, chosen, persons_stays=False)


def _rated(content: bytes | None, wanted: Callable[[Rating], Rating], *, persons_stays: bool) -> bytes:
    """The packet with its rating replaced by the wanted one."""
    old = decode(_bounded(_EMPTY if content is None else content))
    before = _parsed(old.text)
    after = deepcopy(before)
    resource = _resource(after)
    now = _rating(resource)
    if persons_stays and now.by_a_person:
        raise XmpError("it has a person's rating")
    rating = wanted(now)
    _put(resource, rating)
    start, end = _extent(old.text, before)
    text = etree.tostring(after, encoding="unicode", with_tail=False)
    if "\r\n" in old.text[start:end]:
        text = text.replace("\n", "\r\n")
    content = old.with_text(old.text[:start] + text + old.text[end:])
    _require_only_ours_changed(before, _parsed(decode(content).text), rating)
    return content


def _put(resource: etree._Element, rating: Rating) -> None:
    """Set the resource's rating; both numbers are integers where present."""
    missing = {}
    for name, value in ((_RATING, rating.stars), (_MARK, rating.written)):
        place = _place(resource, name)
        if value is None:
            continue
        if place is None:
            missing[name] = str(int(value))
        else:
            place.put(str(int(value)))
    if missing:
        _add(resource, missing)


def _bounded(content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise XmpError(f"it is larger than {MOST_BYTES // 2**20} MiB")
    return content


def _parsed(text: str) -> etree._Element:
    """The root element. Comments, instructions and white space are kept; nothing is expanded, fetched or repaired."""
    start = _behind_misc(text, 0)
    if text.startswith("<!DOCTYPE", start):
        raise XmpError("it has a DTD, which no XMP has")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_blank_text=False, remove_comments=False, remove_pis=False, strip_cdata=False, recover=False,
    )  # fmt: skip
    if max(text.count("<"), text.count("=")) > _MOST_PARTS:
        raise XmpError(f"it has more than {_MOST_PARTS} parts")
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise XmpError(f"it is no XML: {printable(str(error))[:120]}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmpError("it has a DTD, which no XMP has")
    if any(len(element.attrib) > _MOST_ATTRIBUTES for element in root.iter("*")):
        raise XmpError(f"it has an element of more than {_MOST_ATTRIBUTES} attributes")
    return root


def _resource(root: etree._Element) -> etree._Element:
    """The element rdf:RDF, which must occur once."""
    found = list(root.iter(_ROOT))
    if len(found) != 1:
        raise XmpError("it is no XMP: it must have one rdf:RDF")
    return found[0]


def _rating(resource: etree._Element) -> Rating:
    stars, written = _place(resource, _RATING), _place(resource, _MARK)
    given = None if stars is None else _number(stars.text, "xmp:Rating must be -1 or 0 to 5", least=0)
    ours = None if written is None else _number(written.text, "dcnnfast:Rating must be 1 to 5", least=1)
    return Rating(given, None if ours is None else int(ours))


def _number(text: str, rule: str, least: int) -> float:
    found = _NUMBER.fullmatch(text.strip())
    value = float(found[0]) if found else 6.0
    if not (least <= value <= 5 or (least == 0 and value == -1)):
        raise XmpError(f"{rule}, got {quoted(text)}")
    return value


def _place(resource: etree._Element, name: str) -> _Place | None:
    """The place of a property of the photograph itself, None where absent; properties of nested resources do not count."""
    places = []
    for description in resource.iterchildren(_DESCRIPTION):
        if name in description.attrib:
            places.append(_Place(description, name))
        places += [_Place(child, None) for child in description.iterchildren(name)]
    shown = "xmp:Rating" if name == _RATING else "dcnnfast:Rating"
    if len(places) > 1:
        raise XmpError(f"it has {shown} {len(places)} times")
    if places and places[0].attribute is None and (len(places[0].element) or places[0].element.attrib):
        raise XmpError(f"its {shown} is no plain number")
    return places[0] if places else None


def _add(resource: etree._Element, values: dict[str, str]) -> None:
    """Add a separate description in first place, so that no existing element gets an attribute or a namespace."""
    first = next(resource.iterchildren(_DESCRIPTION), None)
    about = None if first is None else first.get(_ABOUT)
    prefixes = {"rdf": _RDF, "xmp": _XMP, "dcnnfast": _OURS}
    added = etree.Element(_DESCRIPTION, nsmap={prefix: uri for prefix, uri in prefixes.items() if _is_needed(uri, values)})
    if about is not None or first is None:
        added.set(_ABOUT, about or "")
    for name, value in values.items():
        added.set(name, value)
    if not (resource.text or "").strip():
        added.tail = resource.text  # indented like the former first one
    resource.insert(0, added)


def _is_needed(uri: str, values: dict[str, str]) -> bool:
    return uri == _RDF or any(name.startswith(f"{{{uri}}}") for name in values)


def _behind_misc(text: str, at: int) -> int:
    """The end of the white space, comments and instructions that begin at `at`."""
    while True:
        solid = _SOLID.search(text, at)
        if solid is None:
            return len(text)
        at = solid.start()
        closing = next((closing for opening, closing in _MISC if text.startswith(opening, at)), None)
        end = -1 if closing is None else text.find(closing, at + 2)
        if closing is None or end < 0:
            return at
        at = end + len(closing)


def _extent(text: str, root: etree._Element) -> tuple[int, int]:
    """The root element's begin and end in the text."""
    start, end = _behind_misc(text, 0), len(text)
    for _ in range(_CANDIDATES):
        end = text.rfind(">", start, end)
        if end < 0:
            break
        if not text.endswith(("?>", "-->"), start, end + 1) and _behind_misc(text, end + 1) == len(text):
            return start, end + 1
    raise XmpError("the end of its root element cannot be told")


def _require_only_ours_changed(before: etree._Element, after: etree._Element, rating: Rating) -> None:
    """Check the written packet: the rating, and node by node the former contents. Removes our properties from both."""
    said = _rating(_resource(after))
    same = all(ours == theirs for ours, theirs in zip_longest(_others(after), _others(before)))
    if said != rating or not same:
        raise XmpError("it cannot be written again as it is")


def _others(root: etree._Element) -> Iterator[object]:
    """A packet's nodes in order, as values, without our two properties and descriptions that hold nothing else."""
    resource = _resource(root)
    for name in (_RATING, _MARK):
        place = _place(resource, name)
        if place is not None and place.attribute:
            del place.element.attrib[place.attribute]
        elif place is not None:
            place.element.text = None
    for description in list(resource.iterchildren(_DESCRIPTION)):
        if not len(description) and set(description.attrib) <= {_ABOUT} and not (description.text or "").strip():
            resource.remove(description)
    for event, node in etree.iterwalk(root, events=("start", "start-ns", "comment", "pi")):
        if isinstance(node, etree._Element):
            tag = node.tag if event == "start" else ""
            yield event, tag, node.text or "", node.tail or "", len(node), dict(node.attrib)
        else:
            yield node  # a prefix and its namespace
