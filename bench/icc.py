"""Makes ICC profiles with any primaries and any name."""

from __future__ import annotations

import struct

from PIL import ImageCms

# Red, green and blue under the profiles' white, x, y and z.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))

_TAGS, _TAG = 128, 12  # the offset of the tag table with its count; bytes per tag
_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")


def of_primaries(primaries, name="sRGB"):
    """A profile with sRGB's curves and these primaries; `name` has at most four letters."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace("sRGB".encode("utf-16-be"), name.ljust(4).encode("utf-16-be"))
    (count,) = struct.unpack_from(">I", profile, _TAGS)
    for tag in range(count):
        signature, offset, _ = struct.unpack_from(">4sII", profile, _TAGS + 4 + _TAG * tag)
        if signature in _COLORANTS:
            xyz = primaries[_COLORANTS.index(signature)]
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in xyz))
    return bytes(profile)
