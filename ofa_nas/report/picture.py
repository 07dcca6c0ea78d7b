"""The network as a picture: a row a stage, a shape a block, as wide open as it has channels."""

from collections.abc import Mapping, Sequence

from ofa_nas.figures import format_ms
from ofa_nas.pages.html import Markup, markup, tag
from ofa_nas.report.course import layer_words, short_name
from ofa_nas.report.document import LayerFigures, Network
from ofa_nas.report.words import kernel_text
from ofa_nas.space.operators import size_unit

WIDTH, HEIGHT, LEAST = 58, 54, 6  # of a shape, and the height of one channel [px]


def network_picture(network: Network, devices: Sequence[str]) -> Markup:
    """Stages in execution order, each with its blocks, those that were left out, and its times."""
    most = max(layer.mid_channels for layer in network.layers)
    rows = []
    totals = {
        name: network.constant_ms[name] + sum(layer.latency_ms[name] for layer in network.layers)
        for name in devices
    }
    before = [layer for layer in network.layers if layer.stage is None]
    stem, head = before[:1], before[1:]
    rows.append(_row("stem", stem, totals, most=most))
    for index, stage in enumerate(network.stages):
        blocks = [layer for layer in network.layers if layer.stage == index]
        rows.append(_row(f"stage {index}", blocks, totals, most=most, absent=stage.most_blocks - len(blocks)))
    rows.append(_row("head", head, totals, most=most))
    axes = network.layers[0].axes
    kernels = sorted({layer.kernel_size for layer in network.layers if layer.stage is not None})
    legend = [
        tag("span", Markup(f'<i class="k{kernel}"></i>'), f"{kernel_text(kernel, axes)} kernel")
        for kernel in kernels
    ]
    legend.append(
        tag(
            "span",
            "height: channels, in the middle expanded; x6: expand ratio, /2: stride, SE: squeeze-excite",
        )
    )
    return markup(
        tag("p", *legend, attributes={"class": "key"}), tag("ol", *rows, attributes={"class": "net"})
    )


def _row(
    title: str, layers: list[LayerFigures], totals: Mapping[str, float], *, most: int, absent: int = 0
) -> Markup:
    """One stage; `totals` are the times of the whole network, by device."""
    if not layers:
        return Markup()
    first, last = layers[0], layers[-1]
    size = f"{first.in_size} → {last.out_size}" if first.in_size != last.out_size else str(last.out_size)
    size += f" {size_unit(first.axes)}"
    width = f"{first.in_channels} → {last.out_channels} channels"
    told = tag("div", tag("b", title), tag("span", size), tag("span", width), attributes={"class": "stage"})
    blocks = [_block(layer, most=most) for layer in layers]
    blocks += [Markup('<li class="block absent" aria-label="left out"><span>left out</span></li>')] * absent
    costs = []
    for name, total in totals.items():
        ms = sum(layer.latency_ms[name] for layer in layers)
        share = ms / total if total else 0.0
        costs.append(
            tag("span", tag("b", f"{share:.0%}"), f" of the time on {name}: ", _unbroken(format_ms(ms)))
        )
    shown = tag("div", *costs, attributes={"class": "costs"}) if costs else Markup()
    return tag("li", told, tag("ul", *blocks, attributes={"class": "blocks"}), shown)


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _block(layer: LayerFigures, *, most: int) -> Markup:
    """One block: as high as it has channels when it begins, in its middle, and when it ends."""
    middle = HEIGHT / 2
    begin, wide, end = (
        (LEAST + (HEIGHT - LEAST) * (channels / most) ** 0.5) / 2
        for channels in (layer.in_channels, layer.mid_channels, layer.out_channels)
    )
    ends = [(0.0, begin), (WIDTH * 0.25, wide), (WIDTH * 0.75, wide), (float(WIDTH), end)]
    places = [(x, middle - y) for x, y in ends] + [(x, middle + y) for x, y in reversed(ends)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    shape = Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f'<polygon points="{path}"/></svg>'
    )
    is_block = layer.stage is not None
    told = kernel_text(layer.kernel_size, layer.axes) if is_block else short_name(layer.name)
    ratio = f"x{layer.expand_ratio}" if layer.expand_ratio else ""
    extra = "".join([" SE" if layer.se_channels else "", f" /{layer.stride}" if layer.stride > 1 else ""])
    kind = f"block k{layer.kernel_size}" if is_block else "block plain"
    words = f"{layer.name}: {layer_words(layer)}" + (", squeeze-excite" if layer.se_channels else "")
    label = tag("span", tag("b", told), Markup(" "), ratio, extra)
    return tag("li", shape, label, attributes={"class": kind, "title": words})
