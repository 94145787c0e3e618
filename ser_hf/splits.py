"""Who is in training, validation and test: the protocols behind every figure, and whether they leak speakers.

Only the columns `label`, `speaker`, `gender` and `corpus` are read; no audio is decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from ser_hf.errors import DatasetError

if TYPE_CHECKING:
    from datasets import Dataset

# Fold → test actors of RAVDESS. Source: EmoBox, Ma et al., Interspeech 2024, arXiv 2406.07162.
EMOBOX_TEST_ACTORS = {
    1: (1, 11, 20, 21),
    2: (4, 10, 12, 14),
    3: (8, 9, 19, 23),
    4: (3, 5, 7, 24),
    5: (2, 15, 16, 18),
    6: (6, 13, 17, 22),
}
# Protocol → its number of folds where none is asked for.
PROTOCOLS = {"emobox": len(EMOBOX_TEST_ACTORS), "speaker": 5, "random": 5, "clip": 5}
LEAKY_PROTOCOLS = frozenset({"random", "clip"})
VALIDATION_SHARE = 0.2  # of the training speakers: 4 of the 20 in an EmoBox fold


@dataclass(frozen=True)
class Fold:
    """Row indices of one fold, each list in ascending order; together they are all rows, each once."""

    number: int  # from 1
    train: list[int]
    validation: list[int]
    test: list[int]
    protocol: str = ""  # in words, as `describe` gives them


def choose_protocol(dataset: "Dataset", protocol: str, num_folds: int | None = None) -> tuple[str, int, str]:
    """The protocol that a data set can be divided by: the one asked for, or what comes nearest to it.

    "emobox" names actors of RAVDESS, so another corpus is divided into folds over speakers; of fewer speakers than
    folds, each is a fold; where speakers are not known, clips are divided ("clip"), and so are those of a single one
    ("random").

    Returns:
        protocol, number of folds, and what was changed and why (empty: nothing).

    Raises:
        DatasetError: no such protocol, or a number of folds that it does not have.
    """
    _check_known(protocol)
    asked = protocol
    why = []
    corpora = _corpora(dataset)
    if protocol == "emobox" and corpora != {"ravdess"}:
        protocol = "speaker"
        why.append(f"it names actors of RAVDESS and this is {', '.join(sorted(corpora))}")
    speakers = list(dataset["speaker"]) if "speaker" in dataset.column_names else [None]
    if protocol != "emobox" and not all(speakers):
        protocol = "clip"
        why.append("the speakers are not known")
    elif protocol == "speaker" and len(set(speakers)) == 1:
        protocol = "random"
        why.append("there is one speaker")
    elif protocol == "speaker" and num_folds is None and len(set(speakers)) < PROTOCOLS["speaker"]:
        num_folds = len(set(speakers))
    folds = _check_protocol(protocol, num_folds)
    note = (
        f"The protocol {asked!r} cannot be used here: {', '.join(why)}. Instead: {describe(protocol, folds)}."
        if why
        else ""
    )
    return protocol, folds, note


def describe(protocol: str, num_folds: int | None = None) -> str:
    """What a protocol measures, in the words to print beside every figure; a leaky one always says that it leaks.

    Raises:
        DatasetError: no such protocol, or a number of folds that it does not have.
    """
    folds = _check_protocol(protocol, num_folds)
    if protocol == "emobox":
        return "unseen speakers, the six EmoBox folds of RAVDESS (4 test actors each)"
    if protocol == "speaker":
        return f"unseen speakers, {folds} folds over speakers"
    test_share = round(100 / folds)
    shares = f"random clips, {100 - test_share}/{test_share}"
    if protocol == "clip":
        return f"{shares}, possibly leaky (speakers unknown: clips of one voice may be on both sides)"
    return f"{shares} (leaky: the same speakers are in training and test)"


def make_folds(
    dataset: "Dataset",
    protocol: str,
    *,
    num_folds: int | None = None,
    validation_speakers: int | float = VALIDATION_SHARE,
    seed: int = 0,
) -> list[Fold]:
    """Divide the rows of a data set into folds; every row is tested in exactly one of them.

    Args:
        dataset: needs the column `label`, for speaker protocols `speaker`, for "emobox" also `corpus`. Where there is
            a column `gender`, validation speakers are balanced by it.
        protocol: "emobox" (the six fixed folds of RAVDESS), "speaker" (folds over speakers, stratified by label),
            "random" (folds over clips, stratified by label; LEAKY) or "clip" (the same where speakers are not known).
        num_folds: 5 where none is given; "emobox" always has 6.
        validation_speakers: training speakers to hold out for validation: their number (0: none) or, below 1, their
            share (then at least one; of a single training speaker, that share of the clips). For "random" that share
            of the training clips of each class, for "clip" always a share.
        seed: of the folds, but for those of "emobox", and of the choice of validation speakers.

    Raises:
        DatasetError: a column is missing, the protocol does not fit the data, there are too few speakers, or a class
            has no training clip in some fold.
    """
    folds = _check_protocol(protocol, num_folds)
    labels = _column(dataset, "label", protocol)
    if protocol == "clip" and validation_speakers >= 1:
        validation_speakers = VALIDATION_SHARE
    speakers = None if protocol in LEAKY_PROTOCOLS else _column(dataset, "speaker", protocol)
    if protocol == "emobox":
        tests = _emobox_tests(dataset, speakers)
    elif protocol == "speaker":
        tests = _speaker_tests(labels, speakers, folds, seed)
    else:
        tests = _random_tests(labels, folds, seed)
    made = []
    for number, test in enumerate(tests, 1):
        generator = np.random.default_rng((seed, number))
        training = np.setdiff1d(np.arange(len(labels)), test)
        is_share = 0 < validation_speakers < 1
        if speakers is None or (is_share and len(np.unique(speakers[training])) == 1):
            validation = _clips_held_out(labels, training, _share_of_clips(dataset, validation_speakers), generator)
        else:
            order = _alternating(np.unique(speakers[training]), _genders(dataset, speakers), number, generator)
            count = _number_of_speakers(validation_speakers, len(order), number)
            validation = _speakers_held_out(labels, speakers, training, order, count, number)
        train = np.setdiff1d(training, validation)
        _check_classes(dataset, labels, train, number)
        made.append(Fold(number, train.tolist(), sorted(validation.tolist()), sorted(test.tolist())))
    return made


def get_fold(folds: Sequence[Fold], number: int) -> Fold:
    """The fold with this number.

    Raises:
        DatasetError: there is none; the message names those that exist.
    """
    for fold in folds:
        if fold.number == number:
            return fold
    raise DatasetError(f"There is no fold {number}; the folds are {', '.join(str(fold.number) for fold in folds)}.")


def rotate_validation(dataset: "Dataset", fold: Fold, times: int, seed: int = 0) -> list[Fold]:
    """`times` folds with the test rows of `fold`, in which every other speaker is held out for validation once.

    A choice that four speakers decide is theirs; here all the training speakers of a fold have a say.

    Raises:
        DatasetError: fewer training speakers than `times`, or speakers unknown.
    """
    rows = sorted([*fold.train, *fold.validation])
    parts = make_folds(dataset.select(rows), "speaker", num_folds=times, validation_speakers=0, seed=seed)
    return [
        replace(fold, train=[rows[row] for row in part.train], validation=[rows[row] for row in part.test])
        for part in parts
    ]


def assert_no_leak(dataset: "Dataset", fold: Fold) -> None:
    """Check that no row and no speaker is on two sides of a fold.

    Of a single training speaker, clips may be held out for validation: the figures are those of the test speakers.

    Raises:
        DatasetError: one is; the message names it.
    """
    speakers = _column(dataset, "speaker", "speaker")
    sides = {"training": fold.train, "validation": fold.validation, "test": fold.test}
    rows = np.concatenate([np.asarray(side, dtype=int) for side in sides.values()])
    if len(rows) and (rows.min() < 0 or rows.max() >= len(speakers)):
        raise DatasetError(f"Fold {fold.number} names rows that the data set of {len(speakers)} clips does not have.")
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise DatasetError(f"Row {values[counts > 1][0]} is there twice in fold {fold.number}: the fold leaks.")
    if len(np.unique(speakers[fold.train])) == 1:
        sides = {"training": fold.train + fold.validation, "test": fold.test}
    seen: dict[str, str] = {}
    for side, indices in sides.items():
        for speaker in np.unique(speakers[np.asarray(indices, dtype=int)]):
            if seen.setdefault(speaker, side) != side:
                raise DatasetError(
                    f"Speaker {speaker} is in {seen[speaker]} and in {side} of fold {fold.number}: the fold leaks, "
                    "its figures would not hold for unseen voices. Use the protocol 'speaker'."
                )


def _check_known(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise DatasetError(f"There is no protocol {protocol!r}; known are: {', '.join(PROTOCOLS)}.")


def _check_protocol(protocol: str, num_folds: int | None) -> int:
    _check_known(protocol)
    if num_folds is None:
        return PROTOCOLS[protocol]
    if protocol == "emobox" and num_folds != PROTOCOLS["emobox"]:
        raise DatasetError(
            f"The protocol 'emobox' has 6 fixed folds, not {num_folds}; use 'speaker' for another number."
        )
    if num_folds < 2:
        raise DatasetError(f"At least 2 folds are needed, not {num_folds}: one side to train on, one to test on.")
    return num_folds


def _column(dataset: "Dataset", name: str, protocol: str) -> np.ndarray:
    """A column as an array of (rows,), of integers or strings."""
    if name not in dataset.column_names:
        raise DatasetError(
            f"The protocol {protocol!r} needs a column {name!r}; the columns are {', '.join(dataset.column_names)}."
        )
    values = list(dataset[name])
    if not values:
        raise DatasetError("The data set has no clips, so there is nothing to divide into folds.")
    missing = sum(value is None or value == "" for value in values)
    if missing:
        raise DatasetError(
            f"{missing} of {len(values)} clips have no {name}: the protocol {protocol!r} needs all of them."
        )
    return np.asarray(values)


def _corpora(dataset: "Dataset") -> set[str]:
    return set(dataset["corpus"]) if "corpus" in dataset.column_names else {"a corpus without a name"}


def _emobox_tests(dataset: "Dataset", speakers: np.ndarray) -> list[np.ndarray]:
    corpora = _corpora(dataset)
    if corpora != {"ravdess"}:
        others = ", ".join(sorted(str(corpus) for corpus in corpora - {"ravdess"}))
        raise DatasetError(f"The protocol 'emobox' has folds for RAVDESS only, this is {others}: use 'speaker'.")
    fold_of = {f"{actor:02d}": number for number, actors in EMOBOX_TEST_ACTORS.items() for actor in actors}
    unknown = sorted(set(speakers) - set(fold_of))
    if unknown:
        raise DatasetError(
            f"The protocol 'emobox' knows the speakers 01 to 24, not {', '.join(unknown)}: use 'speaker'."
        )
    numbers = np.array([fold_of[speaker] for speaker in speakers])
    tests = [np.flatnonzero(numbers == number) for number in EMOBOX_TEST_ACTORS]
    for (number, actors), test in zip(EMOBOX_TEST_ACTORS.items(), tests, strict=True):
        if not len(test):
            names = ", ".join(f"{actor:02d}" for actor in actors)
            raise DatasetError(
                f"Fold {number} of 'emobox' has no test clips: its actors {names} are all missing. Complete RAVDESS, "
                "or use 'speaker'."
            )
    return tests


def _speaker_tests(labels: np.ndarray, speakers: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    num_speakers = len(np.unique(speakers))
    if num_speakers < folds:
        raise DatasetError(
            f"{folds} folds over speakers need at least {folds} speakers, there "
            f"{'is' if num_speakers == 1 else 'are'} {num_speakers}: ask for fewer folds."
        )
    rows = np.arange(len(labels))
    if np.unique(labels, return_counts=True)[1].max() >= folds:  # scikit-learn refuses to stratify fewer
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        tests = [test for _, test in splitter.split(rows, labels, speakers)]
        if all(len(test) for test in tests):
            return tests
    # With few speakers, rounding in the stratifier's greedy choice can leave a fold empty; grouping alone never does.
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return [test for _, test in splitter.split(rows, labels, speakers)]


def _random_tests(labels: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    names, counts = np.unique(labels, return_counts=True)
    if counts.max() < folds:
        raise DatasetError(
            f"{folds} folds need at least {folds} clips of a class, the largest of {len(names)} classes has "
            f"{counts.max()}: ask for fewer folds."
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [test for _, test in splitter.split(np.arange(len(labels)), labels)]


def _share_of_clips(dataset: "Dataset", wanted: int | float) -> float:
    share = float(wanted)
    if share >= 1:  # a number of speakers: the share of clips that they would have
        share /= len(np.unique(_column(dataset, "speaker", "random")))
    if not 0 <= share < 1:
        raise DatasetError(
            f"validation_speakers is {wanted}: for random clips give the share to validate on, such as 0.2."
        )
    return share


def _clips_held_out(
    labels: np.ndarray, training: np.ndarray, share: float, generator: np.random.Generator
) -> np.ndarray:
    """A share of the training clips of each class, never a class's last one."""
    chosen = []
    for label in np.unique(labels[training]):
        clips = training[labels[training] == label]
        chosen.append(generator.permutation(clips)[: min(round(share * len(clips)), len(clips) - 1)])
    return np.concatenate(chosen)


