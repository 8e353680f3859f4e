"""An environment with almost no shared memory: `python -m tests.training.small_shm COMMAND...`.

Docker gives a container 64 MB of /dev/shm. Here it is 64 KB, in the command's own mount namespace; where that is not
allowed, no file may be longer than 64 KB, which holds for shared memory as for any other.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

_MOUNT = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'


def main():
    for options in (["-m"], ["-rm"]):
        inside = ["unshare", *options, "sh", "-c", _MOUNT, "sh"]
        if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0:
            os.execvp(inside[0], [*inside, *sys.argv[1:]])
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
