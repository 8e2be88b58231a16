"""The command line: `python -m iscam explain PHOTO...`, `sanity PHOTO...`, `evaluate FOLDER`, `models` and `benchmark`.

Arguments are checked before torch is loaded, so that a wrong one is answered at once.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence

from iscam import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 only if all of it was done, 130 if it was interrupted, else 2.

    To evaluate is to measure the photos that can be measured: it is done if there is one.
    """
    options = cli.make_parser().parse_args(arguments)
    try:
        match options.command:  # each command is loaded when it is asked for
            case "explain":
                return cli.explain_photos(options)
            case "sanity":
                return cli.check_sanity(options)
            case "evaluate":
                return cli.evaluate_photos(options)
            case "models":
                return cli.list_models(options)
            case _:
                return cli.run_benchmark(options)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except Exception as error:  # whatever it is: who runs a command gets a sentence
        cli.complain(f"python -m iscam {options.command}: {cli.sentence_of(error)}")
        if options.debug:
            traceback.print_exception(error)
        return 2


def command() -> int:
    """The program: `python -m iscam`, and `iscam` where the package is installed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name that it cannot encode ends no run
    return main()


if __name__ == "__main__":
    sys.exit(command())
