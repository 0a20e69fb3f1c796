#!/bin/sh
# Prints the Python that `make` uses: choose-python.sh WANTED VENV
#
# WANTED is a version such as 3.12, a command, or empty. Where it is empty, an environment in VENV keeps its Python, and
# a new one gets the Python with the smallest installation: 3.11, for which Pyserini needs least. What is on PATH comes
# before what pyenv has installed. A candidate has to run, which the shims of pyenv do not always do, and to have venv.
set -u
wanted=$1
venv=$2
supported="3.11 3.12 3.13 3.14"

refuse() {
    echo "$*" >&2
    exit 1
}

# The version of a Python that runs; nothing otherwise.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' < /dev/null 2> /dev/null
}

is_supported() {
    case " $supported " in *" $1 "*) return 0 ;; esac
    return 1
}

makes_environments() {
    "$1" -c 'import ensurepip, venv' < /dev/null 2> /dev/null
}

# Every file of this name on PATH, not only the first.
on_path() {
    (
        IFS=:
        set -f
        for folder in $PATH; do
            if [ -x "$folder/$1" ] && [ ! -d "$folder/$1" ]; then echo "$folder/$1"; fi
        done
    )
}

in_pyenv() {
    root=$(pyenv root 2> /dev/null) || return 0
    for file in "$root/versions/$1".*/bin/python; do
        if [ -x "$file" ]; then echo "$file"; fi
    done
}

# The first of the files on standard input that is a whole Python of this version.
first_of_version() {
    while IFS= read -r file; do
        if [ "$(version_of "$file")" = "$1" ] && makes_environments "$file"; then
            echo "$file"
            return 0
        fi
    done
    return 1
}

# A Python of one of these versions.
search() {
    for version in "$@"; do
        { on_path "python$version"; on_path python3; on_path python; } | first_of_version "$version" && return 0
    done
    for version in "$@"; do
        in_pyenv "$version" | first_of_version "$version" && return 0
    done
    return 1
}

if [ -n "$wanted" ] && is_supported "$wanted"; then
    chosen=$(search "$wanted") ||
        refuse "no Python $wanted with venv was found; install it (Debian: python$wanted and python$wanted-venv)"
elif [ -n "$wanted" ]; then
    version=$(version_of "$wanted")
    [ -n "$version" ] || refuse "PYTHON=$wanted is no Python that runs; name a version ($supported) or a command"
    is_supported "$version" || refuse "PYTHON=$wanted is Python $version; supported are $supported"
    makes_environments "$wanted" || refuse "PYTHON=$wanted lacks venv; install it (Debian: python$version-venv)"
    chosen=$(command -v "$wanted")
fi

if [ -e "$venv/bin/python" ] || [ -h "$venv/bin/python" ]; then
    there=$(version_of "$venv/bin/python")
    [ -n "$there" ] || refuse "the Python in $venv does not run any more; remove $venv, or name another with VENV="
    is_supported "$there" || refuse "$venv is of Python $there; supported are $supported: remove it, or use VENV="
    if [ -n "$wanted" ] && [ "$(version_of "$chosen")" != "$there" ]; then
        refuse "$venv is of Python $there, not $(version_of "$chosen"); remove it, or name another with VENV="
    fi
    chosen="$venv/bin/python"
elif [ -z "$wanted" ]; then
    # shellcheck disable=SC2086  # one argument for each version
    chosen=$(search $supported) ||
        refuse "no Python of $supported with venv was found; install Python 3.11 (Debian: python3.11 and python3.11-venv)"
fi
echo "$chosen"
