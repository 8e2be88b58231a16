"""Run the app as a Hugging Face Space does, try it through a proxy, and print what was seen.

    python -m tests.rehearsal

It needs the packages of requirements-dev.txt. Exit code 1 if anything did not hold. Nothing leaves the machine; what the Space
itself says is in its log, which is shown then.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .checks import tried
from .space import space


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--package", type=Path, metavar="FOLDER", help="where the real package `spaces` lies; else a stand-in is used"
    )
    package = parser.parse_args().package
    package = None if package is None else package.resolve()  # the app runs in another folder
    if package is not None and not (package / "spaces" / "__init__.py").is_file():
        parser.error(f"there is no package spaces in {package}.")
    with space(package) as here:
        who = "another user" if here.user is not None else "this user"
        print(f"| part | what | expected | observed, as {who} | holds |\n|---|---|---|---|---|", flush=True)
        holds = True
        for row in tried(here, whole=True):
            holds &= row.holds
            print(
                f"| {row.part} | {row.what} | {row.expected} | {row.observed} | {'yes' if row.holds else '**no**'} |",
                flush=True,
            )
        if not holds:
            print((here.folder / "log").read_text(), file=sys.stderr)
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
