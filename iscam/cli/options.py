"""The options of the command line, and how they are read. No torch here: a wrong argument is answered at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from iscam.engine import HEADS, check_device
from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.models import BUNDLED, DEFAULT_MODEL, LITE, MODELS, WORDS, check_key
from iscam.path import DEFAULT_STEPS, MAX_STEPS, PATHS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_ENGINE, DEFAULT_SAMPLES, ENGINES, MAX_SAMPLES, WEIGHTINGS, nearest
from iscam.trust import CEILINGS, CONTROLS, CURVE_STEPS, METRICS

from .values import fraction, html_file, share, three, three_positive, whole

T = TypeVar("T")
TIMED = (BUNDLED, LITE)  # networks that are here without a download
THREADS = 2  # of each process that evaluates, however many there are: their number moves scores by 1e-6


def make_parser() -> argparse.ArgumentParser:
    """All commands with their options; the command's name becomes `command`."""
    program = "iscam" if Path(sys.argv[0]).stem == "iscam" else "python -m iscam"  # as it was called
    parser = argparse.ArgumentParser(prog=program, description="What did this image classifier look at?")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_explain(commands.add_parser("explain", help="explain photos: a figure, the maps and a record for each"))
    listing = commands.add_parser("models", help="list the models with their layers")
    listing.add_argument("name", nargs="?", type=_model, metavar="KEY", help="of this model alone, which is loaded")
    listing.add_argument("--json", action="store_true", help="for programs")
    _add_benchmark(commands.add_parser("benchmark", help="how fast the maps are on this machine, and how exact"))
    _add_evaluate(commands.add_parser("evaluate", help="how faithful the maps are, over a folder of photos"))
    _add_sanity(commands.add_parser("sanity", help="whether maps depend on what was learnt, and are stable"))
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of whatever goes wrong")
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", nargs="+", type=Path, metavar="PHOTO", help="a photo, a pattern, or a folder of photos"
    )
    _add_model(parser)
    parser.add_argument("--target", help="class index or category; default: the most probable class of each photo")
    parser.add_argument("--against", help="a second class: show what speaks for the target rather than for this one")
    _add_rivals(parser)
    parser.add_argument("--signed", action="store_true", help="show what speaks for the rivals too, as negative values")
    parser.add_argument(
        "--contrast",
        metavar="RIVALS",
        help="beside the maps, as on the page: what speaks for the class rather than for these rivals",
    )
    _add_method_settings(parser)
    parser.add_argument("--out", type=Path, default=Path("iscam-out"), metavar="DIR", help="default iscam-out")
    parser.add_argument(
        "--sheet",
        type=html_file,
        nargs="?",
        const=Path(),  # that of the results
        metavar="FILE.html",
        help="all photos on one page beside, to be sorted and filtered in a browser; default sheet.iscam.html in DIR",
    )


def _add_rivals(parser: argparse.ArgumentParser) -> None:
    """Against what the class is held."""
    parser.add_argument(
        "--rivals", help="hold the target against a class, the most probable others (nearest:3), or all others (all)"
    )
    _add_strength(parser)


def _add_strength(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strength", type=share, default=1.0, help="how much of what speaks for the rivals is taken away, 0 to 1"
    )


