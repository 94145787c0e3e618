"""One fold of one data set, from the corpus to a checkpoint with its figures."""

import copy
import json
import logging
import platform
import time
from dataclasses import asdict, fields, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm
from transformers import AutoConfig, EarlyStoppingCallback, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..calibration import fit_temperature, fit_uncertainty_threshold, format_calibration
from ..classifier import EmotionClassifier, quiet_loading
from ..corpora import Corpus
from ..errors import DatasetError, ModelError
from ..evaluation import evaluate_classifier, format_report
from ..hub import plan_push
from ..modeling import (
    SerConfig,
    SerFeatureExtractor,
    SerForAudioClassification,
    SpectrogramConfig,
    SpectrogramFeatureExtractor,
    SpectrogramForAudioClassification,
)
from ..reference import write_reference_scores
from ..report import write_report
from ..splits import Fold
from .arguments import (
    AugmentationArguments,
    DataArguments,
    ModelArguments,
    SerTrainingArguments,
    SpectrogramArguments,
    find_encoder,
)
from .checkpoint import save_checkpoint, trainer_checkpoints
from .data import Collator, EncoderViews, EpochCallback, SpectrogramViews, SpeechDataset, cache_waveforms
from .folds import load_data
from .trainer import SerTrainer, WeightedCrossEntropy, class_weights, compute_metrics, logits_of

logger = logging.getLogger(__name__)


SYSTEMS = ("ser", "ser-spectrogram")


def build_model(model_args: ModelArguments, labels: list[str]):
    """The untrained model of these classes, and the feature extractor that fits it.

    Raises:
        ModelError: there is no such system, or its options do not fit each other or the encoder.
    """
    if model_args.system not in SYSTEMS:
        raise ModelError(f"There is no system '{model_args.system}'; choose one of {', '.join(SYSTEMS)}.")
    classes = {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}
    build = _build_transformer if model_args.system == "ser" else _build_spectrogram
    return build(model_args, classes)


def _build_spectrogram(
    model_args: ModelArguments, classes: dict
) -> tuple[SpectrogramForAudioClassification, SpectrogramFeatureExtractor]:
    """A network with random weights on a front end's features."""
    extractor_fields = (
        "frontend", "feature_rate", "num_mel_bins", "num_mfcc", "n_fft", "hop_length", "trim_top_db", "level_db",
        "max_seconds", "duration_seconds", "cut",
    )  # fmt: skip
    config_fields = (
        "frontend", "body", "channels", "lstm_sizes", "body_dropout", "dense_size", "head_dropout",
    )  # fmt: skip
    try:
        extractor = SpectrogramFeatureExtractor(**{name: getattr(model_args, name) for name in extractor_fields})
        options = {name: getattr(model_args, name) for name in config_fields}
        config = SpectrogramConfig(feature_size=extractor.feature_size, **options, **classes)
    except ValueError as error:
        raise ModelError(str(error)) from error
    return SpectrogramForAudioClassification(config), extractor


def _build_transformer(
    model_args: ModelArguments, classes: dict
) -> tuple[SerForAudioClassification, SerFeatureExtractor]:
    """A pretrained encoder with a new head, or a checkpoint of ours to go on from."""
    name = find_encoder(model_args.model_name_or_path)
    source = {} if Path(name).is_dir() else {"revision": model_args.revision}
    try:
        with quiet_loading():  # layers that are cut off would be listed as a problem
            if AutoConfig.from_pretrained(name, **source).model_type == SerConfig.model_type:
                return _continue_from(name, source, model_args, classes)
            options = {
                field: getattr(model_args, field)
                for field in (
                    "num_encoder_layers",
                    "first_pooled_layer",
                    "num_frozen_layers",
                    "freeze_feature_encoder",
                    "pooling_dim",
                    "head_dim",
                    "head_dropout",
                    "num_heads",
                )
            }
            model = SerForAudioClassification.from_encoder(name, options | classes, **source)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The encoder '{name}' cannot be used: {str(error).strip().splitlines()[0]} Pass --model_name_or_path "
            "with a Hub name, with a folder that holds config.json and model.safetensors, or with 'embedded'."
        ) from error
    is_whisper = model.config.encoder_config.model_type == "whisper"
    extractor = SerFeatureExtractor(
        feature_type="log_mel" if is_whisper else "waveform",
        num_mel_bins=getattr(model.config.encoder_config, "num_mel_bins", 80),
        trim_top_db=model_args.trim_top_db,
        level_db=model_args.level_db,
        max_seconds=model_args.max_seconds,
    )
    return model, extractor


