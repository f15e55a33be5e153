"""Entry point of a Ray job: the arguments of `sptx`, run on the cluster that the job belongs to.

    ray job submit --address http://HEAD:8265 -- python workflows/ray_job.py run --config configs/gpu-cluster.yaml ...

is `sptx run ...` on a node of that cluster. It needs sptx installed in the cluster's image and `ray[default]` where
the job is submitted. Inside the image plain `sptx run ...` is an entry point just as well; this file adds that the
cluster is joined even where the job's environment does not name it.
"""

from __future__ import annotations

import os

from pipeline.cli import main

if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "auto")
    main()
