#!/bin/sh
# Install shoestring for one purpose: install.sh serve|train|jupyter PACKAGE, where PACKAGE is a wheel or a folder.
# The images do this, and it works in any environment: PYTHON is its interpreter (default: python).
set -eu

purpose=$1 package=$2
python=${PYTHON:-python}
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT

case $purpose in
serve) # without PyTorch: the package alone, and then what serving imports
    "$python" -m pip install --no-deps "$package"
    "$python" -m shoestring.serving.requirements > "$requirements"
    "$python" -m pip install -r "$requirements"
    ;;
train) # TORCH_INDEX is an index of PyTorch's wheels, for example those without CUDA
    if [ -n "${TORCH_INDEX:-}" ]; then
        "$python" -m pip install --index-url "$TORCH_INDEX" torch torchvision
    fi
    "$python" -m pip install "$package[all]"
    ;;
jupyter) # in addition to train
    "$python" -m pip install "$package[all,jupyter]"
    ;;
*)
    echo "usage: install.sh serve|train|jupyter PACKAGE" >&2
    exit 2
    ;;
esac
