#!/usr/bin/env bash
# A Ray cluster inside one Slurm allocation, the job on it, and its end: sbatch workflows/slurm-ray.sh ARGUMENTS
# ARGUMENTS are those of `sptx run`; inputs and --output lie on the file system that the nodes share. Submit it again
# after the time limit struck: the run goes on where it was.
#SBATCH --job-name=sptx
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
set -euo pipefail

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun does not inherit it
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address="$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}'):6379"

srun --nodes=1 --ntasks=1 -w "$head" \
    ray start --head --node-ip-address="${address%:*}" --port="${address#*:}" --block &
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$address" --block &
fi
# The pool of actors is sized when the run starts, so every node must have joined by then.
for _ in $(seq 60); do
    alive=$(srun --overlap --nodes=1 --ntasks=1 -w "$head" python -c "import ray, sys
ray.init(address=sys.argv[1], logging_level='ERROR'); print(sum(node['Alive'] for node in ray.nodes()))" \
        "$address" 2>/dev/null || true)
    [[ "$alive" == "$SLURM_JOB_NUM_NODES" ]] && break
    sleep 5
done
srun --overlap --nodes=1 --ntasks=1 -w "$head" sptx run --address "$address" --shared-output "$@"
