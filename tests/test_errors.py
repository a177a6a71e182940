"""Messages mention flags on the command line and arguments in Python."""

from __future__ import annotations

import pickle

import pytest

from shoestring import Budget, Classifier, UserError, load, prune, select, train
from shoestring.cli.main import main
from shoestring.errors import BudgetTooSmall, messages_with_flags, with_arguments

pytestmark = pytest.mark.usefixtures("arguments")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--time 20s is too small. The least is --time 23s.", 'time="20s" is too small. The least is time="23s".'),
        ("The least that works is --flops 1.2e+13.", "The least that works is flops=1.2e+13."),
        ("take --batch-size 2, or --no-norm.", "take batch_size=2, or norm=False."),
        (
            "Leave resolution out of --grow, or write other --stages.",
            "Leave resolution out of grow, or write other stages.",
        ),
        ("Write --within easiest:0.2, for example.", 'Write within="easiest:0.2", for example.'),
        ("write --balance cat=50,dog=20.", 'write balance="cat=50,dog=20".'),
        ("--weights FILE, or --features timm:NAME@FILE.", 'weights=FILE, or features="timm:NAME@FILE".'),
        ("say how many with --examples N.", "say how many with examples=N."),
        ("cannot read runs/a--b/c.png -- sorry", "cannot read runs/a--b/c.png -- sorry"),
    ],
)
def test_flags_become_arguments(flags, expected):
    assert with_arguments(flags) == expected
    error = UserError(flags)
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == f"{error}" == expected
    with messages_with_flags():
        assert str(error) == flags


CALLS = [
    (lambda images, make: Budget(), "a budget is one of time, epochs or flops"),
    (lambda images, make: train(images, budget=Budget(epochs=1e-3)), "epochs=0.001 is too small"),
    (lambda images, make: train(images, model="convnt"), "Did you mean 'convnet'"),
    (lambda images, make: train(images, widht=2), "unknown argument 'widht'. Did you mean 'width'"),
    (lambda images, make: train(images, learning_rate="fast"), "^learning_rate must be a number"),
    (lambda images, make: train(images, strength="2"), "strength takes"),
    (lambda images, make: train(images, batch_size=1, model="convnet"), "batch_size=2, or norm=False"),
    (lambda images, make: train(images, weights="nowhere"), r"no weights at .*nowhere"),
    (lambda images, make: train(images, grow="constan"), "Did you mean 'constant'"),
    (lambda images, make: train(images, grow="width", stages="1@1"), "omit grow"),
    (lambda images, make: train(images[[]]), "no images to train on"),
    (lambda images, make: select(images, 61), "61"),
    (lambda images, make: select(images, 9, method="randm"), "Did you mean 'random'"),
    (lambda images, make: select(images, 9, method="random", within="x"), "within"),
    (lambda images, make: select(images, 9, method="random", balance="bird=3"), "balance"),
    (lambda images, make: select(images, 9, method="random", already="nowhere.json"), "nowhere.json"),
    (lambda images, make: prune(make(images), images), "macs|size"),
    (lambda images, make: prune(make(images), images, macs="huge"), "huge"),
    (lambda images, make: prune(make(images), images, macs=0.5, method="magnitud"), "Did you mean 'magnitude'"),
    (lambda images, make: load("nothing here"), "no folder, file or data set"),
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_python_messages_mention_arguments(images, make_model, call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(images, make_model)
    assert "--" not in str(caught.value)


def test_command_line_messages_mention_flags(capsys, tmp_path):
    assert main(["run", "digits", "--epochs", "0.001", "--out", str(tmp_path / "run")]) == 3
    error = capsys.readouterr().err
    assert "--epochs 0.001 is too small" in error and "The least that works is --epochs" in error
    with pytest.raises(BudgetTooSmall, match=r"epochs=0\.001"):
        raise Budget(epochs=0.001).too_small(1.0, why="so it is")


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(Budget(epochs=2).too_small(7.5, why="so it is")))
    assert (
        isinstance(error, BudgetTooSmall) and error.least == 7.5 and "The least that works is epochs=7.5." in str(error)
    )


def test_messages_of_a_classifier_mention_parameters(images):
    with pytest.raises(BudgetTooSmall, match=r"epochs=0\.001 is too small"):
        Classifier(epochs=0.001).fit(images.pixels, images.targets)
