"""finetune/train.py on a tiny corpus: what it leaves, that it resumes, and what it says of a wrong setting."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import ModelCard

from conftest import CORPUS_ACTORS, FAMILIES, tiny_encoder_config, write_clip
from ser_hf import DatasetError, EmotionClassifier, ModelError
from ser_hf.modeling import SerConfig
from ser_hf.modeling.modeling_ser import build_encoder
from ser_hf.training.arguments import parse_arguments
from ser_hf.training.fine_tuning import build_model, fine_tune

REPOSITORY = Path(__file__).parents[2]
CONFIG_OF = {"whisper": "whisper_base", "wav2vec2": "wav2vec2_base", "hubert": "hubert_base", "wavlm": "wavlm_base"}


@pytest.fixture
def encoder_dir(tmp_path):
    """family → the folder of a tiny random encoder, as a pretrained one lies on a disk."""

    def make(family: str = "whisper") -> str:
        folder = tmp_path / f"{family}-encoder"
        encoder = build_encoder(SerConfig(encoder_config=tiny_encoder_config(family)).encoder_config)
        if family == "whisper":
            config = transformers.WhisperConfig(**tiny_encoder_config(family))
            encoder = transformers.WhisperForConditionalGeneration(config)
        encoder.save_pretrained(folder)
        return str(folder)

    return make


def arguments_for(config: str, encoder: str, corpus: Path, output: Path, *more: str) -> list[str]:
    return [
        str(REPOSITORY / "configs" / f"{config}.yaml"), "--model_name_or_path", encoder, "--data_dir", str(corpus),
        "--protocol", "speaker", "--num_folds", "3", "--validation_speakers", "1", "--output_dir", str(output),
        "--num_encoder_layers", "2", "--num_frozen_layers", "1", "--num_views", "0", "--num_heads", "1",
        "--refit", "false", "--load_best_model_at_end", "true", "--use_cpu", "true", "--disable_tqdm", "true", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in CONFIG_OF])
def test_two_steps_of_each_family_leave_a_checkpoint_that_answers(
    family, corpus_dir, encoder_dir, tmp_path, speech_file, capsys
):
    output = tmp_path / "run"
    arguments = arguments_for(
        CONFIG_OF[family], encoder_dir(family), corpus_dir, output,
        "--max_steps", "2", "--eval_strategy", "steps", "--eval_steps", "1", "--save_strategy", "steps",
        "--save_steps", "1", "--logging_strategy", "steps", "--logging_steps", "1",
    )  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    left = {path.name for path in output.iterdir()}
    assert left >= {
        "model.safetensors", "config.json", "preprocessor_config.json", "metrics.json", "curves.png",
        "confusion_matrix.png", "classification_report.txt", "README.md", "predictions.csv", "modeling_ser.py",
        "reliability.png",
    }  # fmt: skip
    saved = json.loads((output / "metrics.json").read_text())
    assert saved["protocol"] == metrics["protocol"] == "unseen speakers, 3 folds over speakers"
    assert {"unweighted_accuracy", "accuracy", "macro_f1", "weighted_f1", "per_class"} <= set(saved["test"])
    sides = [set(saved[f"{side}_speakers"]) for side in ("train", "validation")] + [set(saved["test"]["speakers"])]
    assert set.union(*sides) == {f"{actor:02d}" for actor in CORPUS_ACTORS}
    assert sum(map(len, sides)) == len(CORPUS_ACTORS)  # nobody is on two sides
    printed = capsys.readouterr().out
    assert "unseen speakers" in printed and "Expected calibration error" in printed and "Not sure" in printed
    card = ModelCard.load(output / "README.md")
    assert card.data.pipeline_tag == "audio-classification" and card.data.license == "cc-by-nc-sa-4.0"
    reported = {r.metric_name.split(" ")[0]: r.metric_value for r in card.data.eval_results}
    assert reported["Unweighted"] == pytest.approx(saved["test"]["unweighted_accuracy"], abs=1e-4)
    classifier = EmotionClassifier.from_pretrained(output)
    assert classifier.predict(speech_file).label in saved["test"]["labels"]
    calibration = saved["calibration"]
    assert calibration["uncertainty_threshold"] == classifier.uncertainty_threshold >= 1 / 8
    assert calibration["temperature"] == saved["temperature"]
    assert sum(row["clips"] for row in calibration["bins"]) == saved["test"]["clips"]
    assert {"expected_calibration_error", "uncertain_share", "errors_caught"} <= set(calibration)


def test_the_tones_of_unseen_speakers_are_learned(corpus_dir, encoder_dir, tmp_path):
    """Not only files: on an easy corpus the script does learn."""
    arguments = arguments_for(
        "whisper_base", encoder_dir(), corpus_dir, tmp_path / "run",
        "--num_frozen_layers", "0", "--freeze_feature_encoder", "false", "--learning_rate", "3e-3",
        "--head_learning_rate", "3e-3", "--num_train_epochs", "25", "--per_device_train_batch_size", "8",
        "--speed_probability", "0", "--head_dropout", "0", "--time_masks", "0", "--frequency_masks", "0",
    )  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    assert metrics["test"]["unweighted_accuracy"] > 0.5  # chance is 0.125


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(corpus_dir, encoder_dir, tmp_path):
    encoder = encoder_dir()

    def run(output: Path, *more: str) -> dict:
        options = ["--num_train_epochs", "4", "--save_total_limit", "4"]
        return fine_tune(*parse_arguments(arguments_for("whisper_base", encoder, corpus_dir, output, *options, *more)))

    whole = run(tmp_path / "whole")
    checkpoints = sorted((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    resumed = run(tmp_path / "resumed", "--resume_from_checkpoint", str(checkpoints[1]))
    assert resumed["test"] == whole["test"]
    assert resumed["validation"] == whole["validation"]
    assert resumed["temperature"] == pytest.approx(whole["temperature"], abs=1e-6)
    one, two = ((tmp_path / name / "predictions.csv").read_text() for name in ("whole", "resumed"))
    assert one == two


def test_every_option_of_training_runs_and_a_leaky_protocol_says_so(corpus_dir, encoder_dir, tmp_path):
    arguments = arguments_for(
        "whisper_base", encoder_dir(), corpus_dir, tmp_path / "run", "--num_train_epochs", "2", "--class_weights",
        "true", "--early_stopping_patience", "1", "--gradient_accumulation_steps", "2", "--bf16", "true",
        "--stretch_probability", "0.5", "--level_db", "-25", "--gradient_checkpointing", "true",
        "--protocol", "random",
    )  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    assert "leaky" in metrics["protocol"]
    assert "leaky" in (tmp_path / "run" / "README.md").read_text()
    assert EmotionClassifier.from_pretrained(tmp_path / "run").feature_extractor.level_db == -25


@pytest.mark.parametrize(("content", "expected"), [
    ("learning_rat: 1e-4", "Did you mean 'learning_rate'"),
    ("- a list", "field: value"),
    ("a: [", "not YAML"),
])  # fmt: skip
def test_a_wrong_configuration_is_one_sentence(content, expected, tmp_path):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ModelError, match=expected):
        parse_arguments([str(tmp_path / "c.yaml")])


def test_a_configuration_that_is_not_there_names_those_that_are():
    with pytest.raises(ModelError, match=r"whisper_base\.yaml"):
        parse_arguments([str(REPOSITORY / "configs" / "whisper_bas.yaml")])


def test_the_command_line_wins_over_the_file():
    model, _, _, training = parse_arguments(
        [str(REPOSITORY / "configs" / "whisper_base.yaml"), "--learning_rate", "1e-3", "--num_encoder_layers", "3"]
    )
    assert training.learning_rate == 1e-3 and model.num_encoder_layers == 3
    assert training.metric_for_best_model == "unweighted_accuracy"


def test_every_configuration_names_its_hub_checkpoint():
    expected = {
        "whisper_base": "openai/whisper-base", "hubert_base": "facebook/hubert-base-ls960",
        "wav2vec2_base": "facebook/wav2vec2-base", "wavlm_base": "microsoft/wavlm-base",
    }  # fmt: skip
    for config, name in expected.items():
        assert parse_arguments([str(REPOSITORY / "configs" / f"{config}.yaml")])[0].model_name_or_path == name


def test_an_encoder_that_is_not_there_is_one_sentence_and_exit_code_1(corpus_dir, tmp_path):
    command = [
        sys.executable, str(REPOSITORY / "finetune" / "train.py"),
        *arguments_for("whisper_base", str(tmp_path / "nowhere"), corpus_dir, tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr and "--model_name_or_path" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("family", "frozen"), [("whisper", 1), ("whisper", 2), ("hubert", 2)])
def test_views_kept_from_frozen_layers_train_a_checkpoint_that_answers(
    family, frozen, corpus_dir, encoder_dir, tmp_path, speech_file
):
    arguments = arguments_for(
        CONFIG_OF[family], encoder_dir(family), corpus_dir, tmp_path / "run", "--num_frozen_layers", str(frozen),
        "--num_views", "2", "--num_heads", "2", "--num_train_epochs", "1", "--refit", "true",
    )  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    # What was validated on kept states is what the checkpoint says of the sound files.
    classifier = EmotionClassifier.from_pretrained(tmp_path / "run")
    assert len(classifier.model.heads) == 2
    assert metrics["settings"]["num_views"] == 2
    # Trained again with the validation speakers, whose clips had chosen before; never with the test speakers.
    assert set(metrics["validation_speakers"]) < set(metrics["train_speakers"])
    assert not set(metrics["test"]["speakers"]) & set(metrics["train_speakers"])
    assert classifier.predict(speech_file).label in metrics["test"]["labels"]


def test_training_goes_on_from_a_former_run(corpus_dir, encoder_dir, tmp_path, caplog):
    caplog.set_level("INFO", logger="ser_hf")
    first = arguments_for("whisper_base", encoder_dir(), corpus_dir, tmp_path / "first", "--num_train_epochs", "1")
    fine_tune(*parse_arguments(first))
    before = EmotionClassifier.from_pretrained(tmp_path / "first")
    assert before.model.config.calibration_temperature != 1

    # Without a step it still is what it was: heads, standardisation and the preparation of the sound.
    arguments = arguments_for(
        "whisper_base", str(tmp_path / "first"), corpus_dir, tmp_path / "second", "--learning_rate", "0",
        "--head_learning_rate", "0", "--num_train_epochs", "1", "--trim_top_db", "5",
    )  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    assert "its heads included: the classes are the same" in caplog.text
    assert EmotionClassifier.from_pretrained(tmp_path / "second").feature_extractor.trim_top_db == 30
    assert metrics["temperature"] == pytest.approx(before.model.config.calibration_temperature, rel=1e-2)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("first", "second"))
    assert first["test"]["unweighted_accuracy"] == second["test"]["unweighted_accuracy"]


def test_a_former_run_gets_new_heads_for_other_classes(encoder_dir, corpus_dir, tmp_path, caplog):
    caplog.set_level("INFO", logger="ser_hf")
    first = arguments_for("whisper_base", encoder_dir(), corpus_dir, tmp_path / "first", "--max_steps", "1")
    fine_tune(*parse_arguments(first))
    recordings = tmp_path / "recordings"
    for speaker in ("anna", "ben", "cleo"):
        for clip in range(3):
            write_clip(recordings / speaker / "happy" / f"{clip}.wav")
            write_clip(recordings / speaker / "bored" / f"{clip}.wav")
    arguments = arguments_for("whisper_base", str(tmp_path / "first"), recordings, tmp_path / "second")
    arguments[arguments.index("--data_dir") : arguments.index("--data_dir") + 2] = ["--dataset", str(recordings)]
    fine_tune(*parse_arguments([*arguments, "--num_train_epochs", "1", "--learning_rate", "0"]))
    assert "heads are made anew: they were for neutral, calm" in caplog.text
    before, after = (EmotionClassifier.from_pretrained(tmp_path / name).model for name in ("first", "second"))
    assert list(after.config.id2label.values()) == ["happy", "bored"]
    assert after.heads[0].classifier.out_features == 2
    kept = [key for key in before.state_dict() if key.startswith(("encoder.", "pooling."))]
    assert kept and all(torch.equal(before.state_dict()[key], after.state_dict()[key]) for key in kept)
    assert not torch.equal(before.statistics_mean, after.statistics_mean)


def test_the_embedded_checkpoint_is_a_start_too():
    arguments = [str(REPOSITORY / "configs" / "whisper_base.yaml"), "--model_name_or_path", "embedded"]
    model, _ = build_model(parse_arguments(arguments)[0], ["happy", "bored"])
    assert model.config.num_encoder_layers == 4 and model.heads[0].classifier.out_features == 2


def test_no_fold_is_tested_on_whom_a_former_run_has_heard(corpus_dir, tmp_path):
    """The embedded checkpoint never heard actor 1, but actors 2 to 6, and every fold of these six has one of them."""
    for fold in (1, 2, 3):
        arguments = arguments_for("whisper_base", "embedded", corpus_dir, tmp_path / "run", "--fold", str(fold))
        with pytest.raises(DatasetError, match=r"embedded was trained on speakers .*ravdess/0[2-6]"):
            fine_tune(*parse_arguments(arguments))


def test_more_frozen_layers_than_a_former_run_has_are_one_sentence():
    arguments = [
        str(REPOSITORY / "configs" / "whisper_base.yaml"), "--model_name_or_path", "embedded",
        "--num_frozen_layers", "6",
    ]  # fmt: skip
    with pytest.raises(ModelError, match="num_frozen_layers is 6 of 4 layers"):
        build_model(parse_arguments(arguments)[0], ["happy", "bored"])


def test_views_of_layers_that_are_trained_are_refused(corpus_dir, encoder_dir, tmp_path):
    arguments = arguments_for(
        "whisper_base", encoder_dir(), corpus_dir, tmp_path / "run", "--num_frozen_layers", "0", "--num_views", "2"
    )
    with pytest.raises(ModelError, match="num_views is 2, but num_frozen_layers is 0"):
        fine_tune(*parse_arguments(arguments))
