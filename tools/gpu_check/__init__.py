"""What to run on the day a GPU is there: `python -m tools.gpu_check`, from a tree of sources, installed or not.

Eight stages, each in a process of its own with a time limit, since an illegal access ends everything that a process can do with
a GPU. The report (report.json, and report.html to look at) is written anew after each. `--device sim` runs every stage on tiny
shapes in the PTX simulator, so that the command is known to work before a GPU is there.
"""
