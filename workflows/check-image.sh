#!/usr/bin/env bash
# Builds an image of the Dockerfile with docker, podman or buildah, and runs sptx on a human gene in it:
#
#     workflows/check-image.sh cpu --secret id=pip,src=pip.conf
#     workflows/check-image.sh cuda
#
# What follows the target goes to the build.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?cpu or cuda}
shift

in_image='set -eux
[ "$(id -u)" = 1000 ]
sptx --version
python -c "import ray.dashboard.optional_deps, s3fs" # ray[default] for jobs, and object storage
ls /opt/sptx/lib/python3*/site-packages/sptx_core/engine/native/_native*.so
cd "$(mktemp -d)"
sptx example demo
sptx run --fasta demo/genome.fa.gz --gtf demo/annotation.gtf.gz --checkpoint demo/checkpoint --output tracks \
    --genes CBWD1 --gpus-per-worker 0
sptx verify tracks'

if docker info > /dev/null 2>&1; then
    tool=docker
else
    tool=$(command -v podman || command -v buildah) || { echo "neither docker, podman nor buildah is usable" >&2; exit 1; }
fi
"$tool" build --target "$target" --tag "sptx:$target" "$@" .
if [[ $tool == *buildah ]]; then
    container=$(buildah from "sptx:$target")
    trap 'buildah rm "$container" > /dev/null' EXIT
    buildah run "$container" -- bash -c "$in_image"
else
    "$tool" run --rm --shm-size 1g "sptx:$target" bash -c "$in_image"
fi
