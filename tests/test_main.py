"""The command line: what it prints, and its exit code."""

import csv
import json

import pytest

from ser_hf.__main__ import main
from ser_hf.training.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    save_checkpoint(*tiny_model("whisper"), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def bad_file(tmp_path):
    path = tmp_path / "bad.wav"
    path.write_bytes(b"")
    return str(path)


def test_predict_prints_a_line_for_each_file(checkpoint, speech_file, capsys):
    assert main(["predict", str(speech_file), str(speech_file), "--model", checkpoint]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{speech_file}: ") and lines[0].endswith(")")


def test_json_prints_an_object_for_each_file_and_a_bad_one_does_not_stop_the_rest(
    checkpoint, speech_file, bad_file, capsys
):
    code = main(["predict", str(speech_file), bad_file, str(speech_file), "--json", "--model", checkpoint])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 1
    answer = ["file", "label", "score", "scores", "uncertain", "duration"]
    assert [list(record) for record in records] == [answer, ["file", "error"], answer]
    assert records[0]["file"] == str(speech_file)
    assert sum(records[0]["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert records[1]["file"] == bad_file and "empty" in records[1]["error"]


def test_an_answer_below_the_threshold_of_the_model_is_not_sure(tiny_model, speech_file, tmp_path, capsys):
    save_checkpoint(*tiny_model("whisper", uncertainty_threshold=1.0), tmp_path / "model")
    command = [str(speech_file), "--model", str(tmp_path / "model")]
    assert main(["predict", *command]) == main(["predict", *command, "--json"]) == 0
    said, record = capsys.readouterr().out.splitlines()
    record = json.loads(record)
    assert record["uncertain"] is True
    assert said == f"{speech_file}: not sure ({record['label']} {record['score']:.2f})"
    assert main(["timeline", *command, "--window", "1"]) == 0
    assert "s  not sure (" in capsys.readouterr().out


def test_a_bad_file_is_a_message_and_exit_code_1(checkpoint, bad_file, capsys):
    assert main(["predict", bad_file, "--model", checkpoint]) == 1
    output = capsys.readouterr()
    assert output.out == "" and "bad.wav" in output.err and "Traceback" not in output.err


def test_a_model_that_is_not_there_is_a_message_and_exit_code_1(speech_file, tmp_path, capsys):
    assert main(["predict", str(speech_file), "--model", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_timeline_prints_segments_and_writes_csv(checkpoint, speech_file, tmp_path, capsys):
    arguments = ["timeline", str(speech_file), "--window", "1", "--hop", "0.5", "--model", checkpoint]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--csv", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(printed) > 1
    assert {"start", "end", "label", "score", "uncertain", "calm"} <= set(rows[0])
    assert {row["uncertain"] for row in rows if row["label"]} == {"false"}
