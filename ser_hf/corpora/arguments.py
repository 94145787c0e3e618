"""Which data to load, as fields that YAML files and command lines set."""

from argparse import ArgumentParser, HelpFormatter, Namespace
from dataclasses import dataclass, field, fields

from ser_hf.corpora import Corpus, load_corpus
from ser_hf.labels import read_label_map


@dataclass
class DatasetArguments:
    dataset: list[str] = field(
        default_factory=lambda: ["ravdess"],
        metadata={
            "help": "ravdess, emodb, tess, savee or crema_d; a folder of folders named by emotion; a CSV, TSV or JSON "
            "Lines file; or owner/data set on the Hub. Several are joined over their common emotions."
        },
    )
    data_dir: str | None = field(
        default=None,
        metadata={"help": "The folder of a corpus, or of a table's files; else SER_DATA_DIR, else it is downloaded."},
    )
    channel: str = field(default="speech", metadata={"help": "RAVDESS: speech, song or both."})
    label_map: str | None = field(
        default=None, metadata={"help": "YAML file of 'label: emotion' lines; 'label:' alone leaves its clips out."}
    )
    audio_column: str | None = field(
        default=None, metadata={"help": "Table, Hub: where the sound is (audio, path, …)."}
    )
    label_column: str | None = field(default=None, metadata={"help": "Table, Hub: the emotion (label, emotion, …)."})
    speaker_column: str | None = field(default=None, metadata={"help": "Table, Hub: who speaks (speaker, actor, …)."})
    dataset_config: str | None = field(default=None, metadata={"help": "Hub: which configuration."})
    dataset_split: str | None = field(default=None, metadata={"help": "Hub: which split; all of them by default."})
    streaming: bool = field(default=False, metadata={"help": "Hub: read row by row, without the whole download."})


def dataset_parser(description: str) -> ArgumentParser:
    """A parser that knows these fields as options; a script adds its own."""
    from transformers.hf_argparser import HfArgumentParser  # takes half a second

    return HfArgumentParser(DatasetArguments, description=description, formatter_class=HelpFormatter)


def load_dataset_arguments(arguments: DatasetArguments | Namespace) -> Corpus:
    """The data set that the arguments name; several as one.

    Raises:
        DatasetError: what the loaders raise, or no emotions in common.
    """
    options = {field.name: getattr(arguments, field.name) for field in fields(DatasetArguments)}
    names, data_dir = options.pop("dataset"), options.pop("data_dir")
    label_map = read_label_map(arguments.label_map) if arguments.label_map else None
    corpora = [load_corpus(name, data_dir, **{**options, "label_map": label_map}) for name in names]
    if len(corpora) == 1:
        return corpora[0]
    from ser_hf.corpora.joining import join

    return join(corpora, label_map)
