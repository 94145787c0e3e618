"""From arguments to the clips to train on, to choose by and to test on."""

import dataclasses
import logging

from ..corpora import Corpus
from ..corpora.arguments import load_dataset_arguments
from ..splits import (
    LEAKY_PROTOCOLS,
    VALIDATION_SHARE,
    Fold,
    assert_no_leak,
    choose_protocol,
    describe,
    get_fold,
    make_folds,
)
from .arguments import VALIDATION_ACTORS, DataArguments

logger = logging.getLogger(__name__)


def load_data(data_args: DataArguments) -> tuple[Corpus, Fold]:
    """The corpus and the fold that the arguments name; a speaker protocol is checked for leaks.

    Where the corpus can't be divided by the protocol, the nearest takes its place (`splits.choose_protocol`), which is
    logged; `fold.protocol` says in words what was done.
    """
    corpus = load_dataset_arguments(data_args)
    protocol, num_folds, note = choose_protocol(corpus.dataset, data_args.protocol, data_args.num_folds)
    if note:
        logger.warning("%s", note)
    validation_speakers: int | float = data_args.validation_speakers
    if validation_speakers == VALIDATION_ACTORS and data_args.dataset != ["ravdess"]:
        validation_speakers = VALIDATION_SHARE  # what the default is of the actors of RAVDESS
    folds = make_folds(
        corpus.dataset,
        protocol,
        num_folds=num_folds,
        validation_speakers=validation_speakers,
        seed=data_args.split_seed,
    )
    fold = dataclasses.replace(get_fold(folds, data_args.fold), protocol=describe(protocol, num_folds))
    if protocol not in LEAKY_PROTOCOLS:
        assert_no_leak(corpus.dataset, fold)
    return corpus, fold


def settle_protocol(data_args: DataArguments) -> DataArguments:
    """The arguments with the protocol and number of folds that `load_data` will use, which only the data can tell."""
    if data_args.dataset == ["ravdess"] and data_args.protocol in ("emobox", "random"):
        return data_args  # fits without a look
    corpus = load_dataset_arguments(data_args)
    protocol, num_folds, _ = choose_protocol(corpus.dataset, data_args.protocol, data_args.num_folds)
    if (protocol, describe(protocol, num_folds)) == (data_args.protocol, describe(protocol, data_args.num_folds)):
        return data_args
    return dataclasses.replace(data_args, protocol=protocol, num_folds=num_folds)
