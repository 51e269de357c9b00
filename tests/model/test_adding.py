"""The worked example of docs/adding.md, "A network": taken from the page, loaded as a plugin, run."""

import re
from pathlib import Path

import pytest
import torch
from plugin_cases import no_plugins, write_plugin  # noqa: F401

from mosam.cli import run_command
from mosam.model.checkpoints import load_model
from mosam.system import plugins

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding.md"


@pytest.fixture
def quiet(no_plugins, tmp_path):  # noqa: F811
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "class Quiet(" in block)
    return str(write_plugin(tmp_path / "quiet.py", code))


def test_the_example_is_a_whole_network(quiet):
    plugins.load([quiet])
    ours, plain = (load_model(f"random:{name}@128", device="cpu") for name in ("quiet-mini", "mini"))
    assert (ours.name, ours.weights_hash) == ("random:quiet-mini@128", plain.weights_hash)
    frame = torch.zeros(1, 3, 128, 128)
    with torch.inference_mode():
        arguments = torch.zeros(1, dtype=torch.int64), torch.ones(1, 1, 128, 128), torch.ones(1, dtype=torch.bool)
        half, whole = (model.memorize(model.encode(frame), *arguments) for model in (ours, plain))
    assert torch.equal(half, whole / 2)
    assert half.abs().max() > 0


def test_the_command_of_the_page_runs(quiet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"^mosam (eval toy --plugin quiet.py.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert run_command([*line.replace("quiet-mini", "quiet-mini@128").split(), "--jobs", "1"]) == 0
    assert "samurai" in capsys.readouterr().out
