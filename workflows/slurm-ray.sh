#!/usr/bin/env bash
# A Ray cluster within one Slurm job, `sptx run` (or SPTX_COMMAND: variants, saturate) on it, and its end:
#
#     sbatch workflows/slurm-ray.sh ARGUMENTS
#
# ARGUMENTS are those of the command. Inputs, --output and sptx lie on the file system that the nodes share. Lines below
# that begin with #SBATCH hold for GPU nodes; flags of sbatch win over them (on CPU nodes: sbatch --gpus-per-node=0 ...).
#
# Shortly before the time limit the run is stopped and the job is queued again, as Slurm does when the job is preempted
# or loses its first node. The run then goes on where it was, up to SPTX_RESTARTS (50) times.
#
# Without containers: make the virtual environment on the shared file system (on a login node, if the nodes have no
# internet) and activate it before sbatch. Give --checkpoint as a file, since a hub id would be looked up on a node.
# With Apptainer: apptainer build sptx.sif docker-archive:sptx.tar, and
#
#     SPTX_IMAGE=/shared/sptx.sif sbatch workflows/slurm-ray.sh ARGUMENTS
#
# Nodes that have not joined within SPTX_JOIN_SECONDS (300) are named, and the run begins without them.
#SBATCH --job-name=sptx
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --no-kill
set -euo pipefail

say() { echo "slurm-ray: $*" >&2; }
fail() {
    say "$*"
    exit 3 # unfinished, as `sptx run` ends
}
in_use() { (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null; }

end_all() {
    # shellcheck disable=SC2046 # a word each
    kill $(jobs -p) 2> /dev/null || true
}

near_limit=0 driver='' joining=$$
trap 'near_limit=1; [[ -z $driver ]] || kill -TERM "$driver" 2> /dev/null || true' USR1
trap end_all EXIT

join_seconds=${SPTX_JOIN_SECONDS:-300}
inside=()
[[ -z ${SPTX_IMAGE:-} ]] || inside=(apptainer exec --nv "$SPTX_IMAGE")

# Port, token and folder are the job's own, so that the clusters of two jobs never meet. Linux itself gives no port below
# 32768 away.
head=$SLURMD_NODENAME # where a batch script runs is the first node of its job
known=$(scontrol show --oneliner node "$head" | sed 's/.* NodeAddr=\([^ ]*\).*/\1/')
ip=$(getent ahostsv4 "$known" | awk '{print $1; exit}') || fail "no address is known of $known, which Slurm says $head is"
port=$((20000 + SLURM_JOB_ID % 10000))
while in_use "$ip" "$port"; do port=$((port + 1)); done
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
RAY_AUTH_TOKEN=$(random 32)
# A name that nobody can guess, in the system's own temporary folder: Ray's sockets need a short path.
FOLDER=$(TMPDIR='' mktemp --dry-run -t "sptx-$SLURM_JOB_ID-XXXXXXXX")
export RAY_AUTH_TOKEN FOLDER RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun does not inherit it

# Only the plan's rows pass through the object store. Worker ports of 0 are any free ones.
start=("${inside[@]}" ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory=200000000
    --min-worker-port=0 --max-worker-port=0 --disable-usage-stats)
# Errors go to the job's log, the rest to a log of each node.
on_node='mkdir -p -m 700 "$FOLDER"; exec "$@" --labels="slurm-node=$SLURMD_NODENAME" > "$FOLDER/$SLURMD_NODENAME.log"'
say "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)): Ray's head on $head at $ip:$port, its logs in $FOLDER"
srun --label --nodes=1 --ntasks=1 --nodelist="$head" bash -c "$on_node" ray \
    "${start[@]}" --head --node-ip-address="$ip" --port="$port" --include-dashboard=false --temp-dir="$FOLDER" &
ray_head=$!
until in_use "$ip" "$port"; do
    kill -0 "$ray_head" 2> /dev/null || fail "Ray's head has not started on $head; the lines above say why"
    ((SECONDS < join_seconds)) || fail "Ray's head does not answer at $ip:$port after $join_seconds s"
    sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others)); then
    srun --label --nodes="$others" --ntasks="$others" --exclude="$head" --kill-on-bad-exit=0 --no-kill \
        bash -c "$on_node" ray "${start[@]}" --address="$ip:$port" &
    joining=$!
fi

# How many actors there are is reckoned from the nodes that have joined.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
refused="the cluster at $ip:$port has ended or does not know this job's token; logs of Ray are in $FOLDER on $head"
"${inside[@]}" python - "$ip:$port" "$join_seconds" "$joining" "${nodes[@]}" << 'PYTHON' || fail "$refused"
import os, sys, time, ray

address, seconds, joining, *nodes = sys.argv[1:]
ray.init(address=address, logging_level="ERROR", log_to_driver=False)
deadline = time.monotonic() + int(seconds)
while True:
    joined = {node["Labels"].get("slurm-node") for node in ray.nodes() if node["Alive"]}
    missing = [node for node in nodes if node not in joined]
    # All of a step's tasks have failed when its srun has ended.
    if not missing or time.monotonic() >= deadline or not os.path.exists(f"/proc/{joining}"):
        break
    time.sleep(1)
late = f"; going on without {', '.join(missing)}" if missing else ""
print(f"slurm-ray: {len(nodes) - len(missing)} of {len(nodes)} nodes joined{late}", file=sys.stderr)
PYTHON

end_of_run() {
    code=0
    wait "$driver" || code=$?
}
code=3
if ((!near_limit)); then
    "${inside[@]}" sptx "${SPTX_COMMAND:-run}" --address "$ip:$port" --shared-output "$@" &
    driver=$!
    end_of_run
    ((!near_limit)) || end_of_run # the first wait ended with the signal
fi
trap '' USR1
if ((near_limit && code)); then
    [[ -n $driver ]] || fail "the time limit leaves no time for a run: ask for more (sbatch --time=...)"
    ((${SLURM_RESTART_COUNT:-0} < ${SPTX_RESTARTS:-50})) || fail "begun again ${SLURM_RESTART_COUNT} times (SPTX_RESTARTS)"
    say "the time limit is near: job $SLURM_JOB_ID is queued again and goes on where it was"
    scontrol requeue "$SLURM_JOB_ID" || fail "it could not be queued again: submit it once more, and it goes on"
    sleep 60 # within which Slurm ends this script
fi
kill -0 "$ray_head" 2> /dev/null || say "Ray's head on $head has ended; its logs are in $FOLDER"
if ((!code)); then # logs of a run that failed stay
    end_all
    wait
    timeout 60 srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" rm -rf "$FOLDER" || true
fi
exit "$code"