def _add_method_settings(parser: argparse.ArgumentParser) -> None:
    """The methods and how they are set."""
    parser.add_argument("--methods", type=_methods, default=DEFAULT_METHODS, metavar="KEY,KEY", help=", ".join(METHODS))
    parser.add_argument("--steps", type=whole(1, MAX_STEPS), default=DEFAULT_STEPS, help=f"of IS-CAM, 1 to {MAX_STEPS}")
    parser.add_argument("--path", choices=PATHS, default=PATHS[0])
    parser.add_argument("--weighting", choices=WEIGHTINGS, default=WEIGHTINGS[0])
    _add_numbers(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Which network is asked, at which layer."""
    add_network(parser)
    parser.add_argument("--layer", help="a layer's name; see `models` for sensible ones")
    _add_device(parser)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Which network, of the table or of one's own; see `network.check_network` and `network.wanted`."""
    known = f"default {DEFAULT_MODEL}; see `models`; or any network as {WORDS}, where hf: is for those of transformers"
    parser.add_argument("--model", type=_model, metavar="KEY", help=known)
    parser.add_argument("--arch", help="the torchvision architecture of --checkpoint, or photo11")
    parser.add_argument("--checkpoint", type=Path, help="your own weights (.safetensors, or a torch state dict)")
    parser.add_argument("--labels", type=Path, help="categories of --checkpoint, one per line")
    parser.add_argument("--input-size", type=whole(16, 1024), help="side of the network's input in pixels")
    parser.add_argument(
        "--head",
        choices=tuple(HEADS),
        help="of --checkpoint: one class a photo (softmax, default) or several (sigmoid)",
    )
    parser.add_argument("--mean", type=three, metavar="R,G,B")
    parser.add_argument("--std", type=three_positive, metavar="R,G,B")


def _model(text: str) -> str:
    try:
        check_key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _add_device(parser: argparse.ArgumentParser) -> None:
    """Where the network runs."""
    parser.add_argument(
        "--device", type=_device, default="cpu", help="cpu (default), cuda, cuda:0, mps, or auto: a GPU if there is one"
    )


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    """How the maps are computed."""
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE)
    parser.add_argument(
        "--samples",
        type=whole(1, MAX_SAMPLES),
        default=DEFAULT_SAMPLES,
        help=f"noise samples of SS-CAM and Smooth Grad-CAM++, default {DEFAULT_SAMPLES}",
    )
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)
    parser.add_argument("--tolerance", type=fraction, default=0.01, help="how far a map may be from the exact one")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="FOLDER", help="of photos, of class folders, or a CSV (file, class)"
    )
    parser.add_argument(
        "--grid",
        type=Path,
        metavar="FOLDER",
        help="instead: of its photos in grids of four, where the evidence is known",
    )
    _add_model(parser)
    parser.add_argument(
        "--target", choices=("predicted", "label"), default="predicted", help="the class to explain; default predicted"
    )
    parser.add_argument(
        "--methods",
        type=_measured,
        default=DEFAULT_METHODS,
        metavar="KEY,KEY",
        help=", ".join((*METHODS, *CEILINGS)),
    )
    parser.add_argument(
        "--steps", type=_several(whole(1, MAX_STEPS)), default=(DEFAULT_STEPS,), metavar="N,N", help="of IS-CAM"
    )
    parser.add_argument("--path", type=_several(_one_of(PATHS)), default=PATHS[:1], metavar="KEY,KEY")
    parser.add_argument("--weighting", type=_several(_one_of(WEIGHTINGS)), default=WEIGHTINGS[:1], metavar="KEY,KEY")
    parser.add_argument(
        "--rivals", type=_several(_rivals), default=(None,), metavar="KEY,KEY", help="none, nearest:3, all, or a class"
    )
    _add_strength(parser)
    _add_numbers(parser)
    parser.add_argument("--metrics", type=_metrics, metavar="KEY,KEY", help=", ".join(METRICS))
    parser.add_argument(
        "--curve-steps",
        type=whole(2, 1000),
        default=CURVE_STEPS,
        help=f"of insertion, deletion; default {CURVE_STEPS}",
    )
    parser.add_argument("--limit", type=whole(1, 10**9), help="photos or grids, drawn by --seed; default: all")
    parser.add_argument(
        "--threads", type=whole(1, 1024), default=THREADS, help="of each process; rows depend on it in the sixth digit"
    )
    parser.add_argument("--out", type=Path, default=Path("iscam-evaluation"), metavar="DIR", help="default %(default)s")


def _add_sanity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", nargs="+", type=Path, metavar="PHOTO", help="a photo, a pattern, or a folder of photos"
    )
    _add_model(parser)
    parser.add_argument("--target", help="class index or category; default: the most probable class of each photo")
    _add_rivals(parser)
    _add_method_settings(parser)
    parser.add_argument("--out", type=Path, default=Path("iscam-sanity"), metavar="DIR", help="default %(default)s")
    # maps that are compared are 0 where nothing speaks for the class
    parser.set_defaults(against=None, signed=False, contrast=None)


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", type=_models_named, default=TIMED, metavar="KEY,KEY", help=f"default {','.join(TIMED)}"
    )
    parser.add_argument("--photos", type=Path, default=EXAMPLES, metavar="DIR", help="default: the examples")
    _add_device(parser)
    parser.add_argument("--against", choices=("torchcam",), help="a peer to be timed beside, at its defaults")
    parser.add_argument("--out", type=Path, default=Path("iscam-benchmark"), metavar="DIR", help="default %(default)s")


def _device(text: str) -> str:
    try:
        return check_device(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _models_named(text: str) -> tuple[str, ...]:
    return _keys(text, MODELS, "model")


def _methods(text: str) -> tuple[str, ...]:
    return _keys(text, METHODS, "method")


def _measured(text: str) -> tuple[str, ...]:
    """Methods and ceilings to be measured; controls may be named, and are there in any case."""
    found = tuple(key for key in _keys(text, (*METHODS, *CONTROLS, *CEILINGS), "method") if key not in CONTROLS)
    return found if any(key in METHODS for key in found) else _methods("")


def _metrics(text: str) -> tuple[str, ...]:
    return _keys(text, METRICS, "metric")


def _one_of(table: Collection[str]) -> Callable[[str], str]:
    return lambda text: _keys(text, table, "choice")[0]


def _several(one: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Values with commas between, each but once."""
    return lambda text: tuple(dict.fromkeys(one(part) for part in text.split(",")))


def _keys(text: str, table: Collection[str], noun: str) -> tuple[str, ...]:
    keys = tuple(dict.fromkeys(key.strip() for key in text.split(",") if key.strip()))
    if unknown := [key for key in keys if key not in table]:
        raise argparse.ArgumentTypeError(f"there is no {noun} {unknown[0]!r} (choose from {', '.join(table)})")
    if not keys:
        raise argparse.ArgumentTypeError(f"name at least one {noun}")
    return keys


def _rivals(text: str) -> str | None:
    if text.strip() == "none":
        return None
    try:
        nearest(text.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text.strip()
