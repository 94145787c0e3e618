"""Labels replaced by a map, and several corpora as one."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from datasets import ClassLabel, Dataset, Value, concatenate_datasets

from ser_hf.corpora import Corpus
from ser_hf.errors import DatasetError
from ser_hf.labels import LabelMap, emotion_of, in_order

logger = logging.getLogger(__name__)


def relabel(corpus: Corpus, label_map: LabelMap) -> Corpus:
    """The corpus with its classes replaced; where the map gives None, the clips are left out.

    Raises:
        DatasetError: nothing is left.
    """
    new_names = {name: emotion_of(name, label_map) for name in _occurring(corpus)}
    classes = in_order(name for name in new_names.values() if name is not None)
    return _with_classes(corpus, new_names, classes, "left out by the label map")


def join(corpora: Sequence[Corpus], label_map: LabelMap | None = None) -> Corpus:
    """Several corpora as one, over the emotions that all of them have; speakers are prefixed by their corpus.

    Args:
        corpora: already labelled by the map.
        label_map: its emotions are kept although not every corpus has them, and any other mismatch is refused.

    Raises:
        DatasetError: fewer than two common emotions; with a map, a class that is not in every corpus and not a result
            of the map; or one corpus twice. The message lists the classes.
    """
    names = [corpus.name for corpus in corpora]
    if len(set(names)) < len(names):
        raise DatasetError(f"A data set is named twice: {', '.join(names)}. Name each once.")
    occurring = {corpus.name: _occurring(corpus) for corpus in corpora}
    common = set.intersection(*map(set, occurring.values()))
    somewhere = set.union(*map(set, occurring.values()))
    lists = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in occurring.items())
    kept = common
    if label_map:
        kept = common | {emotion for emotion in label_map.values() if emotion in somewhere}
        if somewhere - kept:
            raise DatasetError(
                f"The data sets do not have the same classes ({lists}). Name {', '.join(in_order(somewhere - kept))} "
                "in the label map: 'label: emotion' to make it another one or to keep it, 'label:' to leave it out."
            )
    if len(kept) < 2:
        raise DatasetError(
            f"The data sets have {len(kept) or 'no'} emotion{'s' * (len(kept) != 1)} in common ({lists}): two are the "
            "least. Give a label map that says which labels are the same (--label_map)."
        )
    classes = in_order(kept)
    new_names = {name: name if name in kept else None for name in somewhere}
    parts = [_with_classes(_prefixed(corpus), new_names, classes, "not in every data set") for corpus in corpora]
    datasets = [part.dataset for part in parts]
    if not all("speaker" in dataset.column_names for dataset in datasets):  # known of some is not known
        datasets = [d.select_columns([c for c in d.column_names if c != "speaker"]) for d in datasets]
    joined = Corpus(
        name="+".join(names),
        dataset=concatenate_datasets(datasets),
        left_out=[item for part in parts for item in part.left_out],
        duplicates=[pair for part in parts for pair in part.duplicates],
        warnings=[warning for part in parts for warning in part.warnings],
        license="; ".join(dict.fromkeys(part.license for part in parts if part.license)),
        citation=" ".join(dict.fromkeys(part.citation for part in parts if part.citation)),
    )
    logger.info("%s", joined.summary)  # what is wrong with the parts was told when they were read
    return joined


def _occurring(corpus: Corpus) -> tuple[str, ...]:
    names = corpus.dataset.features["label"].names
    return in_order(names[label] for label in set(corpus.dataset["label"]))


def _with_classes(corpus: Corpus, new_names: dict[str, str | None], classes: tuple[str, ...], reason: str) -> Corpus:
    """The clips under new names, numbered as in `classes`; those without one are left out for this reason."""
    dataset = corpus.dataset
    old = dataset.features["label"].names
    labels = [new_names.get(old[label]) for label in dataset["label"]]
    rows = [row for row, name in enumerate(labels) if name is not None]
    if not rows:
        raise DatasetError(f"No clip of {corpus.name} is left: each of {', '.join(_occurring(corpus))} is {reason}.")
    files = dataset["file"] if "file" in dataset.column_names else map(str, range(len(dataset)))
    left_out = [
        (file, f"{old[label]}: {reason}")
        for file, label, name in zip(files, dataset["label"], labels, strict=True)
        if name is None
    ]
    numbers = [None if name is None else classes.index(name) for name in labels]
    dataset = _with_column(dataset, "label", numbers, ClassLabel(names=list(classes)))
    # Rows are chosen last: a column added to a choice of rows would copy the sounds.
    dataset = dataset.select(rows) if left_out else dataset
    return replace(corpus, dataset=dataset, left_out=[*corpus.left_out, *left_out])


def _prefixed(corpus: Corpus) -> Corpus:
    """Speakers and files of two corpora can have the same names."""
    dataset, prefix = corpus.dataset, f"{corpus.name}/"
    for column in ("speaker", "file"):
        if column in dataset.column_names:
            names = [None if name is None else prefix + name for name in dataset[column]]
            dataset = _with_column(dataset, column, names, Value("string"))
    return replace(
        corpus,
        dataset=dataset,
        left_out=[(prefix + file, reason) for file, reason in corpus.left_out],
        duplicates=[(prefix + later, prefix + first) for later, first in corpus.duplicates],
        warnings=[f"{corpus.name}: {warning}" for warning in corpus.warnings],
    )


def _with_column(dataset: Dataset, name: str, values: list, kind: ClassLabel | Value) -> Dataset:
    """With other values, at the same place."""
    order = dataset.column_names
    return dataset.remove_columns(name).add_column(name, values, feature=kind).select_columns(order)
