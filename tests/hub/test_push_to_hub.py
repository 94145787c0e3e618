"""What someone gets who publishes a checkpoint: proof that it loads elsewhere, one commit, or one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file

from ser_hf import HubError, ModelError
from ser_hf import hub as publishing
from ser_hf.cross_validation import CrossValidationArguments, cross_validate
from ser_hf.hub import CHECKPOINT_FILES, plan_push, push_checkpoint, push_folder, stage_checkpoint, verify_checkpoint
from ser_hf.reference import REFERENCE_FILE, synthetic_clip
from ser_hf.training.arguments import parse_arguments
from ser_hf.training.fine_tuning import fine_tune

REPOSITORY = Path(__file__).parents[2]
PUBLISHED = {
    "README.md", "config.json", "preprocessor_config.json", "model.safetensors", "configuration_ser.py",
    "feature_extraction_ser.py", "modeling_ser.py", "metrics.json", "curves.png", "confusion_matrix.png",
    "classification_report.txt", REFERENCE_FILE,
}  # fmt: skip

CLIENTS = """
import json, numpy, sys
from transformers import pipeline
name, commit, clip = sys.argv[1], sys.argv[2], numpy.load(sys.argv[3])
sys.modules["ser_hf"] = None
sound = {"array": clip, "sampling_rate": 16000}
options = {"model": name, "trust_remote_code": True, "top_k": None}
answers = {
    "pipeline": pipeline("audio-classification", **options)(dict(sound)),
    "revision": pipeline("audio-classification", revision="v2", **options)(dict(sound)),
    "commit": pipeline("audio-classification", revision=commit, **options)(dict(sound)),
}
answers = {way: {row["label"]: row["score"] for row in rows} for way, rows in answers.items()}
for model in ("someone/nothing", "other/gated", "other/secret"):
    try:
        pipeline("audio-classification", model=model, trust_remote_code=True)
    except OSError as error:
        answers[model] = str(error)
del sys.modules["ser_hf"]
from ser_hf import EmotionClassifier, ModelError
answers["classifier"] = EmotionClassifier.from_pretrained(name).predict((clip, 16000)).scores
for model in ("someone/nothing", "other/gated"):
    try:
        EmotionClassifier.from_pretrained(model)
    except ModelError as error:
        answers["classifier " + model] = str(error)
