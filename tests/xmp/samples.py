"""Sidecars as other programs write them, and an XMP packet's ratings as the standard library reads them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

XMP, RDF, OURS = "http://ns.adobe.com/xap/1.0/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "urn:dcnn-fast:xmp/1.0/"

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/"
   exif:DateTimeOriginal="2019:05:01 10:11:12.345"
   xmp:Rating="0"
   darktable:xmp_version="5"
   darktable:history_end="2">
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Käse &amp; Brot</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="rawprepare"
      darktable:params="gz12eJxjYGBgkGDAAA=="/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

ADOBE = (
    """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00        ">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- a person's own note -->
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:CreatorTool="Adobe Photoshop Lightroom Classic 12.0 (Windows)"
   photoshop:SidecarForExtension="CR2"
   crs:Exposure2012="+0.35" crs:text="a&#xA;b &lt;c>">
   <photoshop:DocumentAncestors><rdf:Bag><rdf:li><![CDATA[ <kept> & kept ]]></rdf:li></rdf:Bag></photoshop:DocumentAncestors>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
    + " " * 200
    + """
<?xpacket end="w"?>"""
)

ELEMENT = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description r:about="uuid:1"><a:Rating xmlns:a="http://ns.adobe.com/xap/1.0/">{stars}</a:Rating><b/></r:Description>
</r:RDF></x:xmpmeta>"""


def rated(stars):
    """A sidecar with that rating and nothing else, as another program would write it."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{stars}"/></rdf:RDF></x:xmpmeta>'
    )


def values(content):
    """A packet's xmp:Rating and our mark, as texts; None for a missing one."""
    root = ElementTree.fromstring(content)
    found = []
    for uri in (XMP, OURS):
        given = [e.get(f"{{{uri}}}Rating") for e in root.iter(f"{{{RDF}}}Description") if e.get(f"{{{uri}}}Rating")]
        given += [e.text for e in root.iter(f"{{{uri}}}Rating")]
        assert len(given) <= 1, given
        found.append(given[0] if given else None)
    return tuple(found)


def others(text):
    """A packet without our additions, in the canonical form of XML, and the text around its root element."""
    text = re.sub(r'\r?\n? *<(\w+):Description [^<>]*dcnnfast:Rating="[1-5]"\s*/>', "", text)
    text = re.sub(r'(:Rating=")[0-5]"', r'\1"', text)
    text = re.sub(r"(:Rating[^<>]*>)[0-5]<", r"\1<", text)
    canonical = ElementTree.canonicalize(text.removeprefix("\ufeff"), with_comments=True)
    return text[: text.index("<x:xmpmeta")], canonical, text[text.rindex("</x:xmpmeta>") :]
