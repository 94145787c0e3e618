"""A corpus → a data set on the Hub: Parquet shards that hold the sound itself, and a card with licence and folds."""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
from datasets import Audio, ClassLabel, Dataset, DatasetInfo, Features, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from .corpora import Corpus
from .errors import DatasetError
from .hub import describe_files, destination, push_folder
from .licenses import card_fields, may_be_passed_on
from .markdown import table
from .splits import choose_protocol, describe, make_folds

logger = logging.getLogger(__name__)

SHARD_BYTES = 500_000_000  # of sound; the Hub's own advice is files well below 5 GB
ROW_GROUP_CLIPS = 100  # what a stream reads at a time
SPLIT = "train"  # the only one: these corpora have none of their own, and `fold` says how to divide them
FOLD_COLUMN = "fold"
SHARDS = "data/train-*-of-*.parquet"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

COLUMNS = {
    "audio": "the recording, byte for byte as in its file",
    "label": "the emotion",
    "speaker": "who speaks",
    "gender": "of the speaker",
    "intensity": "how strongly it was acted",
    "statement": "what is said",
    "repetition": "which take",
    "channel": "speech or song",
    "language": "of the words, ISO 639-1",
    "corpus": "where it is from",
    "file": "name in the original archive",
    "duration": "seconds",
    FOLD_COLUMN: "the fold in which the clip is tested (see below)",
}

CARD = """---
{metadata}
---

# {name}: emotion in speech

{summary}

{citation}

**Licence of the recordings: {license}.** {license_sentence}

## Use

```python
from datasets import Audio, load_dataset

clips = load_dataset("{repo_id}", split="{split}")
clips = clips.cast_column("audio", Audio(decode=False))  # without this, torchcodec decodes
print(clips[0]["speaker"], clips.features["label"].int2str(clips[0]["label"]))
```

With `streaming=True` nothing is downloaded but what is read.

## Columns

{columns}

## Splits

All clips are in `{split}`: the corpus has no split of its own. {folds}

## Emotions

{emotions}
"""


