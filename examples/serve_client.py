"""Score photographs with a server: a busy one is asked again when it says so. Uses only Python's standard library.

dcnn-fast serve &
python examples/serve_client.py http://127.0.0.1:8000 PHOTOGRAPH...
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def score(server: str, content: bytes) -> dict:
    """The score of a picture's file; for an unreadable one, `error` is the reason."""
    request = urllib.request.Request(f"{server}/v1/score", content, {"Content-Type": "application/octet-stream"})
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 422:
                return json.load(error)
            if error.code != 429:
                raise SystemExit(f"{error.code}: {json.load(error)['error']}") from None
            time.sleep(int(error.headers["Retry-After"]))


def main() -> None:
    """Print a line of JSON for each photograph."""
    for path in sys.argv[2:]:
        print(json.dumps({**score(sys.argv[1], Path(path).read_bytes()), "path": path}))


if __name__ == "__main__":
    main()
