"""The demo's photographs: copied to a folder from the packages scikit-image and scikit-learn.

python tools/demo_photos.py FOLDER
"""

from __future__ import annotations

import argparse
import shutil
from importlib.util import find_spec
from pathlib import Path

SOURCES = {
    "skimage/data": ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
                     "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg"),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}  # fmt: skip


def copy_photos(target: Path) -> list[Path]:
    """Copy every listed photograph that the installed packages have; returns the copies."""
    target.mkdir(parents=True, exist_ok=True)
    copies = []
    for folder, names in SOURCES.items():
        package, _, inside = folder.partition("/")
        spec = find_spec(package)
        for name in names if spec and spec.origin else ():
            source = Path(spec.origin).parent / inside / name
            if source.is_file():
                copies.append(Path(shutil.copy(source, target / name)))
    return copies


def main() -> None:
    """Copy, and print the number; no photograph at all is an error."""
    parser = argparse.ArgumentParser(description="Copies the photographs that scikit-image and scikit-learn carry.")
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder
    copies = copy_photos(target)
    if not copies:
        parser.error("scikit-image and scikit-learn are not installed: pip install scikit-image scikit-learn")
    print(f"{len(copies)} photographs of {len(SOURCES)} packages in {target}")


if __name__ == "__main__":
    main()
