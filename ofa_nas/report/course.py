"""The chosen network in execution order: what each layer takes, and what is alive while it runs."""

from collections.abc import Mapping

from ofa_nas.charts import BARS, Chart, Series
from ofa_nas.figures import format_bytes, format_ms
from ofa_nas.report.document import LayerFigures, Network
from ofa_nas.report.words import kernel_text
from ofa_nas.space.operators import size_unit

LOW = (760, 300)
SHORT = 12  # letters of a name where there is little room
TICKS = 24  # names below the axis of memory, at most


def time_chart(network: Network, device: str) -> Chart:
    """What each layer takes on a device, in execution order, and the rest beside them."""
    layers, constant = network.layers, network.constant_ms[device]
    total = constant + sum(layer.latency_ms[device] for layer in layers)
    bars = [(layer.name, layer.latency_ms[device], layer_words(layer)) for layer in layers]
    bars += [("beside", constant, "beside the layers")] if constant > 0.0 else []
    return Chart(
        f"Time of each layer on {device}",
        "layers in execution order",
        "time [ms]",
        [
            Series(
                "",
                list(map(float, range(len(bars)))),
                [ms for _, ms, _ in bars],
                marker=BARS,
                texts=[
                    f"{name}: {format_ms(ms)}, {ms / (total or 1.0):.1%} of the network\n{words}"
                    for name, ms, words in bars
                ],
            )
        ],
        x_ticks=[(float(index), short_name(name)) for index, (name, _, _) in enumerate(bars)],
        size=LOW,
    )


def beside_words(constant_ms: float) -> str:
    """What the whole network takes beside its layers, or what it saves when they run one after another."""
    if constant_ms < 0.0:
        return f" The network takes {format_ms(-constant_ms)} less than the sum of its layers."
    return f" The network takes {format_ms(constant_ms)} beside its layers." if constant_ms else ""


def memory_chart(network: Network) -> Chart:
    """Bytes that are alive while each operator runs, in execution order; the peak stands out."""
    steps = [(layer, operator) for layer in network.layers for operator in layer.operators]
    sizes = [operator.live_bytes for _, operator in steps]
    peak = max(sizes)
    texts = [
        f"{layer.name}, {operator.name}: {format_bytes(operator.live_bytes)}\n"
        + "\n".join(f"{name} {format_bytes(size)}" for name, size in operator.tensors.items())
        for layer, operator in steps
    ]
    starts: dict[str, float] = {}
    for index, (layer, _) in enumerate(steps):
        starts.setdefault(short_name(layer.name), float(index))
    groups = [
        ("memory", [index for index, size in enumerate(sizes) if size < peak], ""),
        ("peak", [index for index, size in enumerate(sizes) if size == peak], "accent"),
    ]
    return Chart(
        "Memory of activations over the execution order",
        "operators in execution order",
        "alive [MB]",
        [
            Series(
                label,
                list(map(float, places)),
                [sizes[place] / 1e6 for place in places],
                marker=BARS,
                texts=[texts[place] for place in places],
                colour=colour,
            )
            for label, places, colour in groups
        ],
        x_ticks=_apart(starts, len(steps) / TICKS),
        size=LOW,
        bar_width=1.0,
    )


def _apart(places: Mapping[str, float], least: float) -> list[tuple[float, str]]:
    """Names of ticks, without those that would stand on the one before."""
    kept: list[tuple[float, str]] = []
    for name, place in places.items():
        if not kept or place - kept[-1][0] >= least:
            kept.append((place, name))
    return kept


def peak_words(network: Network) -> str:
    """What makes the peak: where it is, and which tensors are alive there."""
    steps = [(layer, operator) for layer in network.layers for operator in layer.operators]
    peak = max(operator.live_bytes for _, operator in steps)
    at = [(layer, operator) for layer, operator in steps if operator.live_bytes == peak]
    layer, operator = at[0]
    held = [
        f"{'the input of the layer' if name == 'input' else f'the output of {name}'} ({format_bytes(size)})"
        for name, size in operator.tensors.items()
    ]
    more = len(at) - 1
    others = f"; {more} more {'moment needs' if more == 1 else 'moments need'} as much" if more else ""
    return (
        f"The peak of {format_bytes(peak)} is in {layer.name}, {layer_words(layer)}, while its "
        f"{operator.name} runs: alive are {' and '.join(held)}{others}."
    )


def layer_words(layer: LayerFigures) -> str:
    """What a layer is: `5x5, expand ratio 6, 24 to 40 channels, 32 to 16 px`."""
    parts = (
        [kernel_text(layer.kernel_size, layer.axes)]
        if layer.kernel_size > 1 or layer.stage is not None
        else []
    )
    parts += [f"expand ratio {layer.expand_ratio}"] if layer.expand_ratio else []
    channels = f"{layer.in_channels} to {layer.out_channels} channels"
    sizes = f"{layer.in_size} to {layer.out_size}" if layer.in_size != layer.out_size else str(layer.in_size)
    return ", ".join([*parts, channels, f"{sizes} {size_unit(layer.axes)}"])


def short_name(name: str) -> str:
    """The name of a layer below an axis or a shape."""
    return name.removeprefix("head_")[:SHORT]
