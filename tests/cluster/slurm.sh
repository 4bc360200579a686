#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tools/cluster/slurm.sh on a real Slurm of this one machine, started for the test in a folder of its own and ended
# after it. Needs munge, slurmctld and slurmd (Debian: apt-get install slurm-wlm munge); not part of the test suite.
#   tests/cluster/slurm.sh [PROGRAM]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MROSCOPE_PROGRAM=$(realpath "${1:-${MROSCOPE_PROGRAM:-$here/build/mroscope}}")
MROSCOPE_SAMPLES=$here/samples
export MROSCOPE_PROGRAM MROSCOPE_SAMPLES
PATH=$PATH:/usr/sbin:/sbin
for needed in "$MROSCOPE_PROGRAM" munged slurmctld slurmd sbatch scontrol; do
    command -v "$needed" >/dev/null && continue
    echo "slurm.sh: '$needed' is needed for this test" >&2
    exit 77
done
# shellcheck source=../cli/lib.bash
. "$here/tests/cli/lib.bash"
export TMPDIR=$scratch OMP_WAIT_POLICY=passive

# -- a Slurm of one node ------------------------------------------------------------------------------
daemons=()
stop() {
    local pid
    scancel --me 2>/dev/null && sleep 1
    for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${daemons[@]}"; do wait "$pid" 2>/dev/null; done
    chmod -R u+w "$scratch"
    rm -rf "$scratch"
}
trap stop EXIT
give_up() {
    echo "slurm.sh: $*" >&2
    tail -n 5 "$scratch"/slurm/*.log >&2
    exit 1
}
mkdir -p slurm/state slurm/spool slurm/run
chmod 700 slurm
chmod 755 "$scratch" slurm/run # munge will not have its socket where others can write
chmod 711 slurm
head -c 1024 /dev/urandom >slurm/munge.key
chmod 600 slurm/munge.key
munged --foreground --socket="$scratch/slurm/run/munge" --key-file="$scratch/slurm/munge.key" --pid-file="$scratch/slurm/munged.pid" \
    --log-file="$scratch/slurm/munged.log" --seed-file="$scratch/slurm/munged.seed" --num-threads=1 --force >slurm/munged.txt 2>&1 &
daemons+=($!)
node=$(hostname -s)
free_port() { # two in a row that nobody listens at
    local port
    for port in $(shuf -i 20000-30000 -n 50); do
        ss -ltn 2>/dev/null | grep -qE ":($port|$((port + 1))) " || break
    done
    echo "$port"
}
port=$(free_port)
export SLURM_CONF=$scratch/slurm/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$scratch/slurm/run/munge
CryptoType=crypto/munge
StateSaveLocation=$scratch/slurm/state
SlurmdSpoolDir=$scratch/slurm/spool
SlurmctldPidFile=$scratch/slurm/slurmctld.pid
SlurmdPidFile=$scratch/slurm/slurmd.pid
SlurmctldLogFile=$scratch/slurm/slurmctld.log
SlurmdLogFile=$scratch/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=300
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:1
PartitionName=all Nodes=$node Default=YES MaxTime=60 State=UP OverSubscribe=NO
END
echo "NodeName=$node Name=gpu Count=1 File=/dev/null" >slurm/gres.conf
for _ in $(seq 50); do
    [ -S slurm/run/munge ] && break
    sleep 0.1
done
slurmctld -D -c >slurm/slurmctld.txt 2>&1 &
daemons+=($!)
slurmd -D -N "$node" -c >slurm/slurmd.txt 2>&1 &
daemons+=($!)
for _ in $(seq 150); do
    [[ $(sinfo -h -o %T 2>/dev/null) == idle ]] && break
    sleep 0.2
done
[[ $(sinfo -h -o %T 2>&1) == idle ]] || give_up "Slurm did not start"

# -- a session ------------------------------------------------------------------------------------------
# expect_alike A B: the same results, but for the logs and the paths that the checksums of inputs are kept under
expect_alike() {
    checks=$((checks + 1))
    diff -r -x inputs.json -x slurm "$1" "$2" >diff.txt || fail "$1 and $2 differ: $(head -3 diff.txt)"
}
submit() { # SESSION RESULTS SURROGATES [options]
    "$here/tools/cluster/slurm.sh" "$1" -o "$2" --cpus 1 --memory 500M --time 10 "${@:4}" -- --haadf "--surrogates $3" >out.txt 2>err.txt
    code=$?
}
# when_running NAME PART: waits until a part of the array runs and has begun to measure; its job is left in $job
when_running() {
    for _ in $(seq 300); do
        job=$(squeue -h -r -t running -o '%K %F_%K' | sed -n "s/^$2 //p")
        [ -n "$job" ] && [ -n "$(find "$1/items" -name '*.lock' 2>/dev/null)" ] && return
        sleep 0.1
    done
    fail "part $2 of $1 did not start"
}
# process_of PART FOLDER: the program that measures it
process_of() {
    local p
    for p in /proc/[0-9]*; do
        { tr '\0' ' ' <"$p/cmdline" | grep -q -- "-o $2 .*--shard $1/"; } 2>/dev/null && basename "$p" && return
    done
}
all_done() {
    for _ in $(seq 600); do
        [ -z "$(squeue -h)" ] && return
        sleep 0.2
    done
    fail "jobs are left: $(squeue -h)"
}
mkdir "a day"
echo 'file,state,strain,kind,pixel_nm' >"a day/session.csv"
for i in $(seq 24); do
    head -c $((i * 4000 + 200 * 200)) "$samples/AQ_0_corr.tif" | tail -c 40000 | tiff8 "a day/i$i.tif" 200 200 10 1
    echo "i$i.tif,s$((i % 2)),$((i % 2)),haadf," >>"a day/session.csv"
done
touch -d '1 hour ago' "a day"/*
run batch "$scratch/a day/session.csv" --haadf "--surrogates 299" -o plain
expect_code 0
run batch "$scratch/a day/session.csv" --haadf "--surrogates 2999" -o long
expect_code 0

# Faults are told before anything is submitted.
echo 'none.tif,A,,haadf,' | cat "a day/session.csv" - >"a day/fault.csv"
submit "a day/fault.csv" fault 299
expect_code 2
expect_err "row 26: there is no file 'none.tif'"
expect [ -z "$(squeue -h)" ]
expect [ ! -e fault ]
# What would be submitted; a card is asked of Slurm and of mroscope.
submit "a day/session.csv" results 299 --gres gpu:1 --dry-run
expect_code 0
expect_out "# 24 to measure, in 3 parts"
expect_out "--array=1-3"
expect_out "--gres=gpu:1"
expect_out "--device cuda"
expect [ ! -e results ]

# -- a job array, and the last job that gathers
submit "a day/session.csv" results 299 --parts 4 --wait
expect_code 0
expect_out "24 to measure: job "
for i in 1 2 3 4; do expect grep -q '^6 of 6 measured (6 now, 0 before), 0 failed: ' "results/slurm/part-$i.txt"; done
expect grep -q '^24 of 24 measured (0 now, 24 before), 0 failed: ' results/slurm/gather.txt
expect_alike results plain
# Again: nothing is left to do; and what was measured without Slurm counts.
submit "a day/session.csv" results 299
expect_code 0
all_done
expect_out "0 to measure: job "
expect_alike results plain
run batch "a day/session.csv" --haadf "--surrogates 299" -o mixed --rows 2-12
submit "a day/session.csv" mixed 299 --parts 2
expect_code 0
all_done
expect_out "13 to measure: job "
expect_alike mixed plain

# -- a part that is cancelled, one that is killed, one that is put into the queue again: nothing is lost
submit "a day/session.csv" trouble 2999 --parts 4
expect_code 0
when_running trouble 1
scancel "$job"
when_running trouble 2
victim=$(process_of 2 "$scratch/trouble")
expect kill -9 "$victim"
when_running trouble 3
expect scontrol requeue "$job"
sleep 3 # Slurm itself would wait for two minutes; a start in the same second as the end it takes for the old one
expect scontrol update JobId="$job" StartTime=now
all_done
expect grep -q '^6 of 6 measured (. now, . before), 0 failed: ' trouble/slurm/part-3.txt
expect_not grep -q ' measured (' trouble/slurm/part-1.txt
expect_not grep -q ' measured (' trouble/slurm/part-2.txt
expect grep -q '^24 of 24 measured (.* now, .* before), 0 failed: ' trouble/slurm/gather.txt
expect_alike trouble long
expect [ -z "$(find trouble -name '*.tmp' -o -name '*.lock')" ]
finish
