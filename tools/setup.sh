#!/bin/sh
# Makes .venv ready: `sh tools/setup.sh lab` for the notebooks, `demo` in place of `lab` for the pages of `make demo` as
# well, `test` for the tests and all of that.
# A stamp in .venv is written last, so that an interrupted install is never taken for a finished one.
set -eu
cd "$(dirname "$0")/.."

wanted=$1
stamp=".venv/ready-$wanted"
python=.venv/bin/python

# The stamp holds the folder, since a project that was moved has to be installed again, and a checksum of what was
# asked for. Times of files would not do: a clock may be wrong.
state() {
    pwd
    cksum < pyproject.toml
}

ready() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(state)" ] && usable
}

usable() {
    suitable "$python" && "$python" -c 'import pip' 2>/dev/null
}

# Sets `version`; a python that does not start (a shim of pyenv, a stub of macOS) is passed over like a missing one.
suitable() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version="does not start"
    case $version in
        3.10 | 3.11 | 3.12 | 3.13) return 0 ;;
        *) return 1 ;;
    esac
}

# Sets `base`, the machine's own python.
find_python() {
    found="" incomplete=""
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        path=$(command -v "$name") || continue
        if ! suitable "$path"; then
            found="$found
    $path ($version)"
        elif ! "$path" -c 'import venv, ensurepip' 2>/dev/null; then
            incomplete=$version
            found="$found
    $path ($version, but without its venv module)"
        else
            base=$path
            return
        fi
    done
    echo "This course needs Python 3.10, 3.11, 3.12 or 3.13, with its venv module. Found:${found:- no python3 at all.}"
    if [ -n "$incomplete" ]; then
        echo "On Debian and Ubuntu the module is a package of its own: sudo apt install python$incomplete-venv"
    else
        echo "Get one from https://www.python.org/downloads/ or your system's packages, or use conda (see README.md)."
    fi
    echo "Then run the same command again."
    exit 1
} >&2

# A .venv that works is kept, so that a CPU-only torch put there by hand stays.
make_venv() {
    usable && return
    find_python
    echo "Making .venv with $base (Python $version)."
    "$base" -m venv --clear .venv && return
    echo "Could not make .venv: the lines above say why. Nothing of it will be taken for done." >&2
    exit 1
}

# The new stamp is taken at the start of the install: what changes in pyproject.toml meanwhile is not missed.
install() {
    rm -f .venv/ready-lab .venv/ready-demo .venv/ready-test
    state > .venv/started
    echo "Installing what $1 need into .venv. The first time this takes minutes and some gigabytes, most of it torch."
    # Python 3.10 may bring a pip that cannot install a folder in place. With a newer one the first line does nothing.
    if ! { "$python" -m pip install --quiet "pip>=22" && "$python" -m pip install --editable "$2"; }; then
        echo "The install did not finish; pip says why above. If it could not connect: is this machine online?" >&2
        echo "If a certificate is not yet valid, or no longer: is its clock right?" >&2
        echo "Only this step needs the network. Run the same command again: what was downloaded is not lost." >&2
        exit 1
    fi
    cp -p .venv/started .venv/ready-lab
    [ "$wanted" = lab ] || cp -p .venv/started .venv/ready-demo
    [ "$wanted" != test ] || cp -p .venv/started .venv/ready-test
    echo "Set-up done."
}

ready && exit
make_venv
case $wanted in
    test) install "the tests" ".[test]" ;;
    demo) install "the demos" ".[demo]" ;;
    *) install "the notebooks" "." ;;
esac
