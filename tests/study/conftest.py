"""A small study, as plain data that a test may change."""

from typing import Any

import pytest


@pytest.fixture
def study_data() -> dict[str, Any]:
    return {
        "study": "small",
        "title": "A small study",
        "corpus": {"name": "synthetic", "source": "synthetic", "tokenizer": "byte"},
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 16},
        "training": {"steps": 20, "batch_size": 4},
        "updates": {
            "adamw": {"optimizer": "manifold_adamw", "geometry_aware": False},
            "manifold": {"optimizer": "manifold_adamw", "metric_power": 0.5, "geometry_aware": True},
        },
        "baseline": {"lrs": [1e-3], "seeds": [1, 2]},
        "grids": [
            {
                "formats": ["E4M3", "E5M2"],
                "updates": ["adamw", "manifold"],
                "storages": ["master", "nearest"],
                "lrs": [1e-3, 2e-3],
                "seeds": [1, 2],
            }
        ],
    }