def _continue_from(
    name: str, source: dict, model_args: ModelArguments, classes: dict
) -> tuple[SerForAudioClassification, SerFeatureExtractor]:
    """A checkpoint of ours with its layers, its heads and its preparation of the sound; what may learn is new.

    Its heads were made for its classes: for any other they are made anew, and so is what standardises their input.
    """
    config = SerConfig.from_pretrained(name, **source)
    for field in ("num_frozen_layers", "freeze_feature_encoder", "head_dropout"):
        setattr(config, field, getattr(model_args, field))
    if config.num_frozen_layers > config.num_encoder_layers:
        raise ValueError(f"num_frozen_layers is {config.num_frozen_layers} of {config.num_encoder_layers} layers.")
    config.calibration_temperature, config.uncertainty_threshold = 1.0, 0.0  # of the former training
    model = SerForAudioClassification.from_pretrained(name, config=config, dtype=torch.float32, **source)
    before, after = list(config.id2label.values()), list(classes["id2label"].values())
    if before == after:
        logger.info("Going on from %s, its heads included: the classes are the same", model_args.model_name_or_path)
    else:
        logger.info(
            "Going on from %s; its heads are made anew: they were for %s",
            model_args.model_name_or_path,
            ", ".join(before),
        )
        learned = {
            key: value for key, value in model.state_dict().items() if not key.startswith(("heads.", "statistics_"))
        }
        config.id2label, config.label2id = classes["id2label"], classes["label2id"]
        model = SerForAudioClassification(config)
        model.load_state_dict(learned, strict=False)
    return model, SerFeatureExtractor.from_pretrained(name, **source)


def _assert_unheard(model_args: ModelArguments, corpus: Corpus, fold: Fold) -> None:
    """A checkpoint that training goes on from brings what it heard: its training speakers cannot be tested on.

    Raises:
        DatasetError: a test speaker is one of them, by the metrics.json beside the checkpoint.
    """
    path = Path(find_encoder(model_args.model_name_or_path)) / "metrics.json"
    if model_args.system != "ser" or not path.is_file():
        return
    former = json.loads(path.read_text(encoding="utf-8"))
    heard = _qualified(former["dataset"], former["train_speakers"]) & _qualified(
        corpus.name, _speakers(corpus, fold.test)
    )
    if heard:
        raise DatasetError(
            f"{model_args.model_name_or_path} was trained on speakers of fold {fold.number}'s test side "
            f"({', '.join(sorted(heard))}): its figures would be of voices it has heard. Choose a fold without them, "
            "or start from the encoder."
        )


def _qualified(dataset: str, speakers: list[str]) -> set[str]:
    """Speakers with their corpus before them, which those of a joined set have already."""
    return set(speakers) if "+" in dataset else {f"{dataset}/{speaker}" for speaker in speakers}


@torch.no_grad()
def standardize(
    model: SerForAudioClassification, train_set: SpeechDataset, args: SerTrainingArguments, collator: Collator
) -> None:
    """Sets the mean and deviation that the head's input is standardised with, from the training clips alone.

    Each process hears its share of the clips.
    """
    model.to(args.device).eval()
    share = Subset(train_set, range(args.process_index, len(train_set), args.world_size))
    loader = DataLoader(share, args.per_device_eval_batch_size, collate_fn=collator, num_workers=0)
    statistics = []
    for batch in tqdm(loader, desc="Standardising", disable=args.disable_tqdm):
        batch.pop("labels")
        with torch.autocast(args.device.type, torch.bfloat16, enabled=args.bf16):
            heard = model(**{name: value.to(args.device) for name, value in batch.items()}).statistics
        statistics.append(heard.float().cpu())
    model.standardize(torch.cat(gather_object(statistics)).to(args.device))


def fit_to_training_clips(
    model: SpectrogramForAudioClassification, train_set: SpeechDataset, init_output_bias: bool
) -> None:
    """Normalises the features by the training clips alone and, if asked, starts the output bias at their classes."""
    train_set.extractor.fit_normalization(Subset(train_set.views, train_set.rows))  # not in memory all at once
    if init_output_bias:
        counts = np.bincount(train_set.labels, minlength=model.config.num_labels)
        model.set_class_frequencies(torch.tensor(counts / counts.sum(), dtype=torch.float32))


