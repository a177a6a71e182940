#!/bin/sh
# Start JupyterLab in the current folder, with the notebook of shoestring (in $NOTEBOOKS), if it is not there yet.
set -eu

for notebook in "${NOTEBOOKS:-/notebooks}"/*.ipynb; do
    name=$(basename "$notebook")
    if [ ! -e "$name" ]; then
        cp "$notebook" "$name" || echo "cannot write $name: let user $(id -u) write to $PWD" >&2
    fi
done
exec jupyter lab --ip=0.0.0.0 --port=8888 --no-browser "$@"
