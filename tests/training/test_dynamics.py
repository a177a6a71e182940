from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.models.inference import autocast
from shoestring.training.dynamics import Recorder, feature_norms, margins


def test_margins_are_the_label_less_the_best_other():
    logits = np.array([[1.0, 4.0, 2.0], [3.0, 0.5, 2.5], [0.0, 0.0, 1.0]], dtype=np.float32)
    assert margins(logits, np.array([1, 2, 0])).tolist() == [2.0, -0.5, -1.0]


def test_the_recorder_counts_as_a_slow_loop_does():
    rng = np.random.default_rng(0)
    recorder = Recorder(12)
    right, learned, forgotten, margins = [False] * 11, [False] * 11, [0] * 11, [[] for _ in range(11)]
    confidence, error, gradient = ([[] for _ in range(11)] for _ in range(3))
    targets = rng.integers(0, 3, 12)
    for _ in range(40):
        index = rng.permutation(11)[:4]
        logits = rng.normal(size=(4, 3)).astype(np.float32)
        lengths = rng.random(4).astype(np.float32)
        recorder(*(torch.from_numpy(values) for values in (index, logits, targets[index], lengths)))
        for row, image, length in zip(logits, index, lengths):
            truth = row[targets[image]]
            margin = truth - max(value for label, value in enumerate(row) if label != targets[image])
            forgotten[image] += right[image] and margin <= 0
            right[image] = margin > 0
            learned[image] = learned[image] or margin > 0
            margins[image].append(margin)
            shares = np.exp(row) / np.exp(row).sum()
            confidence[image].append(shares[targets[image]])
            error[image].append(np.linalg.norm(shares - np.eye(3)[targets[image]]))
            gradient[image].append(error[image][-1] * length)
    found = recorder.result()
    assert found.forgotten[:11].tolist() == forgotten
    assert found.learned[:11].tolist() == learned
    assert found.margin[:11] == pytest.approx([np.mean(own) for own in margins], abs=1e-6)
    assert (found.forgotten[11], found.learned[11], found.margin[11]) == (0, False, -np.inf)
    epochs = max(len(own) for own in confidence)
    for values, expected in ((found.confidence, confidence), (found.error, error), (found.gradient, gradient)):
        assert values.shape == (epochs, 12)
        for image in range(11):
            assert values[: len(expected[image]), image] == pytest.approx(expected[image], abs=1e-6)
            assert np.isnan(values[len(expected[image]) :, image]).all()
    again = Recorder(12)
    again.restore(recorder.state())
    assert np.array_equal(again.result().margin, found.margin)
    assert np.array_equal(again.result().gradient, found.gradient, equal_nan=True)


@pytest.mark.parametrize("bias", [True, False])
def test_error_times_length_is_the_length_of_the_gradient_of_the_last_layer(bias):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=bias))
    batch, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    recorder = Recorder(6)
    with feature_norms(module) as lengths:
        recorder(torch.arange(6), module(batch), labels, lengths[-1])
    module(batch)
    assert len(lengths) == 1  # nobody watches any more
    for image, label, found in zip(batch, labels, recorder.result().gradient[0]):
        loss = nn.functional.cross_entropy(module(image[None]), label[None])
        gradients = torch.autograd.grad(loss, list(module[2].parameters()))
        assert found == pytest.approx(float(torch.cat([one.flatten() for one in gradients]).norm()), rel=1e-5)


def test_lengths_are_seen_in_low_precision_and_through_a_compiled_network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    batch = torch.randn(6, 5)
    found = []
    compiled = torch.compile(module, backend="eager")
    for network, precision in ((module, "float32"), (module, "bfloat16"), (compiled, "float32")):
        with autocast("cpu", precision), feature_norms(network) as lengths:
            network(batch)
        found.append(lengths[-1])
    assert found[1].dtype == torch.float32
    assert torch.allclose(found[0], found[1], rtol=0.02)
    assert torch.allclose(found[0], found[2])
