#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Measures a session on a Slurm cluster: an array of jobs, each of which measures one part of the table, and a last job
# that makes up for parts that died and writes index.json and summary.csv. docs/cluster.md says more.
set -euo pipefail

usage() {
    cat <<'END'
Usage: slurm.sh [options] SESSION.csv -o RESULTS [-- options of 'mroscope batch']

Submits one array of jobs and one job that gathers. Submit the same again to go on after trouble: what is finished
is not measured again.

  -o, --output DIR     folder of the results; all nodes have to see it, and the images
      --parts N        jobs of the array (default: one for every 8 files to measure, at most 16)
      --cpus N         processors of each job (default 8)
      --memory SIZE    memory of each job, such as 16G (default: 2G for each processor)
      --gres LIST      generic resources of each job, such as gpu:1; then '--device cuda' is given to mroscope
      --time LIMIT     time of each job, as sbatch writes it (default: that of the partition)
      --sbatch OPTION  an option for sbatch, such as --sbatch --account=me; can be given several times
      --program FILE   mroscope itself (default: $MROSCOPE_PROGRAM, else the one that is found first)
      --wait           come back when all is done, with the exit code of the last job
      --dry-run        print what would be submitted

Example
  tools/cluster/slurm.sh day/session.csv -o results --time 2:00:00 -- --kv 200 --mro "--d 0.21"
END
}
wrong() {
    echo "slurm.sh: $*" >&2
    exit 2
}

output='' parts='' cpus=8 memory='' gres='' limit='' program=${MROSCOPE_PROGRAM:-} wait=no dry=no session=''
site=()
while [ $# -gt 0 ]; do
    case $1 in
    --*=*) # --memory=16G is --memory 16G
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        continue
        ;;
    -o | --output | --parts | --cpus | --memory | --gres | --time | --sbatch | --program)
        [ $# -gt 1 ] || wrong "$1 wants a value"
        case $1 in
        -o | --output) output=$2 ;;
        --parts) parts=$2 ;;
        --cpus) cpus=$2 ;;
        --memory) memory=$2 ;;
        --gres) gres=$2 ;;
        --time) limit=$2 ;;
        --sbatch) site+=("$2") ;;
        --program) program=$2 ;;
        esac
        shift 2
        ;;
    --wait) wait=yes && shift ;;
    --dry-run) dry=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) wrong "'$1' is no option; those of 'mroscope batch' stand behind --" ;;
    *)
        [ -z "$session" ] || wrong "takes one session, but got '$1' as well"
        session=$1 && shift
        ;;
    esac
done
[ -n "$session" ] || wrong "which session? See slurm.sh --help"
[ -n "$output" ] || wrong "needs a folder for the results: -o DIR"
[[ $cpus =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--cpus is '$cpus'; it has to be a number from 1 to 9999"
[ -z "$parts" ] || [[ $parts =~ ^[1-9][0-9]{0,5}$ ]] || wrong "--parts is '$parts'; it has to be a number from 1 to 999999"
[ -n "$memory" ] || memory=$((2 * cpus))G
[[ $memory =~ ^[1-9][0-9]*[KMGT]$ ]] || wrong "--memory is '$memory'; it has to be a size such as 16G"
for option in "$@"; do
    case $option in
    -o | --output | --output=* | --shard | --shard=* | --rows | --rows=* | --gather | --threads | --threads=* | --memory | --memory=*)
        wrong "$option is for this script to give: see slurm.sh --help"
        ;;
    esac
done
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ -n "$program" ] || program=$(command -v mroscope || echo "$here/build/mroscope")
program=$(command -v "$program") || wrong "there is no program mroscope in the PATH; name it with --program FILE"
[ -r "$session" ] || wrong "cannot read '$session'"
session=$(realpath "$session")
program=$(realpath "$program")
output=$(realpath -m "$output")
options=("$@")
[ -z "$gres" ] || options=(--device cuda "${options[@]}")

# Faults of the table are told here, and not by every job.
plan=$("$program" batch "$session" -o "$output" "${options[@]}" --dry-run) || exit 2
left=$(tail -n 1 <<<"$plan" | cut -d' ' -f1)
if [ -z "$parts" ]; then
    parts=$(((left + 7) / 8))
    [ "$parts" -ge 1 ] || parts=1
    [ "$parts" -le 16 ] || parts=16
fi

# The limits of the job, of whichever it was given; some room is left for what is no image.
command=("$program" batch "$session" -o "$output" "${options[@]}")
# job [MORE]: a job that becomes mroscope, which so gets the signals of Slurm and ends orderly when its time is up. When
# it is put into the queue again it goes on where it was.
job() {
    cat <<END
#!/bin/bash
export OMP_NUM_THREADS=\$SLURM_CPUS_PER_TASK
exec $(printf '%q ' "${command[@]}")--threads \$SLURM_CPUS_PER_TASK --memory \$((SLURM_MEM_PER_NODE * 9 / 10))M $*
END
}
resources=(--parsable --ntasks=1 --cpus-per-task="$cpus" --mem="$memory" --requeue --open-mode=append
    --chdir="$(dirname "$session")" "--job-name=mroscope $(basename "$session" .csv)")
[ -z "$gres" ] || resources+=(--gres="$gres")
[ -z "$limit" ] || resources+=(--time="$limit")
resources+=("${site[@]}")
array=("${resources[@]}" --array="1-$parts" --output="$output/slurm/part-%a.txt")
last=("${resources[@]}" --output="$output/slurm/gather.txt")
[ "$wait" = no ] || last+=(--wait)

if [ "$dry" = yes ]; then
    printf '# %s to measure, in %s parts\n' "$left" "$parts"
    printf 'sbatch' && printf ' %q' "${array[@]}" && printf ' <<"END"\n%s\nEND\n' "$(job "--shard \$SLURM_ARRAY_TASK_ID/$parts")"
    printf 'sbatch' && printf ' %q' "${last[@]}" '--dependency=afterany:JOB' && printf ' <<"END"\n%s\nEND\n' "$(job)"
    exit
fi
command -v sbatch >/dev/null || wrong "there is no sbatch here: this has to be started on a login node of the cluster"
mkdir -p "$output/slurm" || exit 2
first=$(sbatch "${array[@]}" <<<"$(job "--shard \$SLURM_ARRAY_TASK_ID/$parts")") || exit 1
first=${first%%;*} # the name of the cluster stands behind it where there are several
echo "$left to measure: job $first in $parts parts; progress: $output/slurm/part-*.txt"
echo "A last job waits for them and writes $output/summary.csv."
# Without --parsable: sbatch tells its number.
sbatch "${last[@]:1}" --dependency="afterany:$first" <<<"$(job)"
