"""Ask the running app, and through it its workers, whether they live: the image's HEALTHCHECK.

``/health`` answers 503 while no worker lives, which urllib raises as an error: Docker reads the
exit code. It asks where the settings say the app listens.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

from core.settings import Settings, service_url

TIMEOUT_S = 8.0


def main() -> int:
    url = f"{service_url(Settings())}/health"
    # The answer is local: a proxy named in the environment must not be asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            sys.stdout.write(answer.read(2000).decode("utf-8", "replace") + "\n")
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"HTTP {error.code}: {error.read(2000).decode('utf-8', 'replace')}\n")
        error.close()
        return 1
    except OSError as error:
        sys.stderr.write(f"no answer: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