print(json.dumps(answers))
"""


FAKE_FFMPEG = """#!{python}
import sys, wave
file = wave.open(sys.stdin.buffer)
import numpy
samples = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
sys.stdout.buffer.write((samples / 2**15).astype("<f4").tobytes())
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """A program that does what the pipeline asks of ffmpeg, where the machine has none."""
    if not shutil.which("ffmpeg"):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "ffmpeg"
        program.write_text(FAKE_FFMPEG.format(python=sys.executable))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def copy_of(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_a_checkpoint_goes_to_the_hub_and_back_by_its_name(hub, ffmpeg, published_files, tmp_path):
    import numpy as np

    for number in range(2):  # the Trainer's state lies in the same folder, and stays at home
        (published_files / f"checkpoint-{number}").mkdir(exist_ok=True)
        (published_files / f"checkpoint-{number}" / "optimizer.pt").write_bytes(b"pickle")
    (published_files / "training_args.bin").write_bytes(b"pickle")
    command = [sys.executable, str(REPOSITORY / "finetune" / "push_to_hub.py"), str(published_files), "ser-tiny"]
    done = subprocess.run([*command, "--private"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "all of them from the file" in done.stdout and "alone, in a batch, from a file equal" in done.stdout
    assert "/someone/ser-tiny" in done.stdout  # a name without an owner is one's own

    repo = hub.repos["models", "someone/ser-tiny"]
    files = hub.files("someone/ser-tiny")
    assert set(files) == PUBLISHED and repo.private
    assert len(repo.commits) == 2  # the empty repository, and everything at once
    assert any(request.startswith("PUT /lfs/") for request in hub.requests)
    assert files["model.safetensors"] == (published_files / "model.safetensors").read_bytes()
    assert 'model="someone/ser-tiny"' in files["README.md"].decode()
    assert set(HfApi().list_repo_files("someone/ser-tiny")) == PUBLISHED | {".gitattributes"}

    HfApi().create_branch("someone/ser-tiny", branch="v2")
    hub.add("other/gated", {"config.json": b"{}"}, gated=True)
    hub.add("other/secret", {"config.json": b"{}"}, private=True)
    np.save(tmp_path / "clip.npy", synthetic_clip(seed=1, seconds=2.1))
    arguments = ["someone/ser-tiny", repo.branches["main"], "clip.npy"]
    script = tmp_path / "clients.py"
    script.write_text(CLIENTS)
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    expected = json.loads(files[REFERENCE_FILE])["scores"][1]
    assert max(expected.values()) > 0.2  # not the even scores of a head that answers nothing
    for way in ("pipeline", "revision", "commit", "classifier"):
        assert answers[way] == pytest.approx(expected, abs=1e-4)
    assert "gated" in answers["other/gated"]
    assert "gated" in answers["classifier other/gated"] and "\n" not in answers["classifier other/gated"]
    for name in ("someone/nothing", "other/secret"):
        assert "not a valid model identifier" in answers[name]
    assert "someone/nothing" in answers["classifier someone/nothing"]


def test_a_push_that_breaks_off_changes_nothing_and_can_be_repeated(hub, published_files, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    stage_checkpoint(published_files, tmp_path / "staged", "someone/ser-tiny")

    def push() -> str:
        return push_folder(tmp_path / "staged", "someone/ser-tiny", own_files=CHECKPOINT_FILES, mark=REFERENCE_FILE)

    hub.cut_uploads = 100
    with pytest.raises(HubError, match=r"failed .* nothing was changed in someone/ser-tiny\. Run the same command"):
        push()
    assert hub.files("someone/ser-tiny") == {}
    hub.cut_uploads = 1  # the client tries again by itself
    push()
    assert set(hub.files("someone/ser-tiny")) == PUBLISHED
    before = len(hub.repos["models", "someone/ser-tiny"].commits)
    push()
    assert len(hub.repos["models", "someone/ser-tiny"].commits) == before  # the same files are no new commit


def test_an_update_takes_away_what_the_checkpoint_no_longer_has(hub, published_files, tmp_path):
    hub.add("someone/ser-tiny", {
        "README.md": b"---\n---\n", "notes.txt": b"mine", "model-00001-of-00002.safetensors": b"old",
        REFERENCE_FILE: b"{}",
    })  # fmt: skip
    stage_checkpoint(published_files, tmp_path / "staged", "someone/ser-tiny")
    options = {"own_files": CHECKPOINT_FILES, "mark": REFERENCE_FILE}
    push_folder(tmp_path / "staged", "someone/ser-tiny", revision="v2", **options)
    assert set(hub.files("someone/ser-tiny", "v2")) == PUBLISHED | {"notes.txt"}
    assert "notes.txt" in hub.files("someone/ser-tiny") and "config.json" not in hub.files("someone/ser-tiny")


@pytest.mark.parametrize(("repo_id", "token", "message"), [
    ("someone/ser", "", "no Hugging Face token: log in with `hf auth login`"),
    ("someone/ser", "hf_wrong", "does not accept the token"),
    ("some one/ser", "hf_someone", "'some one/ser' is no name of a repository"),
    ("a/b/c", "hf_someone", "'a/b/c' is no name of a repository"),
    ("other/ser", "hf_someone", "other/ser is taken by someone else, or your token may not write"),
    ("other/theirs", "hf_someone", "other/theirs is taken by"),
    ("someone/cats", "hf_someone", r"someone/cats is taken by something that .* among them cats\.bin"),
])  # fmt: skip
def test_what_the_hub_refuses_is_one_sentence(
    hub, published_files, tmp_path, monkeypatch, capsys, repo_id, token, message
):
    hub.add("other/theirs", {"config.json": b"{}"})
    hub.add("someone/cats", {"README.md": b"", "cats.bin": b"meow"})
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(publishing, "verify_checkpoint", lambda folder: "verified")
    before = {name: dict(repo.branches) for name, repo in hub.repos.items()}
    with pytest.raises(HubError, match=message) as error:
        push_checkpoint(published_files, repo_id)
    assert len(str(error.value).splitlines()) == 1
    assert {name: repo.branches for name, repo in hub.repos.items()} == before


def test_without_network_it_is_one_sentence(hub, published_files, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        HubError, match=r"The connection to http://127\.0\.0\.1:9 failed .*again when there is a network"
    ):
        push_checkpoint(published_files, "someone/ser")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push_checkpoint(published_files, "someone/ser")


@pytest.mark.parametrize("what", ["no folder", "no checkpoint", "no card"])
def test_a_folder_that_is_no_checkpoint_is_one_sentence(published_files, tmp_path, what):
    folder, message = tmp_path / "nowhere", "is not a folder"
    if what == "no checkpoint":
        (tmp_path / "nowhere").mkdir()
        message = r"has no config\.json"
    elif what == "no card":
        folder, message = copy_of(published_files, tmp_path / "copy"), r"lacks README\.md, curves\.png: nothing"
        (folder / "README.md").unlink()
        (folder / "curves.png").unlink()
    with pytest.raises(ModelError, match=message):
        push_checkpoint(folder, "someone/ser", dry_run=tmp_path / "dry")
    assert not (tmp_path / "dry").exists()


def test_a_dry_run_leaves_what_would_be_pushed_and_asks_no_hub(published_files, tmp_path, monkeypatch):
    verified, said = [], []
    monkeypatch.setattr(publishing, "verify_checkpoint", lambda folder: verified.append(set(folder.iterdir())))
    push_checkpoint(published_files, "someone/ser", dry_run=tmp_path / "dry", say=said.append)
    assert {path.name for path in (tmp_path / "dry").iterdir()} == PUBLISHED
    assert {path.name for path in verified[0]} == PUBLISHED
    assert "nothing was pushed" in said[-1]
    with pytest.raises(HubError, match="not empty"):
        push_checkpoint(published_files, "someone/ser", dry_run=tmp_path / "dry")


def test_a_checkpoint_without_reference_gets_one_now_and_it_is_said(published_files, tmp_path, monkeypatch):
    folder = copy_of(published_files, tmp_path / "copy")
    expected = json.loads((folder / REFERENCE_FILE).read_text())
    (folder / REFERENCE_FILE).unlink()
    monkeypatch.setattr(publishing, "verify_checkpoint", lambda folder: "verified")
    said = []
    push_checkpoint(folder, "someone/ser", dry_run=tmp_path / "dry", say=said.append)
    assert REFERENCE_FILE in said[0] and "made now" in said[0]
    made = json.loads((tmp_path / "dry" / REFERENCE_FILE).read_text())
    for ours, theirs in zip(made["scores"], expected["scores"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)  # half precision on disk is what the reference was made with
    assert not (folder / REFERENCE_FILE).exists()


@pytest.mark.parametrize(("fault", "message"), [
    ("a renamed weight", r"1 weights are not in the file.*classifier\.weight'"),
    ("another head", "where training said"),
    ("code that needs the repository", "a bare pipeline cannot load it"),
])  # fmt: skip
def test_a_checkpoint_that_would_answer_otherwise_elsewhere_is_not_published(
    published_files, tmp_path, fault, message
):
    folder = copy_of(published_files, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("classifier.weight"))
    if fault == "a renamed weight":
        weights["lost.weight"] = weights.pop(name)
    elif fault == "another head":
        weights[name] = -weights[name]
    else:
        code = folder / "modeling_ser.py"
        code.write_text(code.read_text() + "\nimport ser_hf\n")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=message) as error:
        verify_checkpoint(folder)
    assert len(str(error.value).splitlines()) == 1


def test_push_to_hub_in_a_configuration_is_checked_first_and_is_not_the_trainers_own(hub, tmp_path, monkeypatch):
    arguments = ["--push_to_hub", "true", "--output_dir", str(tmp_path / "ser-tiny"), "--use_cpu", "true"]
    *_, training_args = parse_arguments([*arguments, "--hub_model_id", "some one/ser"])
    with pytest.raises(HubError, match="no name of a repository"):
        plan_push(training_args)
    *_, training_args = parse_arguments([*arguments, "--hub_private_repo", "true"])
    push = plan_push(training_args)
    assert training_args.push_to_hub is False
    pushed = []
    monkeypatch.setattr(publishing, "push_checkpoint", lambda *args, **options: pushed.append((args, options)))
    push(tmp_path)
    assert pushed == [((tmp_path, "someone/ser-tiny"), {"private": True, "revision": None, "token": None})]

    def fail(*_, **__):
        raise HubError("The Hub is away.")

    monkeypatch.setattr(publishing, "push_checkpoint", fail)
    with pytest.raises(HubError, match=r"is trained and lies in .*The Hub is away\. .*finetune/push_to_hub\.py"):
        push(tmp_path)
    assert plan_push(parse_arguments(["--use_cpu", "true"])[-1]) is None


def test_push_to_hub_in_a_configuration_ends_training_with_one_verified_push(hub, corpus_dir, tmp_path):
    arguments = [
        str(REPOSITORY / "configs" / "log_mel_cnn.yaml"), "--data_dir", str(corpus_dir), "--protocol", "speaker",
        "--num_folds", "3", "--validation_speakers", "1", "--output_dir", str(tmp_path / "run"), "--use_cpu", "true",
        "--disable_tqdm", "true", "--max_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1",
        "--save_strategy", "steps", "--save_steps", "1", "--num_views", "1", "--push_to_hub", "true",
        "--hub_model_id", "someone/tones",
    ]  # fmt: skip
    metrics = fine_tune(*parse_arguments(arguments))
    files = hub.files("someone/tones")
    assert len(hub.repos["models", "someone/tones"].commits) == 2  # none of the Trainer's own
    assert {"model.safetensors", "modeling_spectrogram.py", "README.md", "metrics.json", REFERENCE_FILE} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth"))]
    assert json.loads(files["metrics.json"]) == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert not [name for name in metrics["settings"] if name.startswith(("hub_", "push_"))]


def test_cross_validation_does_not_push_one_fold_over_another(tmp_path):
    with pytest.raises(ModelError, match="push_to_hub publishes one checkpoint"):
        cross_validate(
            CrossValidationArguments(results_dir=str(tmp_path)),
            [str(REPOSITORY / "configs" / "log_mel_cnn.yaml"), "--push_to_hub", "true", "--use_cpu", "true"],
        )
