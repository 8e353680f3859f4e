"""A rating merged into other programs' packets: nothing else changes, and hostile packets are refused at once."""

from __future__ import annotations

import codecs
import time

import pytest

from dcnn_fast.xmp import MOST_BYTES, XmpError
from dcnn_fast.xmp.packet import Rating, rating_in, with_rating
from tests.measured import SECONDS
from tests.xmp.samples import ADOBE, DARKTABLE, ELEMENT, others, rated, values

HEAD = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = "</r:RDF></x:xmpmeta>"
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + f"]>\n{HEAD}&j;{TAIL}"
)
EXTERNAL = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{HEAD}&e;{TAIL}'


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("sample", [DARKTABLE, ADOBE, ELEMENT.format(stars=0)], ids=["darktable", "adobe", "element"])
def test_nothing_but_the_rating_changes(sample, encoding, line_end):
    plain = sample.removeprefix('<?xml version="1.0" encoding="UTF-8"?>\n')
    if encoding[:3] in ("iso", "win"):
        plain = plain.replace("\ufeff", "")
    text = (
        f'<?xml version="1.0" encoding="{encoding if encoding[:3] in ("iso", "win") else encoding[:6].rstrip("-")}"?>\n{plain}'
    )
    text = text.replace("\n", line_end)
    before = text.encode(encoding)
    assert rating_in(before).written is None
    after = with_rating(before, 3)
    written = after.decode(encoding)
    assert written.encode(encoding) == after  # the same byte order mark
    assert values(written.removeprefix("\ufeff").split("?>", 1)[1].strip()) == ("3", "3")
    assert others(written) == others(text)
    assert ("\r\n" in written) == (line_end == "\r\n") and "\n" not in written.replace(line_end, "")
    assert rating_in(after) == Rating(3, 3)
    again = with_rating(after, 5)
    assert len(again) == len(after) and others(again.decode(encoding)) == others(text) and rating_in(again) == Rating(5, 5)


def test_a_new_packet_is_a_whole_one():
    made = with_rating(None, 4)
    assert made.decode().startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta')
    assert made.decode().rstrip().endswith('<?xpacket end="w"?>')
    assert values(made) == ("4", "4") and rating_in(made) == Rating(4, 4)


@pytest.mark.parametrize(
    ("content", "stars", "by_a_person"),
    [
        (rated(0), 0, False), (rated(3), 3, True), (rated(-1), -1, True), (rated("3.0"), 3, True), (rated(" 5 "), 5, True),
        (ELEMENT.format(stars=2), 2, True), (ELEMENT.format(stars=0), 0, False), (ADOBE, None, False),
    ],
)  # fmt: skip
def test_what_others_rated_is_a_persons(content, stars, by_a_person):
    found = rating_in(content.encode())
    assert (found.stars, found.written, found.by_a_person) == (stars, None, by_a_person)
    if by_a_person:
        with pytest.raises(XmpError, match="a person's rating"):
            with_rating(content.encode(), 4)


@pytest.mark.parametrize("changed", ["5", "0", "-1", None])
def test_a_rating_of_ours_that_was_changed_is_a_persons(changed):
    ours = with_rating(ADOBE.encode(), 4).decode()
    theirs = ours.replace(' xmp:Rating="4"', f' xmp:Rating="{changed}"' if changed else "")
    assert theirs != ours and rating_in(theirs.encode()).by_a_person and not rating_in(ours.encode()).by_a_person


def test_a_rating_of_something_else_is_not_the_photographs():
    """A packet may also describe former versions and parts of a collage."""
    other = DARKTABLE.replace("<rdf:Seq>", '<rdf:Seq><rdf:li xmp:Rating="5"/>').replace('xmp:Rating="0"', "")
    assert rating_in(other.encode()) == Rating(None, None)
    assert others(with_rating(other.encode(), 2).decode()) == others(other)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no XML"), (b"not XML at all", "it is no XML"), (DARKTABLE[:-30].encode(), "it is no XML"),
        (DARKTABLE.encode() + b"<more/>", "it is no XML"), (b"<x/>", "must have one rdf:RDF"),
        ((HEAD + "<r:RDF/>" + TAIL).encode(), "must have one rdf:RDF"), (BOMB.encode(), "it has a DTD"),
        (EXTERNAL.encode(), "it has a DTD"), (EXTERNAL.encode("utf-16"), "it has a DTD"),
        (f"<!-- c --><?p?> {EXTERNAL}".encode(), "it has a DTD"), (f"{HEAD}&e;{TAIL}".encode(), "it is no XML"),
        (rated("many").encode(), "xmp:Rating must be -1 or 0 to 5, got 'many'"), (rated(6).encode(), "must be -1 or 0 to 5"),
        (rated("").encode(), "must be -1 or 0 to 5"), (rated("nan").encode(), "must be -1 or 0 to 5"),
        (ELEMENT.format(stars="<b/>1").encode(), "its xmp:Rating is no plain number"),
        (rated('1" dcnnfast:Rating="9" xmlns:dcnnfast="urn:dcnn-fast:xmp/1.0/').encode(), "dcnnfast:Rating must be 1 to 5"),
        (ELEMENT.format(stars="1</a:Rating><a:Rating xmlns:a='http://ns.adobe.com/xap/1.0/'>2").encode(), "xmp:Rating 2 times"),
        (b"\xff" + DARKTABLE.encode(), "it is not text in utf-8"), (DARKTABLE.encode("utf-32"), "UTF-32 is not read"),
        (DARKTABLE.replace("UTF-8", "utf-7").encode(), "the encoding utf-7 is not read"),
        (DARKTABLE.replace("UTF-8", "no-such").encode(), "the encoding no-such is not read"),
        (codecs.BOM_UTF8 + b"\0" * 100, "it is no XML"),
        (f"{HEAD}{'<a>' * 300}{'</a>' * 300}{TAIL}".encode(), "it is no XML"),
        (f"{HEAD}{'<a/>' * 150_000}{TAIL}".encode(), "more than 100000 parts"),
        (f"{HEAD}<a {' '.join(f'a{i}=%s' % chr(34) * 2 for i in range(2000))}/>{TAIL}".encode(), "more than 1000 attributes"),
        (b"<" * (MOST_BYTES + 1), "it is larger than 16 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_packet_is_refused(content, why):
    started = time.process_time()
    for work in (rating_in, lambda content: with_rating(content, 3)):
        with pytest.raises(XmpError) as refused:
            work(content)
        assert why in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 300
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
    "part", ["<a/>", "<r:Description/>", "<!-- -->", "<a b='c'/>", f"<b {' '.join(f'a{i}=%r' % '' for i in range(900))}/>"]
)
def test_packets_of_as_many_parts_as_may_be_take_seconds(part):
    content = (HEAD + part * min(99_000 // max(part.count("="), 1), 99_000) + TAIL).encode()
    started = time.process_time()
    with_rating(content, 3)
    assert time.process_time() - started < SECONDS


def test_an_end_of_the_root_element_that_only_looks_so():
    for epilog in ("<!-- </x:xmpmeta> -->", "\n<?p </x:xmpmeta> ?>\n\n<!-- > -->"):
        text = rated(0) + epilog
        assert with_rating(text.encode(), 3).decode().endswith("</x:xmpmeta>" + epilog)
