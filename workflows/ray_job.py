"""What `ray job submit -- sptx run --address auto ...` has replaced; kept for scripts that name this file.

`python workflows/ray_job.py ARGUMENTS` is `sptx ARGUMENTS` on the cluster of the Ray job that it belongs to. It exists
only in a checkout, and a job that brings one along (--working-dir) computes with that checkout's files in place of the
installed package, without its compiled engine; the run says so.
"""

from __future__ import annotations

import os

from pipeline.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")
    main()
