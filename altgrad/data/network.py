"""One question, answered within seconds: is a server there?

Libraries that download wait and retry for up to half a minute, or for ever, where there is no network. They are asked
only once a server has answered.
"""

import threading
import urllib.error
import urllib.request

from altgrad.errors import NetworkError

PROBE_TIMEOUT_S = 3.0
"""How long a server may take to answer. The lookup of its name, which has no timeout of its own, counts too."""


def require_network(url: str, where: str, missing: str, what_to_do: str) -> None:
    """Return once the server at `url` has answered, with whatever status.

    Proxies are those of the environment.

    Args:
        url: An address on the server.
        where: What is being made, for the error.
        missing: What the network is needed for.
        what_to_do: What works without it.

    Raises:
        NetworkError: Nothing answered within `PROBE_TIMEOUT_S` seconds.
    """
    answered = threading.Event()
    probe = threading.Thread(target=_probe, args=(url, answered), daemon=True)
    probe.start()
    probe.join(PROBE_TIMEOUT_S)
    if not answered.is_set():
        raise NetworkError(where, f"{missing}, and {_host(url)} does not answer", what_to_do)


def _probe(url: str, answered: threading.Event) -> None:
    try:
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:  # an error page is an answer too
        pass
    except (OSError, ValueError):
        return
    answered.set()


def _host(url: str) -> str:
    return url.split("/")[2]