def _number_of_speakers(wanted: int | float, available: int, fold: int) -> int:
    number = max(1, round(wanted * available)) if 0 < wanted < 1 else int(wanted)
    if not 0 <= number < available:
        raise DatasetError(
            f"Fold {fold} has {available} training speaker{'s' * (available != 1)}, so {number} can't be held out for "
            "validation: ask for fewer validation_speakers (0 for none) or for more folds."
        )
    return number


def _speakers_held_out(
    labels: np.ndarray, speakers: np.ndarray, training: np.ndarray, order: list[str], count: int, fold: int
) -> np.ndarray:
    """All clips of the first `count` training speakers in `order` without whom every class keeps training clips."""
    num_classes = len(np.unique(labels[training]))
    remaining = training
    for name in order:
        if count == 0:
            break
        without = remaining[speakers[remaining] != name]
        if len(np.unique(labels[without])) == num_classes:
            remaining = without
            count -= 1
    if count:
        raise DatasetError(
            f"Fold {fold} can't hold out {count} more training speaker{'s' * (count != 1)}: some class is spoken by "
            "too few others. Ask for fewer validation_speakers (0 for none)."
        )
    return np.setdiff1d(training, remaining)


def _alternating(names: np.ndarray, genders: dict[str, str], fold: int, generator: np.random.Generator) -> list[str]:
    """The speakers in random order, one of each gender in turn; which gender comes first changes with the fold."""
    shuffled = generator.permutation(names)
    kinds = sorted({genders.get(name, "") for name in names})
    first = fold % len(kinds)
    queues = [[name for name in shuffled if genders.get(name, "") == kind] for kind in kinds[first:] + kinds[:first]]
    turns = [(turn, kind, name) for kind, queue in enumerate(queues) for turn, name in enumerate(queue)]
    return [name for _, _, name in sorted(turns)]


def _genders(dataset: "Dataset", speakers: np.ndarray) -> dict[str, str]:
    if "gender" not in dataset.column_names:
        return {}
    return {speaker: gender or "" for speaker, gender in zip(speakers, dataset["gender"], strict=True)}


def _check_classes(dataset: "Dataset", labels: np.ndarray, train: np.ndarray, number: int) -> None:
    absent = np.setdiff1d(labels, labels[train])
    if len(absent):
        names = getattr(dataset.features["label"], "names", None)
        shown = ", ".join(names[label] if names else str(label) for label in absent)
        raise DatasetError(
            f"Fold {number} has no training clips of {shown}: leave that class out, add clips of it by other "
            "speakers, or ask for fewer folds."
        )
