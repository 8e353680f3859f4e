"""The check to run on a machine with a GPU: `python -m tools.gpu_check`, from a source tree, installed or not.

Eight stages, each in a separate process with a time limit, since an illegal access makes the GPU unusable for a process. The
report (report.json, and report.html for reading) is rewritten after each. `--device sim` runs every stage on tiny shapes in the
PTX simulator, so that the command is known to work before a GPU is available.
"""