def stage_dataset(corpus: Corpus, folder: Path, repo_id: str, protocol: str | None, shard_bytes: int) -> None:
    """Parquet shards with the sound in them and the data card → `folder`.

    Raises:
        DatasetError: a recording cannot be read, or the corpus cannot be divided by `protocol`.
    """
    dataset, folds = corpus.dataset, "Divide it by speakers, or figures will not hold for new voices."
    if protocol:
        dataset, folds = _with_folds(dataset, *choose_protocol(dataset, protocol)[:2])
    features = Features({**dataset.features, "audio": Audio()})
    (folder / "data").mkdir(parents=True)
    sizes = [_stored_bytes(clip) for clip in dataset["audio"]]
    shards = max(1, -(-sum(sizes) // shard_bytes))
    for number in range(shards):
        path = folder / "data" / f"{SPLIT}-{number:05d}-of-{shards:05d}.parquet"
        _write_shard(dataset.shard(shards, number, contiguous=True), features, path)
    card = dataset_card(corpus, dataset, features, folder, repo_id, folds)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _with_folds(dataset: Dataset, protocol: str, num_folds: int) -> tuple[Dataset, str]:
    """The clips with the column `fold`, and the card's sentences on it."""
    numbers = np.zeros(len(dataset), dtype=np.int64)
    rows = []
    for fold in make_folds(dataset, protocol, num_folds=num_folds, validation_speakers=0):
        numbers[fold.test] = fold.number
        speakers = sorted(set(dataset.select(fold.test)["speaker"])) if "speaker" in dataset.column_names else []
        rows.append([str(fold.number), str(len(fold.test)), ", ".join(speakers)])
    if FOLD_COLUMN in dataset.column_names:
        dataset = dataset.remove_columns(FOLD_COLUMN)
    dataset = dataset.add_column(FOLD_COLUMN, numbers)
    text = (
        f"The column `{FOLD_COLUMN}` divides it: {describe(protocol, num_folds)}. In fold *k* the clips with "
        f"`{FOLD_COLUMN} == k` are the test, the others are for training and validation."
    )
    return dataset, f"{text}\n\n{table(['fold', 'clips', 'test speakers'], rows, text=(2,))}"


def _stored_bytes(clip: dict) -> int:
    try:
        return len(clip["bytes"]) if clip["bytes"] else Path(clip["path"]).stat().st_size
    except OSError as error:
        raise DatasetError(f"The recording {clip['path']} cannot be read ({error.strerror}).") from error


def _write_shard(shard: Dataset, features: Features, path: Path) -> None:
    clips = shard.with_format("arrow")[:]
    position = clips.column_names.index("audio")
    sound = Audio(decode=False).embed_storage(clips["audio"].combine_chunks())
    clips = clips.set_column(position, "audio", sound).select(list(features)).cast(features.arrow_schema)
    pyarrow.parquet.write_table(clips, path, row_group_size=ROW_GROUP_CLIPS)


def dataset_card(corpus: Corpus, dataset: Dataset, features: Features, folder: Path, repo_id: str, folds: str) -> str:
    """The card as Markdown; its header says where the shards are and what is in them."""
    size = sum(path.stat().st_size for path in folder.glob(SHARDS))
    split = SplitInfo(SPLIT, num_bytes=size, num_examples=len(dataset), dataset_name=corpus.name)
    languages = sorted(set(dataset["language"])) if "language" in dataset.column_names else None
    metadata = DatasetCardData(
        pretty_name=corpus.name,
        language=languages,
        task_categories=["audio-classification"],
        tags=["speech-emotion-recognition", "emotion", "audio"],
        size_categories=next((name for limit, name in SIZES if len(dataset) < limit), "n>1M"),
        configs=[{"config_name": "default", "data_files": [{"split": SPLIT, "path": f"data/{SPLIT}-*"}]}],
        **card_fields(corpus.license),
    )
    info = DatasetInfo(features=features, splits=SplitDict({SPLIT: split}), download_size=size, dataset_size=size)
    DatasetInfosDict({"default": info}).to_dataset_card_data(metadata)
    names = dataset.features["label"].names if isinstance(dataset.features["label"], ClassLabel) else []
    counts = Counter(dataset["label"])
    columns = [[f"`{name}`", COLUMNS.get(name, name)] for name in dataset.column_names]
    card = CARD.format(
        metadata=metadata.to_yaml(),
        name=corpus.name,
        summary=corpus.summary,
        citation=corpus.citation,
        license=corpus.license or "not known",
        license_sentence=(
            "It holds for every copy."
            if may_be_passed_on(corpus.license)
            else "This copy was published by its owner, who says that they may."
        ),
        repo_id=repo_id,
        split=SPLIT,
        columns=table(["column", "what it is"], columns, text=(0, 1)),
        folds=folds,
        emotions=table(["emotion", "clips"], [[n, str(counts[i])] for i, n in enumerate(names)], text=(0,)),
    )
    DatasetCard(card)  # fails here, not on the Hub, if the header is not what the Hub reads
    return card


def push_dataset(
    corpus: Corpus,
    repo_id: str,
    *,
    protocol: str | None = None,
    may_redistribute: bool = False,
    private: bool = False,
    revision: str | None = None,
    dry_run: Path | None = None,
    token: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], object] = logger.info,
) -> str:
    """Makes a Hub data set of a corpus and pushes it as one commit; with `dry_run`, leaves it in that folder.

    Args:
        protocol: whose folds the column `fold` numbers, or what comes nearest to it; None: no such column.
        may_redistribute: the owner of the copy says that it may be published, whatever the licence.

    Returns:
        the commit's address, or the folder.

    Raises:
        DatasetError: the licence does not let a copy be passed on, or a recording cannot be read.
        HubError: see `full_repo_id` and `push_folder`.
    """
    if not may_be_passed_on(corpus.license) and not may_redistribute:
        raise DatasetError(
            f"The licence of {corpus.name}, {corpus.license or 'not known'}, does not let a copy of it be published. "
            "If you own it, name its licence with --license; if its owner allows it, say so with --i_may_redistribute."
        )
    repo_id = destination(repo_id, token, dry_run)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "dataset"
        stage_dataset(corpus, folder, repo_id, protocol, shard_bytes)
        say(f"{corpus.name}, {corpus.license or 'licence not known'}: {describe_files(folder)}")
        if dry_run is not None:
            shutil.copytree(folder, dry_run, dirs_exist_ok=True)
            say(f"{dry_run} is what would be pushed to {repo_id}; nothing was pushed")
            return str(dry_run)
        address = push_folder(
            folder, repo_id, own_files=(SHARDS,), mark=SHARDS, repo_type="dataset", private=private,
            revision=revision, token=token,
        )  # fmt: skip
    say(f"pushed: {address}")
    return address
