# Images of sptx for the nodes of a cluster: Ray with its dashboard, sptx with its compiled engine, object storage.
#
#     docker build --target cpu --secret id=pip,src=pip.conf --tag sptx:cpu .
#     docker build --target cuda --secret id=pip,src=pip.conf --tag sptx:cuda .
#     docker run --rm --shm-size 1g sptx:cpu sptx --version
#
# pip.conf is your own set-up of pip, seen while the image is built and never kept in it. For `cpu` it must lead to
# PyTorch's CPU builds (the "Get started" page of pytorch.org names their address), else the build ends. For `cuda` the
# secret may be left out; CUDA's libraries come with PyTorch, so the base needs none. Versions are those of
# constraints.txt. The base is pinned by its tag; to pin its bytes give PYTHON_IMAGE with the digest of your registry.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS wheel
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /sptx
COPY LICENSE MANIFEST.in README.md constraints.txt pyproject.toml setup.py ./
COPY configs configs
COPY sptx_core sptx_core
COPY pipeline pipeline
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    PIP_CONSTRAINT=constraints.txt pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# The build goes on without a compiler that works, with a slower engine; an image does not.
RUN [ "$(uname -m)" != x86_64 ] || python -m zipfile --list /wheels/sptx-*.whl | grep sptx_core/engine/native/_native

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/sptx
ENV PATH=/opt/sptx/bin:$PATH
COPY constraints.txt /constraints.txt
COPY --from=wheel /wheels /wheels
ARG EXTRAS=s3,cluster
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --no-cache-dir --constraint /constraints.txt torch \
    && pip install --no-cache-dir --constraint /constraints.txt "$(ls /wheels/sptx-*.whl)[$EXTRAS]"

FROM packages AS cpu-packages
RUN python -c "import sys, torch; torch.version.cuda and sys.exit('this PyTorch is for CUDA; see the Dockerfile')"

# Nextflow asks `ps` what a task uses.
FROM ${PYTHON_IMAGE} AS node
RUN apt-get update && apt-get install --yes --no-install-recommends procps && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 sptx
ENV PATH=/opt/sptx/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /home/sptx
CMD ["sptx", "--help"]

FROM node AS cpu
COPY --from=cpu-packages /opt/sptx /opt/sptx
USER 1000

# Triton compiles the launchers of its kernels on the node.
FROM node AS cuda
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/sptx /opt/sptx
USER 1000
