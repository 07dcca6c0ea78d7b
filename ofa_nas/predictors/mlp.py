"""Perceptrons on one-hot blocks: an ensemble fitted to measured subnets, or one that others published.

What each value of each gene switches on is data of the file, so networks of other encodings can be read too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.array_json import pack_array, unpack_array, unpack_number
from ofa_nas.arrays import Floats, Index
from ofa_nas.predictors import AdditiveForm, Observations, conformal_half_width, deal_folds
from ofa_nas.space.encoding import Encoding, Genes

MEMBERS = 5
HIDDEN = (64, 64)
STEPS, BATCH = 400, 64
RATE, DECAY = 3e-3, 1e-3
BETAS, EPSILON = (0.9, 0.999), 1e-8
ROWS = 4096  # predicted at once, so that activations stay in the cache
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dense:
    """A layer: weight `(out, in)` and bias `(out,)`, float32."""

    weight: Floats32
    bias: Floats32


Network = tuple[Dense, ...]


@dataclass(frozen=True)
class MlpPredictor:
    """The mean of networks with ReLU between their layers.

    Attributes:
        inputs: `(d, width, 2)` which inputs each value of each gene sets to 1; `count` stands for none.
        count: Inputs of the networks.
        networks: Each from `count` inputs to one accuracy.
        half_width: Of 90 % intervals, a fraction.
    """

    inputs: Index
    count: int
    networks: tuple[Network, ...]
    half_width: float

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        parts = [
            np.mean([_forward(network, rows)[-1][:, 0] for network in self.networks], axis=0)
            for rows in self._batches(genes)
        ]
        return np.concatenate([np.empty(0), *parts])

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions, all the same."""
        return np.full(len(genes), self.half_width)

    def additive(self, encoding: Encoding) -> AdditiveForm | None:
        """A perceptron is no sum."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values; arrays as base64 of little-endian float32."""
        return {
            "inputs": self.inputs.tolist(),
            "count": self.count,
            "networks": [
                [{"weight": pack_array(layer.weight), "bias": pack_array(layer.bias)} for layer in network]
                for network in self.networks
            ],
            "half_width": self.half_width,
        }

    def _batches(self, genes: Genes) -> Iterator[Floats32]:
        for start in range(0, len(genes), ROWS):
            yield one_hot(self.inputs, self.count, genes[start : start + ROWS])


