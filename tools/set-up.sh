#!/bin/sh
# Makes the environment that `make` uses, or brings it up to date: set-up.sh WANTED VENV
# WANTED is what choose-python.sh takes. Versions are pinned by the file of that Python in constraints/.
set -eu
cd "$(dirname "$0")/.."
venv=$2
python=$(tools/choose-python.sh "$1" "$venv")
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
pins=constraints/python$version.txt
if [ -f "$pins" ]; then
    echo "installing into $venv the versions of $pins"
    set -- --constraint "$pins"
else
    echo "installing into $venv the newest versions that fit: Python $version is experimental, there is no $pins"
    set --
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet "$@" pip setuptools wheel
"$venv/bin/python" -m pip install --quiet "$@" --editable '.[dev]'