def build_trainer(
    model_args: ModelArguments,
    data_args: DataArguments,
    augmentation_args: AugmentationArguments,
    training_args: SerTrainingArguments,
    corpus: Corpus,
    fold: Fold,
) -> SerTrainer:
    """Everything that a fold is trained with, ready to train. It holds no clip of the fold's test side."""
    set_seed(training_args.seed)
    labels = corpus.dataset.features["label"].names
    model, extractor = build_model(model_args, labels)
    with training_args.main_process_first(desc="decoding"):
        cached = cache_waveforms(corpus.dataset, extractor)
    train_rows = fold.train
    if data_args.max_train_clips:
        train_rows = np.random.default_rng(0).permutation(fold.train)[: data_args.max_train_clips].tolist()
    views, num_views = None, augmentation_args.num_views
    with training_args.main_process_first(desc="features"):
        # One seed for every run, so that the cache serves all of them.
        if model_args.system == "ser-spectrogram":
            views = SpectrogramViews(cached, extractor, augmentation_args, num_views, seed=0)
        elif num_views:
            views = _encoder_views(model, extractor, cached, augmentation_args, training_args)
    train_set = SpeechDataset(cached, train_rows, extractor, augmentation_args, seed=training_args.seed, views=views)
    validation_set = SpeechDataset(cached, fold.validation, extractor, views=views)

    callbacks = [EpochCallback(train_set)]
    if training_args.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(training_args.early_stopping_patience))
    weights = class_weights(train_set.labels, labels, training_args.class_weights, training_args.class_weight_factors)
    trainer = SerTrainer(
        model=model,
        args=training_args,
        data_collator=Collator(extractor, encoder_states=isinstance(views, EncoderViews)),
        train_dataset=train_set,
        eval_dataset=validation_set,
        compute_metrics=compute_metrics,
        compute_loss_func=WeightedCrossEntropy(weights, training_args.label_smoothing_factor),
        callbacks=callbacks,
    )
    if model_args.system == "ser-spectrogram":
        fit_to_training_clips(model, train_set, model_args.init_output_bias)
    elif training_args.resume_from_checkpoint is None and not model.statistics_mean.any():  # a former one stays
        standardize(model, train_set, training_args, trainer.data_collator)
    return trainer


def _encoder_views(model, extractor, cached, augmentation_args, training_args) -> EncoderViews:
    """The states of the frozen layers for `num_views` takes on every clip.

    Raises:
        ModelError: the encoder's frozen layers cannot be kept apart from the rest.
    """
    model.to(training_args.device)
    try:
        return EncoderViews(
            cached,
            extractor,
            model,
            augmentation_args,
            augmentation_args.num_views,
            seed=0,
            bf16=training_args.bf16,
            batch_size=training_args.per_device_eval_batch_size,
        )
    except ValueError as error:
        raise ModelError(f"num_views is {augmentation_args.num_views}, but {error}") from error


