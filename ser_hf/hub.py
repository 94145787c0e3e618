"""To the Hub: a checkpoint that has proved that it loads elsewhere, pushed as one commit.

Nothing is pushed before it was loaded, by a bare `pipeline` in a fresh process, and gave the scores of its training.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import httpx2  # what huggingface_hub speaks HTTP with; its errors come through
import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from . import bare_pipeline
from .audio import SAMPLING_RATE
from .errors import HubError, ModelError
from .reference import REFERENCE_FILE, TOLERANCE, read_reference_scores, synthetic_clip

logger = logging.getLogger(__name__)

# What a published checkpoint may hold: never the Trainer's state, never a pickle.
CHECKPOINT_FILES = (
    "config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", "*.py", "README.md",
    "*.png", "metrics.json", "classification_report.txt", "predictions.csv", REFERENCE_FILE,
)  # fmt: skip
REQUIRED_FILES = (
    "config.json", "preprocessor_config.json", "*.safetensors", "*.py", "README.md", "metrics.json", "curves.png",
    "confusion_matrix.png",
)  # fmt: skip
LOADING_SECONDS = 600  # after which loading in a fresh process counts as failed
CARD_PLACEHOLDER = 'model="."'  # the card's snippet, before the checkpoint has a name


@dataclass(frozen=True)
class Verification:
    """What loading elsewhere showed: number of weights, largest difference of a score, ways in which it was heard."""

    weights: int
    difference: float
    ways: list[str]

    def __str__(self) -> str:
        ways = ", ".join(self.ways)
        tried = "" if "from a file" in self.ways else " (no ffmpeg here: not tried from a file)"
        return (
            f"loaded in a fresh process, without this repository and without network: {self.weights} weights, all of "
            f"them from the file; scores {ways} equal to within {self.difference:.0e}{tried}"
        )


def stage_checkpoint(checkpoint: str | Path, folder: Path, repo_id: str) -> bool:
    """Copies what is published of `checkpoint` to `folder`, its card naming `repo_id`.

    Returns:
        whether the reference scores were missing and had to be made from the files themselves.

    Raises:
        ModelError: the folder is no checkpoint, or lacks what has to be published with it.
    """
    checkpoint = Path(checkpoint)
    if not (checkpoint / "config.json").is_file():
        what = "has no config.json" if checkpoint.is_dir() else "is not a folder"
        raise ModelError(f"{checkpoint} {what}, so it is no checkpoint; give the folder that finetune/train.py wrote.")
    lacking = [name for name in REQUIRED_FILES if not any(checkpoint.glob(name))]
    if lacking:
        raise ModelError(
            f"The checkpoint {checkpoint} lacks {', '.join(lacking)}: nothing is published without its code, its card "
            "and its figures. Give the folder that finetune/train.py wrote."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKPOINT_FILES:
        for path in checkpoint.glob(name):
            shutil.copyfile(path, folder / path.name)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8").replace(CARD_PLACEHOLDER, f'model="{repo_id}"')
    card.write_text(text.replace('  # "." is a copy of this folder', ""), encoding="utf-8")
    _, made_now = read_reference_scores(folder)
    return made_now


def verify_checkpoint(folder: str | Path) -> Verification:
    """Loads a checkpoint by a bare `pipeline` in a fresh process and compares its scores with the reference.

    Raises:
        ModelError: it does not load there, a weight is not from the file, or a label or a score differs.
    """
    folder = Path(folder).resolve()
    reference, _ = read_reference_scores(folder)
    clips = [synthetic_clip(**clip) for clip in reference["clips"]]
    with tempfile.TemporaryDirectory() as elsewhere:
        arguments = [str(folder), "clips.npz"]
        np.savez(Path(elsewhere) / "clips.npz", *clips)
        if shutil.which("ffmpeg"):
            _write_wav(Path(elsewhere) / "clip.wav", clips[0])
            arguments.append("clip.wav")
        answer = _run_elsewhere([str(Path(bare_pipeline.__file__).resolve()), *arguments], elsewhere)
    for fault, keys in (
        ("not in the file, so that they would be random", answer["missing"]),
        ("in the file and have no place in the model", answer["unexpected"]),
        ("of another shape in the file", answer["mismatched"]),
    ):
        if keys:
            raise ModelError(
                f"The checkpoint {folder.name} was not published: {len(keys)} weights are {fault} (the first is "
                f"'{keys[0]}'). Save it again with the code that it was trained with."
            )
    difference = max(
        _difference(expected, found, way)
        for way, clips_found in answer["scores"].items()
        for expected, found in zip(reference["scores"], clips_found, strict=False)
    )
    return Verification(answer["weights"], difference, list(answer["scores"]))


def _difference(expected: dict[str, float], found: dict[str, float], way: str) -> float:
    """The largest difference of a score; a `ModelError` where label or scores are not the same."""
    apart = max((abs(expected[name] - found.get(name, 1e9)) for name in expected), default=0.0)
    first, then = max(expected, key=expected.get), max(found, key=found.get)
    same_label = first == then or abs(expected[first] - expected.get(then, 1e9)) <= TOLERANCE  # a tie is no difference
    if set(expected) != set(found) or apart > TOLERANCE or not same_label:
        raise ModelError(
            f"The checkpoint was not published: {way}, a bare pipeline says {then} ({found[then]:.4f}) where training "
            f"said {first} ({expected[first]:.4f}). If the files were changed on purpose, delete {REFERENCE_FILE}."
        )
    return apart


def _run_elsewhere(arguments: list[str], folder: str) -> dict:
    """The JSON that a program prints which sees neither this repository nor what the user has cached or set."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_", "TRANSFORMERS_"))
    }
    environment = kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": folder, "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-I", "-W", "ignore", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LOADING_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"The checkpoint was not published: after {LOADING_SECONDS} s it was still loading."
        ) from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ModelError(f"The checkpoint was not published: a bare pipeline cannot load it ({reason[0]}).")
    return json.loads(done.stdout.splitlines()[-1])


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLING_RATE, len(samples), "NONE", ""))
        file.writeframes(np.round(samples * 2**15).astype("<i2").tobytes())


