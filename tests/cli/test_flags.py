from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoestring.cli.flags import Parser
from shoestring.cli.main import main


def dry(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict]:
    assert main([*words, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "name, text",
    [
        ("r.yaml", "data: digits\nepochs: 3\ntrain: {model: simplecnn, width: 0.5}\n"),
        ("r.json", '{"data": "digits", "epochs": 3, "train": {"model": "simplecnn", "width": 0.5}}'),
    ],
)
def test_flags_override_recipes_and_recipes_override_defaults(capsys, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    values = dry(capsys, "run", "--recipe", str(file), "--epochs", "7")
    assert values["epochs"] == {"value": 7.0, "from": "flags"}
    assert values["train.width"] == {"value": 0.5, "from": str(file)}
    assert values["train.ema"] == {"value": True, "from": "default"}


def test_metavars_name_the_type_of_a_value(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    for flag in ("--time DURATION", "--macs SIZE", "--params SIZE", "--signals PATH", "--weights PATH", "--keep PATH"):
        assert f"  {flag} " in text
    for flag in ("--examples N", "--epochs X", "--select TEXT", "--schedule {deadline,anytime}"):
        assert f"  {flag}" in text


def test_dry_run_writes_nothing(capsys, tmp_path: Path) -> None:
    dry(capsys, "run", "digits", "--out", str(tmp_path / "run"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "name", "text"),
    [
        ("--time", "time", "5m"),
        ("--flops", "flops", "3e15"),
        ("--memory", "memory", "2GB"),
        ("--within", "select.within", "easiest:0.2"),
        ("--balance", "select.balance", "proportional"),
        ("--strength", "train.strength", "0.5,1"),
        ("--stages", "grow.stages", "0.5@0.5,1@1"),
        ("--macs", "prune.macs", "0.5"),
        ("--params", "prune.params", "200k"),
    ],
)
def test_dry_run_prints_parsed_values_as_they_were_written(capsys, flag: str, name: str, text: str) -> None:
    values = dry(capsys, "run", "digits", "--examples", "50", flag, text)
    assert values[name] == {"value": text, "from": "flags"}


def test_dry_run_prints_class_counts_as_a_mapping(capsys) -> None:
    values = dry(capsys, "run", "digits", "--examples", "50", "--balance", "1=20,2=30")
    assert values["select.balance"]["value"] == {"1": 20, "2": 30}


def test_json_recipe_may_be_indented_with_tabs(capsys, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text('{\n\t"data": "digits",\n\t"epochs": 3\n}\n')
    assert dry(capsys, "run", "--recipe", str(file))["epochs"]["value"] == 3.0


def test_single_step_uses_its_own_section_of_a_recipe(tmp_path: Path) -> None:
    from shoestring.cli.run import _recipe

    file = tmp_path / "r.yaml"
    file.write_text("data: digits\nepochs: 3\nselect: {examples: 50}\nprune: {macs: 0.5}\ntrain: {width: 0.5}\n")
    recipe, _ = _recipe(Parser(), "train", {"recipe": str(file)}, {})
    assert (recipe.select.examples, recipe.prune.enabled, recipe.train.width) == (None, False, 0.5)
    assert _recipe(Parser(), "run", {"recipe": str(file)}, {})[0].prune.enabled


@pytest.mark.parametrize("words", [("--select.order", "hardest"), ("--select.order=hardest",)])
@pytest.mark.parametrize("first", [True, False])
def test_dotted_flag_sets_an_option_of_a_method(capsys, words: tuple[str, ...], first: bool) -> None:
    words = (*words, "digits") if first else ("digits", *words)
    values = dry(capsys, "run", *words, "--examples", "100", "--select", "forgetting")
    assert values["select.order"] == {"value": "hardest", "from": "flags"}
    assert values["data"]["value"] == "digits"


def test_verb_accepts_the_options_of_its_method_without_a_prefix(capsys) -> None:
    values = dry(capsys, "select", "digits", "--examples", "100", "--method", "forgetting", "--order", "hardest")
    assert (values["select.method"]["value"], values["select.order"]["value"]) == ("forgetting", "hardest")


def test_boolean_flags_can_be_negated(capsys) -> None:
    assert dry(capsys, "run", "digits", "--no-ema")["train.ema"]["value"] is False
    assert dry(capsys, "run", "digits", "--no-flip")["train.flip"]["value"] is False


@pytest.mark.parametrize(
    "words, near",
    [
        (("run", "digits", "--exmples", "5"), "--examples"),
        (("run", "digits", "--modle=x"), "--model"),
        (("run", "digits", "--slect.order", "x"), "'select'"),
        (("train", "digits", "--lr", "x"), "--learning-rate"),
        (("run", "digits", "--optim", "x"), "--optimizer"),
        (("run", "digits", "--gpu"), "--device cuda"),
        (("run", "digits", "-b", "32"), "--batch-size"),
        (("select", "digits", "--num-samples", "32"), "--examples"),
        (("evaluate", "runs/x", "--output", "y"), "--out"),
        (("predict", "runs/x", "a.png", "--topk=3"), "--top"),
        (("run", "digits", "--train.lr", "x"), "'train.learning_rate'"),
        (("eval", "runs/x"), "'evaluate'"),
        (("prune", "runs/x", "--mac", "0.5"), "--macs"),
        (("run", "digits", "--optimise", "sgd"), "--optimizer"),  # not a former name, which is hidden
        (("run", "digits", "--view", "one"), "--tta"),
        (("run", "digits", "--average"), "--ema"),
    ],
)
def test_unknown_flag_suggests_the_nearest(capsys, words: tuple[str, ...], near: str) -> None:
    assert f"Did you mean {near}?" in refused(capsys, *words)


@pytest.mark.parametrize("words", ["--frobnicate", "--method", "--metal=3", "-q"])
def test_dissimilar_flag_gets_no_suggestion(capsys, words: str) -> None:
    error = refused(capsys, "train", "digits", words)
    assert "Did you mean" not in error and words.partition("=")[0] in error


@pytest.mark.parametrize(
    "words, message",
    [
        (("run", "digits", "--time", "-5s"), "'-5s' is not a time"),
        (("run", "digits", "--time=-5s"), "'-5s' is not a time"),
        (("run", "digits", "--examples", "-x"), "must be an integer, not '-x'"),
        (("run", "digits", "--time"), "--time needs a value: time budget"),
        (("run", "digits", "--time", "--quiet"), "--time needs a value"),
        (("run", "digits", "--optimiser"), "--optimiser needs a value. ("),
        (("run", "digits", "--threads", "100000"), "at most 1024"),
        (("run", "digits", "--threads", "-1"), "at least 1"),
        (("run", "digits", "--threads", "many"), "an integer"),
        (("run", "digits", "--device", "gpu"), "Did you mean 'cuda'?"),
        (("predict", "runs/x", "a.png", "--top", "-1x"), "'-1x'"),
        (("check", "digits", "--resolution", "-1"), "at least 1"),
        (("check", "digits", "--resolution", "0"), "at least 1"),
    ],
)
def test_invalid_value_is_a_one_line_error(capsys, words: tuple[str, ...], message: str) -> None:
    error = refused(capsys, *words, "--quiet")
    assert message in error and error.count("\n") == 1


def test_unknown_option_of_a_method_is_refused(capsys) -> None:
    words = ("run", "digits", "--examples", "9", "--select", "forgetting", "--select.ordr", "hardest")
    assert "Did you mean 'order'?" in refused(capsys, *words)


def test_flags_cannot_be_abbreviated(capsys) -> None:
    assert "unknown flag --exam" in refused(capsys, "run", "digits", "--exam", "5")