def fine_tune(
    model_args: ModelArguments,
    data_args: DataArguments,
    augmentation_args: AugmentationArguments,
    training_args: SerTrainingArguments,
) -> dict:
    """Trains on the fold's training speakers, chooses the epoch on its validation speakers, tests once on the rest.

    Returns:
        What was written to metrics.json beside the checkpoint in `training_args.output_dir`.
    """
    started = time.monotonic()
    publish = plan_push(training_args)
    training_args.resume_from_checkpoint = _checkpoint_to_resume(training_args)
    corpus, fold = load_data(data_args)
    protocol = fold.protocol
    processes = f", {training_args.world_size} processes" if training_args.world_size > 1 else ""
    logger.info("%s, fold %d%s", protocol, fold.number, processes)
    _assert_unheard(model_args, corpus, fold)
    trainer = build_trainer(model_args, data_args, augmentation_args, training_args, corpus, fold)
    model, train_set, validation_set = trainer.model, trainer.train_dataset, trainer.eval_dataset
    trained = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    minutes = trained.metrics["train_runtime"] / 60

    validation = trainer.predict(validation_set)
    logits = logits_of(validation.predictions)
    temperature = fit_temperature(logits, validation.label_ids)
    best_epoch, history = _best_epoch(trainer), trainer.state.log_history
    if training_args.refit:
        logger.info("Training again, with the validation speakers' clips as well")
        trainer = _refit(model_args, data_args, augmentation_args, training_args, corpus, fold, best_epoch)
        minutes += trainer.train().metrics["train_runtime"] / 60
        model, train_set = trainer.model, trainer.train_dataset
    model.config.calibration_temperature = temperature
    model.config.uncertainty_threshold = fit_uncertainty_threshold(logits, temperature)
    output = Path(training_args.output_dir)
    metrics: dict = {}
    if trainer.is_world_process_zero():
        save_checkpoint(trainer.accelerator.unwrap_model(model), train_set.extractor, output)
        write_reference_scores(output, trainer.accelerator.unwrap_model(model), train_set.extractor)
        metrics = {
            "protocol": protocol,
            "fold": fold.number,
            "dataset": corpus.name,
            "channel": data_args.channel,
            "date": date.today().isoformat(),
            "seed": training_args.seed,
            "parameters": sum(p.numel() for p in model.parameters()),
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "train_clips": len(train_set),
            "train_speakers": _speakers(corpus, train_set.rows),
            "validation": _eval_figures(validation.metrics),
            "validation_speakers": _speakers(corpus, fold.validation),
            "best_epoch": best_epoch,
            "temperature": temperature,
            "train_minutes": minutes,
            "train_clips_per_second": trained.metrics["train_samples_per_second"],
            "hardware": hardware(training_args),
            "processes": training_args.world_size,
            "versions": {name: version(name) for name in ("torch", "transformers", "datasets")},
            "settings": {
                **_of_the_system(model_args),
                **asdict(data_args),
                **asdict(augmentation_args),
                **_set_by_hand(training_args),
            },
        }
        # The figure is that of the files as they lie there, read again and fed from the sound files.
        classifier = EmotionClassifier.from_pretrained(output, device=str(training_args.device))
        evaluation = evaluate_classifier(classifier, corpus.dataset, fold.test)
        metrics["test"] = evaluation.figures()
        calibration = evaluation.calibration(classifier.uncertainty_threshold)
        metrics["calibration"] = {"temperature": temperature, **calibration}
        metrics["total_minutes"] = (time.monotonic() - started) / 60
        (output / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", "utf-8")
        evaluation.write_csv(output / "predictions.csv")
        write_report(output, metrics, history, corpus)
        print(format_report(metrics["test"], f"{protocol}, fold {fold.number}"))
        print("\n" + format_calibration(calibration))
    trainer.accelerator.wait_for_everyone()
    if publish is not None and trainer.is_world_process_zero():
        publish(output)
    return metrics


def _refit(
    model_args: ModelArguments,
    data_args: DataArguments,
    augmentation_args: AugmentationArguments,
    training_args: SerTrainingArguments,
    corpus: Corpus,
    fold: Fold,
    best_epoch: float | None,
) -> SerTrainer:
    """A trainer of a new model on training and validation speakers, for as many epochs as validation has chosen."""
    args = copy.deepcopy(training_args)
    args.eval_strategy, args.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
    args.load_best_model_at_end, args.early_stopping_patience, args.resume_from_checkpoint = False, None, None
    args.output_dir = str(Path(training_args.output_dir) / "refit")
    args.num_train_epochs = best_epoch or training_args.num_train_epochs
    everyone = replace(fold, train=sorted([*fold.train, *fold.validation]))
    return build_trainer(model_args, data_args, augmentation_args, args, corpus, everyone)


def _checkpoint_to_resume(args: SerTrainingArguments) -> str | None:
    """A folder, or for "last" the newest whole checkpoint in output_dir, if there is one."""
    wanted = args.resume_from_checkpoint
    if not wanted or wanted not in ("last", "true", "True"):
        if wanted and not Path(wanted).is_dir():
            raise ModelError(f"There is no checkpoint folder {wanted}; pass one, or 'last' for the newest.")
        return wanted
    return next(map(str, reversed(trainer_checkpoints(args.output_dir))), None)


def _of_the_system(model_args: ModelArguments) -> dict:
    """The fields that the system has: a pretrained encoder has no body, a spectrogram network no encoder."""
    spectrogram = {f.name for f in fields(SpectrogramArguments)}
    both = {"system", "head_dropout", "trim_top_db", "level_db", "max_seconds"}
    is_spectrogram = model_args.system == "ser-spectrogram"
    values = asdict(model_args)
    return {name: value for name, value in values.items() if name in both or (name in spectrogram) == is_spectrogram}


def _speakers(corpus: Corpus, rows: list[int]) -> list[str]:
    if "speaker" not in corpus.dataset.column_names:
        return []
    return sorted(set(corpus.dataset.select(rows)["speaker"]))


def _eval_figures(metrics: dict) -> dict[str, float]:
    names = ("unweighted_accuracy", "accuracy", "macro_f1", "weighted_f1")
    return {name: metrics[f"test_{name}"] for name in names}


def _best_epoch(trainer: SerTrainer) -> float | None:
    """The epoch whose weights were kept."""
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    if not evaluations:
        return None
    best = trainer.state.best_metric
    name = f"eval_{(trainer.args.metric_for_best_model or 'loss').removeprefix('eval_')}"
    if best is None or not trainer.args.load_best_model_at_end:
        return evaluations[-1]["epoch"]
    return next((entry["epoch"] for entry in evaluations if entry.get(name) == best), None)


def hardware(args: SerTrainingArguments) -> str:
    """What a run computes on, in words."""
    if args.device.type == "cuda":
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads" + (", bf16" if args.bf16 else "")


def _set_by_hand(args: SerTrainingArguments) -> dict:
    """The training settings that differ from the library's defaults, without paths."""
    defaults = SerTrainingArguments(output_dir="x", use_cpu=args.use_cpu, report_to="none").to_dict()
    left_out = {"output_dir", "logging_dir", "report_to", "resume_from_checkpoint", "run_name", "hub_token"}
    return {k: v for k, v in args.to_dict().items() if k not in left_out and defaults.get(k) != v}