def full_repo_id(repo_id: str, token: str | None = None) -> str:
    """`repo_id` with its owner, after asking the Hub who is there: a mistake is told before anything long begins.

    Raises:
        HubError: the name is not one, there is no token or a wrong one, or the Hub cannot be reached.
    """
    with hub_errors(repo_id):
        validate_repo_id(repo_id)
        if token is None and get_token() is None:
            raise HubError(
                "There is no Hugging Face token: log in with `hf auth login`, or set HF_TOKEN to one that may write "
                "(https://huggingface.co/settings/tokens)."
            )
        user = HfApi().whoami(token=token)["name"]
    return repo_id if "/" in repo_id else f"{user}/{repo_id}"


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    own_files: tuple[str, ...],
    mark: str,
    repo_type: str = "model",
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """All files of `folder` → the Hub, as one commit: whatever happens, the repository is as before or complete.

    Args:
        own_files: patterns of what this program publishes; such files from an earlier push that are not in `folder`
            are deleted in the same commit.
        mark: pattern of a file by which a repository is known as pushed by this program.
        revision: the branch, made if there is none; `main` by default.

    Returns:
        the commit's address.

    Raises:
        HubError: no network, no right, or the name is taken by something else.
    """
    api = HfApi(token=token)
    branch = revision or constants.DEFAULT_REVISION
    with hub_errors(repo_id):
        api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        there = set(api.list_repo_files(repo_id, repo_type=repo_type, revision=branch)) - {".gitattributes"}
        if there - {"README.md"} and not any(fnmatch(name, mark) for name in there):
            raise HubError(
                f"The name {repo_id} is taken by something that this program did not push ({len(there)} files, among "
                f"them {min(there - {'README.md'})}): choose another name, or delete that repository first."
            )
        here = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        stale = [name for name in there - set(here) if any(fnmatch(name, pattern) for pattern in own_files)]
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, path) for name, path in here.items()),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message=f"Upload {'checkpoint' if repo_type == 'model' else repo_type} with ser_hf",
            repo_type=repo_type,
            revision=branch,
        )
    return commit.commit_url


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """What the clients raise → one sentence."""
    try:
        yield
    except HFValidationError as error:
        raise HubError(
            f"'{repo_id}' is no name of a repository: give owner/name, of letters, digits, '-', '_' and '.'."
        ) from error
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set, so the Hub cannot be reached: unset it to push.") from error
    except (HfHubHTTPError, httpx2.HTTPError, RuntimeError, OSError, ValueError) as error:
        # An upload that breaks off comes as a RuntimeError around what happened.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise HubError(_reason(cause, repo_id)) from error


