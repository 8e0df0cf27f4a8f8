#!/bin/bash
# Make one environment a peer, since their pins exclude each other: environments.sh DIR [huggingface|mosaic|llamafactory …]
# About 1.3 GB each with a CPU build of torch. A further index for such a build: PIP_EXTRA_INDEX_URL=URL. PYTHON=/path/to/python3.11
set -euo pipefail

into=${1:?which folder: environments.sh DIR [NAME …]}
shift
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3.11}

for name in "${@:-huggingface mosaic llamafactory}"; do
    for each in $name; do
        bin=$into/$each/bin/python
        test -x "$bin" || "$python" -m venv "$into/$each"
        # pip as Python 3.11 brings it walks some of these pins back by years.
        "$bin" -m pip install --quiet --upgrade pip
        "$bin" -m pip install --quiet -r "$here/$each.txt"
        case $each in  # these ask for torchvision, torchaudio or clouds that reading text from a disk does without
            mosaic) "$bin" -m pip install --quiet --no-deps mosaicml-streaming==0.13.0 ;;
            llamafactory) "$bin" -m pip install --quiet --no-deps llamafactory==0.9.5 ;;
        esac
        "$bin" -m pip freeze > "$into/$each.freeze.txt"
        echo "$each: $(du -sh "$into/$each" | cut -f1) in $into/$each"
    done
done
