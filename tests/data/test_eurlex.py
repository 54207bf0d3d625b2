import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altgrad.data import eurlex
from altgrad.errors import CorpusError, NetworkError

READ = """
import json, sys
from pathlib import Path
from altgrad.data import eurlex
from altgrad.errors import AltGradError
from altgrad.study.config import CorpusConfig
config = CorpusConfig(name="x", source="eurlex", tokenizer="byte", revision=sys.argv[2] or None)
try:
    print(json.dumps([document.text for document in eurlex.documents(config, Path(sys.argv[1]))]))
except AltGradError as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


@pytest.fixture
def hub(tmp_path):
    """A hub that serves the three files at the pinned commit, and a function that reads the corpus from it."""
    prefix = f"/datasets/{eurlex.REPOSITORY}/resolve/{eurlex.REVISION}/eurlex/"
    served = {}
    for split in ("test", "train", "validation"):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"text": [f"{split} 1", f"{split} 2"], "labels": [[1], [2, 3]]}), buffer)
        served[f"{prefix}{split}-00000-of-00001.parquet"] = buffer.getvalue()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self, body=False):
            data = served.get(self.path, b"")
            self.send_response(200 if data else 404)
            if data:
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", eurlex.REVISION)
            elif "resolve" in self.path:
                self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def do_GET(self):
            self.do_HEAD(body=True)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hub")}

    def read(revision=""):
        command = [sys.executable, "-c", READ, str(tmp_path / "scratch"), revision]
        environment = os.environ | settings | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    read.close = lambda: (server.shutdown(), server.server_close())
    yield read
    read.close()


def test_all_splits_are_pooled_in_order_and_then_come_from_the_cache(hub):
    expected = [f"{split} {number}" for split in ("train", "validation", "test") for number in (1, 2)]
    assert hub() == expected
    wrong = "0" * 40
    message = hub(wrong)
    assert message.startswith("CorpusError: source eurlex") and f"commit {wrong} does not hold it" in message
    hub.close()
    assert hub() == expected


def test_without_a_network_it_says_what_to_run(corpus_config, tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(NetworkError) as error:
        eurlex.documents(corpus_config(source="eurlex"), tmp_path)
    assert str(error.value) == (
        "source eurlex: coastalcph/lex_glue/eurlex/train-00000-of-00001.parquet: it is not in the hub's cache, "
        "and huggingface.co does not answer. Run `make demo`, which needs no network, "
        "or set source to files and paths to files of your own."
    )


def test_offline_mode_is_named(corpus_config, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(NetworkError, match=r"and HF_HUB_OFFLINE is set\. Unset it\. Run `make demo`"):
        eurlex.documents(corpus_config(source="eurlex"), tmp_path)


def test_only_commits_are_taken(corpus_config):
    assert eurlex.identity(corpus_config(source="eurlex"))["revision"] == eurlex.REVISION
    with pytest.raises(CorpusError, match=r"'main' is not a commit\. Give its 40 hex digits, or leave it out"):
        eurlex.identity(corpus_config(source="eurlex", revision="main"))