def _reason(error: BaseException, repo_id: str) -> str:
    response = getattr(error, "response", None)
    if response is None:
        detail = str(error).strip().splitlines()
        what = f"{type(error).__name__}{': ' + detail[0] if detail else ''}"
        if isinstance(error, ValueError):
            return f"The Hub does not take this for {repo_id}: {' '.join(detail)}"
        return (
            f"The connection to {constants.ENDPOINT} failed ({what}): nothing was changed in {repo_id}. Run the same "
            "command again when there is a network."
        )
    said = getattr(error, "server_message", None) or f"{response.status_code} {response.reason_phrase}"
    if response.status_code == 401:
        return f"The Hub does not accept the token ({said}): log in again with `hf auth login`, or set HF_TOKEN anew."
    if response.status_code in (403, 404):
        return (
            f"The name {repo_id} is taken by someone else, or your token may not write there ({said}): choose a name "
            "under your own account, or use a token with the right to write."
        )
    return f"The Hub refused {repo_id} ({said}): nothing was changed there. Try again later."


def destination(repo_id: str, token: str | None, dry_run: Path | None) -> str:
    """The name in full, where the token may push to it; for a dry run, a name that the Hub would take.

    Raises:
        HubError: see `full_repo_id`; a name that cannot be, or a folder that is not empty.
    """
    if dry_run is None:
        return full_repo_id(repo_id, token)
    require_empty(dry_run)
    with hub_errors(repo_id):
        validate_repo_id(repo_id)
    return repo_id


def push_checkpoint(
    checkpoint: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    dry_run: Path | None = None,
    token: str | None = None,
    say: Callable[[str], object] = logger.info,
) -> str:
    """Stages a checkpoint, loads it elsewhere, and pushes it as one commit; with `dry_run`, leaves it in that folder.

    Returns:
        the commit's address, or the folder.

    Raises:
        HubError, ModelError: see `full_repo_id`, `stage_checkpoint`, `verify_checkpoint` and `push_folder`.
    """
    repo_id = destination(repo_id, token, dry_run)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        if stage_checkpoint(checkpoint, folder, repo_id):
            say(f"{REFERENCE_FILE} was not there: made now from the files, which training can no longer vouch for")
        say(f"{checkpoint}: {describe_files(folder)}")
        say(str(verify_checkpoint(folder)))
        if dry_run is not None:
            shutil.copytree(folder, dry_run, dirs_exist_ok=True)
            say(f"{dry_run} is what would be pushed to {repo_id}; nothing was pushed")
            return str(dry_run)
        address = push_folder(
            folder, repo_id, own_files=CHECKPOINT_FILES, mark=REFERENCE_FILE, private=private, revision=revision,
            token=token,
        )  # fmt: skip
    say(f"pushed: {address}")
    return address


def require_empty(folder: Path) -> None:
    """Raises a `HubError` where a dry run would mix its files with others."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HubError(f"The folder {folder} is there already and not empty: give a new one to --dry-run.")


def describe_files(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB"


def plan_push(training_args) -> Callable[[Path], object] | None:
    """What `push_to_hub` in a training configuration asks for: a function of the checkpoint, to be called at the end.

    The name, the token and the network are checked now, before hours of training; the Trainer's own push, which
    verifies nothing, is switched off. None where no push is asked for.

    Raises:
        HubError: see `full_repo_id`.
    """
    if not training_args.push_to_hub:
        return None
    wanted = training_args.hub_model_id or Path(training_args.output_dir).name
    options = {
        "private": bool(training_args.hub_private_repo),
        "revision": training_args.hub_revision,
        "token": training_args.hub_token,
    }
    training_args.push_to_hub = False
    for name in ("hub_model_id", "hub_private_repo", "hub_revision", "hub_token"):
        setattr(training_args, name, None)
    repo_id = full_repo_id(wanted, options["token"])

    def push(checkpoint: Path) -> None:
        try:
            push_checkpoint(checkpoint, repo_id, **options)
        except (HubError, ModelError) as error:
            again = f"python finetune/push_to_hub.py {checkpoint} {repo_id}"
            raise HubError(
                f"The model is trained and lies in {checkpoint}; only the push failed. {error} Then: {again}"
            ) from error

    return push
