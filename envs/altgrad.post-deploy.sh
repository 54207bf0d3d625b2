#!/bin/sh
# Runs in the new environment, from the folder where snakemake was started: the root of the project.
set -eu
python -m pip install --requirement envs/requirements.txt
python -m pip install --no-deps --no-build-isolation --editable .
