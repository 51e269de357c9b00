"""What `mosam doctor` says, and that its advice fits."""

import pytest
from trees import write_text

from mosam.cli import run_command
from mosam.commands import doctor
from mosam.commands.doctor import Finding, examine, report


def found(monkeypatch, **environment):
    for name in ("MOSAM_DATA", "MOSAM_OFFLINE", "MOSAM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    return {finding.name: finding for finding in examine()}


def test_a_sound_installation(monkeypatch, tmp_path):
    findings = found(monkeypatch, MOSAM_CACHE=tmp_path, MOSAM_OFFLINE="1")
    assert findings["torch"].state == "ok"
    assert findings["nano"].text == "shipped"
    assert findings["video"].text.startswith("PyAV")
    assert findings["cache"].text == f"{tmp_path}/checkpoints; offline"
    assert findings["MOSAM_DATA"].advice.startswith("export MOSAM_DATA=")


def test_what_is_missing_is_bad_and_has_advice(monkeypatch):
    real = doctor.package_version
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name == "av" else real(name))
    finding = found(monkeypatch)["av"]
    assert (finding.state, finding.text, finding.advice) == ("bad", "not installed", "pip install 'av'")


def test_a_gpu_that_torch_does_not_see(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else None)
    finding = found(monkeypatch)["cuda"]
    assert finding.state == "bad"
    assert "install the torch build for your driver" in finding.advice


def test_data_that_are_there_and_damaged_ones(monkeypatch, tmp_path):
    (tmp_path / "lasot").mkdir()
    write_text(tmp_path / "got10k" / "val" / "list.txt", "")
    findings = found(monkeypatch, MOSAM_DATA=tmp_path)
    assert findings["MOSAM_DATA"].text == str(tmp_path)
    assert findings["lasot"].state == "bad"
    assert findings["lasot"].advice == "mosam data check lasot"
    assert "trackingnet" not in findings
    assert found(monkeypatch, MOSAM_DATA=tmp_path / "none")["MOSAM_DATA"].state == "bad"


def test_a_whole_benchmark_is_counted(monkeypatch, tmp_path):
    from mosam.datasets.make import make_tree

    make_tree("lasot", tmp_path / "lasot", sequences=2, frames=6)
    finding = found(monkeypatch, MOSAM_DATA=tmp_path)["lasot"]
    assert "sequences" in finding.text


def test_the_report_marks_states_and_ends_with_advice():
    text = report([Finding("a", "one", "ok", "1"), Finding("b", "three", "bad", "3", "mend it")])
    assert text.splitlines() == ["a", "  + one    1", "", "b", "  ! three  3", "", "advice", "  three: mend it"]


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("none", 0), ("bad", 1)])
def test_exit_code(monkeypatch, capsys, state, code):
    monkeypatch.setattr(doctor, "examine", lambda: iter([Finding("a", "one", state, "1")]))
    assert run_command(["doctor"]) == code
    assert "one" in capsys.readouterr().out
