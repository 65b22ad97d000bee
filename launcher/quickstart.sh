#!/bin/sh
# From a fresh clone to a trained network, in one command.
#
#   launcher/quickstart.sh [--prefix DIR] [--yes]
#       installs the packages that are missing, builds dltrain, installs it under DIR (default ~/.local),
#       trains a small network on made data, and says where the results are
#   launcher/quickstart.sh --packages GROUP[,GROUP] [--yes]
#       only installs packages: the groups of launcher/packages.txt (build, test, python, ci)
#
# Packages are installed with apt when this is run by root or by a user with sudo; otherwise the one line to run
# is printed. --yes: do not ask before sudo. Interrupted, it can be run again.
set -eu

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }
say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: error: %s\n' "$*" >&2; exit 1; }

root=$(cd "$(dirname "$0")/.." && pwd -P)
prefix=${HOME:-/usr/local}/.local
groups=build,test,python
only_packages=false
yes=false
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) [ $# -ge 2 ] || die "--prefix needs a folder"; prefix=$2; shift ;;
    --prefix=*) prefix=${1#*=} ;;
    --packages) [ $# -ge 2 ] || die "--packages needs a list of groups"; groups=$2; only_packages=true; shift ;;
    --yes | -y) yes=true ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
    esac
    shift
done
case $prefix in
/*) ;;
*) prefix=$PWD/$prefix ;;
esac

# Packages of the wanted groups that dpkg does not know as installed, one a line.
missing_packages() {
    awk -v groups=",$groups," '!/^#/ && NF && index(groups, "," $2 ",") {print $1}' "$root/launcher/packages.txt" |
        while read -r package; do
            dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep '^install ok installed' >/dev/null ||
                say "$package"
        done
}

# why PACKAGE...: each with what it is for.
why() {
    for package in "$@"; do
        awk -v p="$package" '$1 == p {$2 = ""; print "    " $0}' "$root/launcher/packages.txt"
    done
}

# can_sudo: may this user become root? Asks for a password only on a terminal, and says so first.
can_sudo() {
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null && return 0
    [ -t 0 ] || return 1
    if ! $yes; then
        printf 'Installing packages needs root. Press Enter to use sudo, or type n: '
        read -r answer
        case $answer in [nN]*) return 1 ;; esac
    fi
    sudo -v
}

install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "This is not Debian or a relative of it: please install what launcher/packages.txt lists yourself."
        return 0
    fi
    missing=$(missing_packages | tr '\n' ' ')
    if [ -z "$missing" ]; then
        say "All packages are there."
        return 0
    fi
    say "Missing packages:"
    # shellcheck disable=SC2086
    why $missing
    line="apt-get update && apt-get install -y --no-install-recommends $missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if can_sudo; then
            say "Installing them with sudo: only apt-get runs as root, nothing else does."
            as_root=sudo
        else
            say ""
            say "They cannot be installed from here: neither root nor sudo. Have this run as root, then start again:"
            say ""
            say "    $line"
            exit 1
        fi
    else
        say "Installing them with apt-get, as root."
    fi
    export DEBIAN_FRONTEND=noninteractive
    # An interrupted dpkg run is finished first.
    $as_root dpkg --configure -a || true
    $as_root apt-get -q update || say "apt-get update failed; trying with the package lists that are there."
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 install -y --no-install-recommends \
        $missing ||
        die "apt-get failed; its message is above. The line was: $line"
}

# A folder of this user for what is written: the source tree, or one under the home folder.
working_folder() {
    for folder in "$root" "$HOME/dltrain-quickstart"; do
        mkdir -p "$folder" 2>/dev/null || continue
        for part in "$folder" "$folder/build" "$folder/runs" "$folder/runs/quickstart"; do
            if [ -e "$part" ] && [ ! -w "$part" ]; then
                continue 2
            fi
        done
        say "$folder"
        return 0
    done
    die "neither $root nor $HOME/dltrain-quickstart can be written by $(id -un)"
}

# build_and_install WORK: quiet, with a log; its end is shown when something fails.
build_and_install() {
    log=$1/build/quickstart.log
    mkdir -p "$1/build"
    if ! sh "$root/launcher/build.sh" "$1/build" -DDLTRAIN_TESTS=OFF >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "the build failed; the whole log is $log"
    fi
    cmake --install "$1/build" --prefix "$prefix" >>"$log" 2>&1 ||
        die "cannot install under $prefix (see $log); choose another folder with --prefix DIR"
    [ -x "$prefix/bin/dltrain" ] || die "$prefix/bin/dltrain is not there after the installation; see $log"
    say "Installed $prefix/bin/dltrain: $("$prefix/bin/dltrain" --version)"
}

# train_example: two ranks on made digits. mpirun refuses more ranks than cores unless told otherwise.
train_example() {
    if [ "$(id -u)" -eq 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    mpi=
    mpirun -np 2 true >/dev/null 2>&1 || mpi=--oversubscribe
    say "mpirun${mpi:+ $mpi} -np 2 dltrain configs/mnist_cnn.yaml train.epochs=2 run.dir=runs/quickstart"
    # shellcheck disable=SC2086
    mpirun $mpi -np 2 "$prefix/bin/dltrain" "$root/configs/mnist_cnn.yaml" train.epochs=2 run.dir=runs/quickstart ||
        die "the training run failed; its messages are above"
}

# last_value KEY: a number of the run's last metrics line.
last_value() {
    tail -n 1 runs/quickstart/metrics.jsonl | sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p"
}

step "Packages"
install_packages
if $only_packages; then
    exit 0
fi

started=$(date +%s)
step "Building (a minute or so)"
work=$(working_folder)
build_and_install "$work"

step "Training a small network on 2 ranks, on digits that dltrain draws itself"
cd "$work"
train_example

step "Done in $(($(date +%s) - started)) s after the packages"
say "Trained configs/mnist_cnn.yaml for 2 epochs on 2 ranks: test accuracy $(last_value test_accuracy)."
say "Results: $work/runs/quickstart (metrics.jsonl: all numbers; weights.h5: the trained weights; log.txt)"
if [ "$(id -u)" -eq 0 ]; then
    say ""
    say "mpirun refuses to run as root unless this is in the environment:"
    say "    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
fi
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*)
    say ""
    say "$prefix/bin is not on your PATH. Add this line to your shell's profile (~/.profile):"
    say "    export PATH=\"$prefix/bin:\$PATH\""
    ;;
esac
say ""
say "What to try next, in $work:"
say "    dltrain eval runs/quickstart                       evaluate the trained weights again"
say "    dltrain check $root/configs/mnist_cnn.yaml   layers, parameters, memory"
say "    dltrain help config                                every key of a configuration"
say "    tests/run.sh --quick                               the short tests (in $root)"
