# Two hosts on one machine, for test scripts in shell, sourced after common.sh: network namespaces h1 and h2 with names
# of their own, joined by a cable (a veth pair), each with a /dev/shm of its own. Files and processors are shared. All
# of it lies in namespaces of the script's own (processes, mounts, network), which end with it however it ends; nothing
# outside is changed: /etc/hosts is covered inside only.
# shellcheck shell=bash

HOSTS_NET=10.77.0.0/24

# enter_hosts SCRIPT: runs the script again inside, where this returns with both hosts up; skips the test where such
# namespaces cannot be made. Outside it does not return.
enter_hosts() {
    if [ -z "${IN_HOSTS:-}" ]; then
        local own=(unshare --mount --net --pid --fork --kill-child=KILL --mount-proc) code=0
        [ "$(id -u)" -eq 0 ] || own+=(--map-root-user)
        command -v ip nsenter unshare setpriv >why 2>&1 || skip "ip, nsenter, unshare or setpriv is missing"
        "${own[@]}" ip link add eth0 type veth peer name eth1 >why 2>&1 ||
            skip "no network namespaces here: $(head -n 1 why)"
        IN_HOSTS=1 setpriv --pdeathsig KILL "${own[@]}" "$1" || code=$?
        exit "$code"
    fi
    if [ "$(id -u)" -eq 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    printf '127.0.0.1 localhost\n10.77.0.1 h1\n10.77.0.2 h2\n' >hosts
    mount --bind hosts /etc/hosts
    ip link set lo up
    start_host h1
    start_host h2
    ip link add eth0 netns "$(cat h1.pid)" type veth peer name eth0 netns "$(cat h2.pid)"
    local n
    for n in 1 2; do
        on h$n ip link set lo up
        on h$n ip addr add 10.77.0.$n/24 dev eth0
        on h$n ip link set eth0 up
        dead_end h$n
    done
    # mpirun calls it in the place of ssh: HOST COMMAND, words of a shell
    cat >remote <<SH
#!/bin/bash
host=\$1
shift
exec nsenter -t "\$(cat "$PWD/\$host.pid")" --net --uts --mount --ipc -- sh -c "cd '$PWD' && \$*"
SH
    chmod +x remote
    # Neither host knows that the other one uses its processors: without this, ranks that wait in MPI keep them busy.
    export OMPI_MCA_plm_rsh_agent=$PWD/remote OMPI_MCA_mpi_yield_when_idle=1
}

# dead_end HOST: an interface that leads nowhere, with the same address on each host, as docker0 and virbr0 are. Open
# MPI, not told otherwise, takes it for a way between the hosts, and hangs.
dead_end() {
    on "$1" ip link add dock0 type veth peer name dock1
    on "$1" ip addr add 172.17.0.1/16 dev dock0
    on "$1" ip link set dock0 up
    on "$1" ip link set dock1 up
}

# start_host NAME: a process that holds the host's namespaces; its id is in NAME.pid.
start_host() {
    # shellcheck disable=SC2016
    unshare --net --uts --mount --ipc sh -c '
        hostname "$1" && mount -t tmpfs none /dev/shm && echo $$ >"$1.new" && mv "$1.new" "$1.pid" &&
        exec sleep infinity' holder "$1" &
    until [ -s "$1.pid" ]; do
        kill -0 $! || fail "host $1 does not start"
        sleep 0.01
    done
}

# on HOST COMMAND...: in this folder.
on() {
    local host=$1
    shift
    # shellcheck disable=SC2016
    nsenter -t "$(cat "$host.pid")" --net --uts --mount --ipc -- sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "$@"
}

# sent HOST: bytes that its eth0 has sent.
sent() {
    # shellcheck disable=SC2016
    on "$1" awk '$1 == "eth0:" { print $10 }' /proc/self/net/dev
}

# on_hosts HOSTS COMMAND...: mpirun on h1 for a minute at most, over the interfaces that join the hosts.
#     on_hosts h1:2,h2:2 dltrain a.yaml
on_hosts() {
    local hosts=$1
    shift
    on h1 timeout -k 3 60 mpirun --bind-to none --mca btl_tcp_if_include "$HOSTS_NET" \
        --mca oob_tcp_if_include "$HOSTS_NET" -H "$hosts" "$@"
}

# expect_one_message PATTERN: the file err holds one message of dltrain, and it matches.
expect_one_message() {
    [ "$(grep -c 'dltrain: .*error:' err)" -eq 1 ] || { cat err >&2; fail "not exactly one message"; }
    expect_text err "^dltrain: $1"
}