def fit(encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> MlpPredictor:
    """Fit an ensemble; its interval is that of single networks, each fitted without a tenth."""
    inputs, count = block_inputs(encoding)
    rows = one_hot(inputs, count, observations.genes)
    folds = deal_folds(len(observations), rng)
    residuals = np.empty(len(observations))
    for fold in folds:
        network = _train(rows[~fold], observations.take(~fold), rng)
        residuals[fold] = observations.accuracies[fold] - _forward(network, rows[fold])[-1][:, 0]
    networks = tuple(_train(rows, observations, rng) for _ in range(MEMBERS))
    return MlpPredictor(inputs, count, networks, conformal_half_width(residuals))


def from_json(encoding: Encoding, parameters: dict[str, Any]) -> MlpPredictor:
    """Read back what `to_json` gave."""
    inputs, count = np.array(parameters["inputs"], dtype=np.int64), int(parameters["count"])
    if (
        inputs.shape[:1] + inputs.shape[2:] != (encoding.length, 2)
        or inputs.min() < 0
        or inputs.max() > count
    ):
        raise ValueError(f"inputs of shape {inputs.shape} for {encoding.length} genes and {count} inputs")
    networks = tuple(
        tuple(Dense(unpack_array(layer["weight"]), unpack_array(layer["bias"])) for layer in network)
        for network in parameters["networks"]
    )
    if not networks:
        raise ValueError("there is no network")
    for network in networks:
        _check(network, count)
    return MlpPredictor(inputs, count, networks, unpack_number(parameters, "half_width"))


def block_inputs(encoding: Encoding) -> tuple[Index, int]:
    """An input for each resolution, and each kernel size and expand ratio of a position; and their count."""
    resolutions = len(encoding.space.resolutions)
    inputs = np.full((encoding.length, encoding.width, 2), -1, dtype=np.int64)
    inputs[0, :resolutions, 0] = np.arange(resolutions)
    count = resolutions
    for row, position in enumerate(encoding.positions, start=1):
        stage = encoding.space.stages[position.stage]
        for value, block in enumerate(stage.choices, start=1):
            kernel = stage.kernel_sizes.index(block.kernel_size)
            expand = len(stage.kernel_sizes) + stage.expand_ratios.index(block.expand_ratio)
            inputs[row, value] = count + kernel, count + expand
        count += len(stage.kernel_sizes) + len(stage.expand_ratios)
    inputs[inputs < 0] = count
    return inputs, count


def one_hot(inputs: Index, count: int, genes: Genes) -> Floats32:
    """Inputs of architectures `(n, d)`: `(n, count)` float32."""
    rows = np.zeros((len(genes), count + 1), dtype=np.float32)
    chosen = inputs[np.arange(genes.shape[1]), genes].reshape(len(genes), -1)
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return np.ascontiguousarray(rows[:, :count])


def _forward(network: Network, rows: Floats32) -> list[Floats32]:
    """The rows, then what each layer gives; ReLU behind all but the last."""
    values = [rows]
    for number, layer in enumerate(network, start=1):
        product = values[-1] @ layer.weight.T
        product += layer.bias
        if number < len(network):
            np.maximum(product, 0.0, out=product)
        values.append(product)
    return values


def _train(rows: Floats32, observations: Observations, rng: np.random.Generator) -> Network:
    """One member: standardised accuracies, weighted by their variances, a rate that falls as a cosine.

    Source: He et al. 2015, arXiv:1502.01852 (first weights).
    """
    mean, spread = float(observations.accuracies.mean()), float(observations.accuracies.std()) or 1.0
    targets = ((observations.accuracies - mean) / spread).astype(np.float32)
    variances = observations.variances + (0.1 * spread) ** 2
    importance = (variances.min() / variances).astype(np.float32)
    values: list[Floats32] = []
    for into, out in pairwise((rows.shape[1], *HIDDEN, 1)):
        weight = rng.standard_normal((out, into)) * np.sqrt(2.0 / into)
        values += [weight.astype(np.float32), np.zeros(out, dtype=np.float32)]
    values[-2] *= 0.1
    optimizer = _AdamW(values)
    for step in range(STEPS):
        batch = rng.choice(len(rows), size=min(BATCH, len(rows)), replace=False)
        gradients = _gradients(_network(values), rows[batch], targets[batch], importance[batch])
        optimizer.step(gradients, rate=RATE * 0.5 * (1.0 + np.cos(np.pi * step / STEPS)))
    values[-2] *= spread
    values[-1] = (values[-1] * spread + mean).astype(np.float32)
    return _network(values)


class _AdamW:
    """The optimiser of arrays, in place.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, values: list[Floats32]) -> None:
        self.values, self.steps = values, 0
        self.means = [np.zeros_like(value) for value in values]
        self.squares = [np.zeros_like(value) for value in values]

    def step(self, gradients: Sequence[npt.NDArray[Any]], *, rate: float) -> None:
        """Move every array against its gradient."""
        self.steps += 1
        for index, gradient in enumerate(gradients):
            value, mean, square = self.values[index], self.means[index], self.squares[index]
            mean += (1.0 - BETAS[0]) * (gradient - mean)
            square += (1.0 - BETAS[1]) * (gradient**2 - square)
            size = np.sqrt(square / (1.0 - BETAS[1] ** self.steps)) + EPSILON
            value -= np.float32(rate) * (mean / (1.0 - BETAS[0] ** self.steps) / size)
            if value.ndim > 1:
                value *= np.float32(1.0 - rate * DECAY)


def _network(values: Sequence[Floats32]) -> Network:
    return tuple(Dense(*pair) for pair in zip(values[::2], values[1::2], strict=True))


def _gradients(
    network: Network, rows: Floats32, targets: Floats32, importance: Floats32
) -> list[npt.NDArray[Any]]:
    """Of the weighted mean squared error, by weight and bias of each layer."""
    values = _forward(network, rows)
    error = (importance * (values[-1][:, 0] - targets) / len(rows))[:, None]
    gradients: list[npt.NDArray[Any]] = []
    for layer, given in zip(network[::-1], values[-2::-1], strict=True):
        gradients = [error.T @ given, error.sum(axis=0), *gradients]
        error = (error @ layer.weight) * (given > 0.0)
    return gradients


def _check(network: Network, count: int) -> None:
    """Refuse layers that do not fit together."""
    size = count
    if not network:
        raise ValueError("a network without layers")
    for layer in network:
        if (
            layer.weight.ndim != 2
            or layer.weight.shape[1] != size
            or layer.bias.shape != layer.weight.shape[:1]
        ):
            raise ValueError(f"a layer of shape {layer.weight.shape} behind {size} values")
        size = layer.weight.shape[0]
    if size != 1:
        raise ValueError(f"a network with {size} outputs, expected 1")
