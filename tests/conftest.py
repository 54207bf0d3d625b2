"""What every test stands on: no hub, no W&B server, no display, and one thread, set before anything is imported."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")
# One thread: results depend on the number of threads, and the machines that test have few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
