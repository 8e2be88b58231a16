"""Networks from the Hugging Face Hub, into its own cache (`HF_HOME` moves it): what is there is used without a network."""

from __future__ import annotations

import io
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from .download import FETCH_SECONDS, Progress
from .names import CONFIG, PREPARATION, WEIGHTS

MAX_BYTES = 10**9  # of weights
SPARE_BYTES = 10**9  # that must be left on the disk


def cached_repository(repository: str) -> Path | None:
    """The folder of a repository that is in the cache, else None."""
    found = [try_to_load_from_cache(repository, name) for name in (CONFIG, WEIGHTS)]
    return Path(str(found[0])).parent if all(isinstance(each, str) for each in found) else None


def fetch_repository(repository: str, progress: Progress | None = None) -> Path:
    """The folder of a repository, ORG/NAME, downloaded if it is not in the cache; `progress` may raise to stop that.

    Raises:
        OSError: it cannot be had, is too large, or takes longer than FETCH_SECONDS; one sentence.
    """
    if (folder := cached_repository(repository)) is not None:
        return folder
    watched = _watched(progress, time.monotonic() + FETCH_SECONDS)
    constants.HF_HUB_DISABLE_XET = True  # its transfers heed neither a time limit nor a stop
    try:
        told = hf_hub_download(repository, WEIGHTS, dry_run=True)
        _require_room(repository, told.file_size or 0)
        config = hf_hub_download(repository, CONFIG)
        with suppress(EntryNotFoundError):  # timm's networks have none
            hf_hub_download(repository, PREPARATION)
        hf_hub_download(repository, WEIGHTS, tqdm_class=watched)
    except RepositoryNotFoundError as error:
        raise OSError(f"There is no public repository {repository} on the Hugging Face Hub: check its name.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.HTTPError, TimeoutError) as error:
        raise OSError(
            f"{repository} is not in the cache and could not be downloaded ({_reason(error)}): where it is as a folder, "
            "name that, as local-dir:FOLDER."
        ) from error
    except EntryNotFoundError as error:
        raise OSError(
            f"{repository} has no {WEIGHTS} with a {CONFIG}: weights in other forms, which may run code, are not read."
        ) from error
    except HfHubHTTPError as error:
        raise OSError(f"{repository} could not be downloaded ({_reason(error)}).") from error
    return Path(config).parent


def _require_room(repository: str, size: int) -> None:
    if size > MAX_BYTES:
        raise OSError(f"The weights of {repository} have {size / 1e6:.0f} MB: at most {MAX_BYTES / 1e6:.0f} are taken.")
    place = Path(constants.HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < size + SPARE_BYTES:
        raise OSError(f"There is no room on the disk for the {size / 1e6:.0f} MB of {repository}.")


def _watched(progress: Progress | None, give_up: float) -> Any:
    """A progress bar that draws nothing and ends what takes too long."""

    class Watched(tqdm):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named | {"file": io.StringIO(), "disable": False})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if time.monotonic() > give_up:
                raise TimeoutError(f"it took longer than {FETCH_SECONDS:.0f} s")
            drawn: bool | None = super().update(n)
            if progress is not None:
                progress(int(self.n), int(self.total or 0))
            return drawn

    return Watched


def _reason(error: Exception) -> str:
    """In a few words; the Hub's own sentences have several lines."""
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, LocalEntryNotFoundError):
        return "there is no connection"
    return str(error).strip().splitlines()[0].rstrip(".:") if str(error).strip() else type(error).__name__
